package manifest

import _ "embed"

//go:embed model.schema.json
var schema []byte

// Schema is the JSON Schema of model.yaml, which editors use to complete and to
// check it.
func Schema() []byte { return schema }
