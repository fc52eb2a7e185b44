// vex.go FILE…: whether OpenVEX's own library accepts documents, and finds each statement as scanners do: by the vulnerability, the
// product, and the package in it.
package main

import (
	"fmt"
	"os"

	"github.com/openvex/go-vex/pkg/vex"
)

func check(file string) error {
	document, err := vex.Open(file)
	if err != nil {
		return err
	}
	if document.Context != "https://openvex.dev/ns/v0.2.0" || len(document.Statements) == 0 {
		return fmt.Errorf("context %q, %d statements", document.Context, len(document.Statements))
	}
	for at, statement := range document.Statements {
		if err := statement.Validate(); err != nil {
			return fmt.Errorf("statement %d: %w", at, err)
		}
		for _, product := range statement.Products {
			packages := []string{}
			for _, subcomponent := range product.Subcomponents {
				packages = append(packages, subcomponent.ID)
			}
			found := document.Matches(string(statement.Vulnerability.Name), product.ID, packages)
			if len(found) == 0 || found[0].Status == "" {
				return fmt.Errorf("statement %d: %s is not found for %s %v", at, statement.Vulnerability.Name, product.ID, packages)
			}
		}
	}
	fmt.Printf("%d statements\n", len(document.Statements))
	return nil
}

func main() {
	for _, file := range os.Args[1:] {
		if err := check(file); err != nil {
			fmt.Printf("%s: %v\n", file, err)
			os.Exit(1)
		}
	}
}
