package v1alpha1

import "embed"

// CRDs are the definitions of the resources, as controller-gen writes them, in crds/.
//
//go:embed crds/*.yaml
var CRDs embed.FS
