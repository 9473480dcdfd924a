package manifest

import _ "embed"

//go:embed model.schema.json
var schema []byte

// Schema returns the JSON Schema of model.yaml, with which editors complete and
// check it.
func Schema() []byte { return schema }
