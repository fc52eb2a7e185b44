// tar answers each line, an entry in JSON, with the tar of that entry alone in hexadecimal, or with an error.
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

type text []byte

func (t *text) UnmarshalText(in []byte) error {
	out, err := hex.DecodeString(string(in))
	*t = out
	return err
}

type entry struct {
	Name, Uname, Gname, Link, Data text
	Kind                           byte
	Mode, Mtime, Major, Minor      int64
	UID, GID                       int
	Xattrs                         map[string]text
}

func write(e entry) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	header := &tar.Header{
		Typeflag: e.Kind, Name: string(e.Name), Linkname: string(e.Link), Size: int64(len(e.Data)), Mode: e.Mode,
		Uid: e.UID, Gid: e.GID, Uname: string(e.Uname), Gname: string(e.Gname), ModTime: time.Unix(e.Mtime, 0),
		Devmajor: e.Major, Devminor: e.Minor, PAXRecords: map[string]string{},
	}
	for name, value := range e.Xattrs {
		key, err := hex.DecodeString(name)
		if err != nil {
			return nil, err
		}
		header.PAXRecords["SCHILY.xattr."+string(key)] = string(value)
	}
	if err := w.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := w.Write(e.Data); err != nil {
		return nil, err
	}
	err := w.Close()
	return out.Bytes(), err
}

func main() {
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var e entry
		var out []byte
		if err = json.Unmarshal(line, &e); err == nil {
			out, err = write(e)
		}
		if err != nil {
			fmt.Println("error:", err)
		} else {
			fmt.Println(hex.EncodeToString(out))
		}
	}
}
