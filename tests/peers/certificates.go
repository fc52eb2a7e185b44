// Prints Go's verdict on each folder of certificates: NAME true|false.
package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
)

func read(path string) (all []*x509.Certificate) {
	text, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			panic(err)
		}
		all = append(all, certificate)
	}
	return all
}

func main() {
	for _, folder := range os.Args[1:] {
		options := x509.VerifyOptions{DNSName: "tls.example.com", Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool()}
		for _, root := range read(filepath.Join(folder, "roots.pem")) {
			options.Roots.AddCert(root)
		}
		chain := read(filepath.Join(folder, "chain.pem"))
		for _, certificate := range chain[1:] {
			options.Intermediates.AddCert(certificate)
		}
		_, err := chain[0].Verify(options)
		fmt.Println(filepath.Base(folder), err == nil)
	}
}
