package remote

import (
	"encoding/json"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/jsonscan"
)

// FuzzSchema checks for any features that a host describes that rows can be read
// with them, or that they are refused.
func FuzzSchema(f *testing.F) {
	for _, seed := range []string{
		`{"features":[{"name":"f","dtype":"float32","missing":"nan"},{"name":"d","dtype":"float64","missing":0.1}],"unknown_features":"ignore"}`,
		`{"features":[{"name":"i","dtype":"int64","missing":-9007199254740993},{"name":"s","dtype":"string","missing":"nan"},{"name":"b","dtype":"bool","missing":true}]}`,
		`{"features":[{"name":"i","dtype":"int64","missing":"nan"}]}`,
		`{"features":[{"name":"f","dtype":"float32","missing":1e999}]}`,
		`{"features":[{"name":"f","dtype":"complex"}]}`,
		`{"features":[{"name":"f","dtype":"bool","missing":null}]}`,
		`{}`,
	} {
		f.Add([]byte(seed), []byte(`[1,null,"x"]`))
	}
	f.Fuzz(func(t *testing.T, description, row []byte) {
		var v api.ModelVersion
		if json.Unmarshal(description, &v) != nil {
			return
		}
		s, err := schemaOf(&v)
		if err != nil {
			return
		}
		d := s.NewDecoder()
		if d.JSONRow(&jsonscan.Scanner{Data: row}) != nil || d.Batch().Rows() == 0 {
			return
		}
		text, field := appendRow(nil, d.Batch(), 0)
		if field == "" && !json.Valid(text) {
			t.Errorf("%q is sent", text)
		}
	})
}
