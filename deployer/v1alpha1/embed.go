package v1alpha1

import "embed"

// CRDs holds the resource definitions in crds/, which controller-gen generates.
//
//go:embed crds/*.yaml
var CRDs embed.FS
