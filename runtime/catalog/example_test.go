package catalog_test

import (
	"fmt"
	"os"

	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
)

// Scan a directory and read a version: its manifest, its artifact and the digest of
// both.
func ExampleScan() {
	root, err := os.OpenRoot("../../testdata/models")
	if err != nil {
		panic(err)
	}
	defer root.Close()
	found, err := catalog.Scan(root)
	if err != nil {
		panic(err)
	}
	for _, f := range found {
		if f.ID != "pima-lof" {
			continue
		}
		c, err := catalog.Read(root, f.Location, catalog.Policy{}, nil)
		if err != nil {
			panic(err)
		}
		fmt.Println(f.Key(), c.Manifest.Backend, len(c.Manifest.Features), "features")
	}
	// Output: pima-lof@1.0.0 onnx 8 features
}
