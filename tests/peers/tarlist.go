// tarlist DIR: reads each tar of DIR with archive/tar, and compares its entries with those in DIR/list, which strata wrote.
// If strata refuses a tar, Go refuses it too, or the reason is one of those below.
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// Go reads these entries. strata refuses them because engines refuse them, or use the name of a global header.
var stricter = []string{
	"a global header whose name engines take for a file",
	"a header with a negative number",
	"a device whose number no kernel has",
	"a file with holes",
	"an entry is bigger than any file",
	"is not a number",
}

func listing(data []byte) (string, error) {
	var lines []string
	for reader := tar.NewReader(bytes.NewReader(data)); ; {
		header, err := reader.Next()
		if err == io.EOF {
			return strings.Join(lines, "; "), nil
		}
		if err != nil {
			return "", err
		}
		if header.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		size := header.Size
		if strings.ContainsRune("123456", rune(header.Typeflag)) {
			size = 0
		}
		mtime := "-"
		if !header.ModTime.Before(time.Unix(0, 0)) {
			mtime = fmt.Sprint(header.ModTime.Round(time.Second).Unix())
		}
		var xattrs []string
		for key, value := range header.PAXRecords {
			if name, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
				xattrs = append(xattrs, hex.EncodeToString([]byte(name))+"="+hex.EncodeToString([]byte(value)))
			}
		}
		sort.Strings(xattrs)
		lines = append(lines, fmt.Sprintf("%d %d %o %d:%d %s name:%x link:%x %s", header.Typeflag, size,
			header.Mode&0o7777, header.Uid, header.Gid, mtime, header.Name, header.Linkname, strings.Join(xattrs, ",")))
	}
}

func isStricter(reason string) bool {
	for _, text := range stricter {
		if strings.Contains(reason, text) {
			return true
		}
	}
	return false
}

func main() {
	list, err := os.Open(filepath.Join(os.Args[1], "list"))
	if err != nil {
		log.Fatal(err)
	}
	lines := bufio.NewScanner(list)
	lines.Buffer(nil, 1<<20)
	compared, differences := 0, 0
	for lines.Scan() {
		number, strata, _ := strings.Cut(lines.Text(), " ")
		data, err := os.ReadFile(filepath.Join(os.Args[1], number))
		if err != nil {
			log.Fatal(err)
		}
		entries, err := listing(data)
		reason, isRefused := strings.CutPrefix(strata, "refused ")
		compared++
		if isRefused && (err != nil || isStricter(reason)) || !isRefused && err == nil && entries == strata {
			continue
		}
		differences++
		if differences <= 10 {
			fmt.Printf("%s:\n  strata: %s\n  Go:     %s %v\n", number, strata, entries, err)
		}
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
	if differences > 0 || compared < 10000 {
		log.Fatalf("%d of %d tars are read differently", differences, compared)
	}
}
