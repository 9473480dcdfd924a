package testkit

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// Case holds a model's rows and their expected results.
type Case struct {
	Name     string
	Facts    Facts
	Expected Expected
	Header   []string
	Text     [][]string       // the rows as in input.csv
	Rows     []map[string]any // the rows as in JSON
	scores   []float64
}

// Facts is the part of facts.json that tests need.
type Facts struct {
	Features []struct{ Name, DType string }
	N        int
	Gamma    float64
	Min, Max float64
	Mu       float64
	Sigma    float64
}

// Expected is the part of expected.json that tests need.
type Expected struct {
	Tolerance    float64
	Explanations struct {
		Permutations [][]int
		Rows         []struct {
			Row       int
			BaseValue float64 `json:"base_value"`
			Score     float64
			Shapley   struct {
				Method        string
				Contributions []float64
			}
			Given struct {
				Evaluations   int
				Contributions []float64
			} `json:"shapley_given_permutations"`
			Occlusion struct {
				Contributions []float64
				Residual      float64
			}
		}
	}
	Scores []struct {
		Oriented      float64
		IsAnomaly     bool `json:"is_anomaly"`
		Linear        float64
		Unify         float64
		ECDF          float64
		ECDFSlack     float64 `json:"ecdf_slack"`
		NearThreshold bool    `json:"near_threshold"`
	}
}

// Cases reads all cases of testdata.
func Cases(t testing.TB) []*Case {
	t.Helper()
	dirs, err := filepath.Glob(Testdata("cases", "*"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	var all []*Case
	for _, dir := range dirs {
		all = append(all, readCase(t, dir))
	}
	return all
}

func readCase(t testing.TB, dir string) *Case {
	t.Helper()
	c := &Case{Name: filepath.Base(dir)}
	for file, to := range map[string]any{"facts.json": &c.Facts, "expected.json": &c.Expected} {
		data, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, to); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	f, err := os.Open(filepath.Join(dir, "input.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	c.Header, c.Text = all[0], all[1:]
	for _, record := range c.Text {
		row := map[string]any{}
		for j, text := range record {
			if c.Facts.Features[j].DType == "string" {
				row[c.Header[j]] = text
			} else {
				if _, err := strconv.ParseFloat(text, 64); err != nil {
					t.Fatal(err)
				}
				row[c.Header[j]] = json.Number(text)
			}
		}
		c.Rows = append(c.Rows, row)
	}
	if c.scores, err = c.trainScores(); err != nil {
		t.Fatal(err)
	}
	if len(c.Rows) != len(c.Expected.Scores) {
		t.Fatalf("%s: %d rows and %d expected scores", c.Name, len(c.Rows), len(c.Expected.Scores))
	}
	return c
}
