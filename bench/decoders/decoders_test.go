package decoders

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/rows"
)

const testdata = "../../testdata"

// TestCandidatesAgree keeps the comparison fair: all candidates must decode the same
// values.
func TestCandidatesAgree(t *testing.T) {
	body, m, err := Body(testdata, 50)
	if err != nil {
		t.Fatal(err)
	}
	matrix := &Matrix{Width: len(m.Features), Index: map[string]int{}}
	for j, f := range m.Features {
		matrix.Index[f.Name] = j
	}
	var want []float32
	for _, c := range Candidates(rows.NewSchema(m).NewDecoder()) {
		if err := c.Rows(body, matrix); err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		if len(matrix.Values) != 50*matrix.Width {
			t.Fatalf("%s: %d values", c.Name, len(matrix.Values))
		}
		if want == nil {
			want = slices.Clone(matrix.Values)
		}
		if !slices.Equal(matrix.Values, want) {
			t.Errorf("%s reads other values", c.Name)
		}
	}
}

// TestOwnDecoderIsRight checks the host's decoder with the whole suite.
func TestOwnDecoderIsRight(t *testing.T) {
	_, m, err := Body(testdata, 1)
	if err != nil {
		t.Fatal(err)
	}
	candidates := Candidates(rows.NewSchema(m).NewDecoder())[:1]
	verdicts, err := Judge(filepath.Join(testdata, "../internal/jsonscan/testdata/suite.ndjson"), candidates, m)
	if err != nil {
		t.Fatal(err)
	}
	v := verdicts[candidates[0].Name]
	if len(v.Accepted)+len(v.Refused)+v.WrongFloat32 > 0 || v.Right < 250 || v.NumbersCompared == 0 {
		t.Errorf("%+v", *v)
	}
}
