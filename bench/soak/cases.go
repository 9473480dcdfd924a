package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/atomicfile"
)

// calibrations are what the replacements of a model change.
var calibrations = []string{"ecdf", "linear", "unify"}

// soaked are the cases that are cheap to score.
var soaked = []string{"pima-lof", "mammography-gmm", "thyroid-ocsvm", "thyroid-autoencoder", "breast-cancer-mixed", "cardio-iforest-fused"}

// testCase holds a model's rows as JSON and the expected results.
type testCase struct {
	name      string
	rows      []json.RawMessage
	tolerance float64
	scores    []expected
}

type expected struct {
	Oriented, Linear, Unify, ECDF float64
	ECDFSlack                     float64 `json:"ecdf_slack"`
}

func readCases(testdata string) ([]*testCase, error) {
	var all []*testCase
	for _, name := range soaked {
		c, err := readCase(filepath.Join(testdata, "cases", name), name)
		if err != nil {
			return nil, fmt.Errorf("reading case %s: %w", name, err)
		}
		all = append(all, c)
	}
	return all, nil
}

func readCase(dir, name string) (*testCase, error) {
	var want struct {
		Tolerance float64
		Scores    []expected
	}
	var facts struct {
		Features []struct{ DType string }
	}
	for file, to := range map[string]any{"expected.json": &want, "facts.json": &facts} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, to); err != nil {
			return nil, err
		}
	}
	f, err := os.Open(filepath.Join(dir, "input.csv"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, err
	}
	c := &testCase{name: name, tolerance: want.Tolerance, scores: want.Scores}
	for _, record := range records[1:] {
		row := map[string]any{}
		for j, text := range record {
			row[records[0][j]] = json.Number(text)
			if facts.Features[j].DType == "string" {
				row[records[0][j]] = text
			}
		}
		text, err := json.Marshal(row)
		if err != nil {
			return nil, err
		}
		c.rows = append(c.rows, text)
	}
	return c, nil
}

// check returns an error if the answer to row i is wrong. Any of the calibrations
// may apply, because models are replaced during the run.
func (c *testCase) check(i int, p api.Prediction) error {
	want := c.scores[i]
	if p.Error != nil {
		return fmt.Errorf("%s row %d: %s", c.name, i, p.Error.Detail)
	}
	if p.ModelID != c.name || !(math.Abs(p.Score-want.Oriented) <= c.tolerance) {
		return fmt.Errorf("%s row %d: %s scored %v, want %v", c.name, i, p.ModelID, p.Score, want.Oriented)
	}
	const slack = 1e-3 // of the slopes of linear and unify; the tests know them exactly
	near := func(v, by float64) bool { return math.Abs(p.Prediction-v) <= by }
	if !near(want.ECDF, want.ECDFSlack+1e-12) && !near(want.Linear, slack) && !near(want.Unify, slack) {
		return fmt.Errorf("%s row %d: prediction %v matches no calibration", c.name, i, p.Prediction)
	}
	return nil
}

var calibration = regexp.MustCompile(`(?m)^calibration: .*$`)

// place writes a model into the models directory, complete or not at all. It
// replaces an existing one.
func place(testdata, models, name, method string) error {
	from := filepath.Join(testdata, "models", name, "1.0.0")
	entries, err := os.ReadDir(from)
	if err != nil {
		return fmt.Errorf("placing a model: %w", err)
	}
	files := map[string][]byte{}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			return fmt.Errorf("placing a model: %w", err)
		}
		if e.Name() == "model.yaml" {
			text = calibration.ReplaceAll(text, []byte("calibration: {method: "+method+", scores: train_scores.f64}"))
		}
		files[e.Name()] = text
	}
	to := filepath.Join(models, name, "1.0.0")
	if _, err := os.Stat(to); err == nil { // a manifest is replaced in one step
		return atomicfile.Write(filepath.Join(to, "model.yaml"), files["model.yaml"], 0o600)
	}
	return atomicfile.WriteDir(to, files)
}

func number(v int) string { return strconv.Itoa(v) }
