// gotar DIR…: prints, for each directory, its name and the digest and size of its contents as a layer, made with
// Go's archive/tar the way nix2container makes them. The reference that strata's bytes are compared with.
package main

import (
	"archive/tar"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"
)

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) { c.n += int64(len(p)); return len(p), nil }

func add(tw *tar.Writer, source, name string) error {
	info, err := os.Lstat(source)
	if err != nil {
		return err
	}
	link := ""
	if info.Mode()&os.ModeSymlink != 0 {
		if link, err = os.Readlink(source); err != nil {
			return err
		}
	}
	header, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	header.Name = name
	header.Uid, header.Gid, header.Uname, header.Gname = 0, 0, "root", "root"
	header.ModTime = time.Unix(1, 0).UTC()
	if err := tw.WriteHeader(header); err != nil {
		return err
	}
	switch {
	case info.Mode().IsRegular():
		file, err := os.Open(source)
		if err != nil {
			return err
		}
		defer file.Close()
		_, err = io.Copy(tw, file)
		return err
	case info.IsDir():
		entries, err := os.ReadDir(source) // sorted by name
		if err != nil {
			return err
		}
		for _, entry := range entries {
			child := name + "/" + entry.Name()
			if name == "/" {
				child = "/" + entry.Name()
			}
			if err := add(tw, source+"/"+entry.Name(), child); err != nil {
				return err
			}
		}
	}
	return nil
}

func main() {
	for _, directory := range os.Args[1:] {
		hash, size := sha256.New(), &counter{}
		tw := tar.NewWriter(io.MultiWriter(hash, size))
		if err := add(tw, directory, "/"); err != nil {
			log.Fatal(err)
		}
		if err := tw.Close(); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s sha256:%x %d\n", filepath.Base(directory), hash.Sum(nil), size.n)
	}
}
