package authoring

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pynomaly/pynomaly-runtime/internal/table"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// named returns a model's features under the names that people give them: those of
// --features, or of the training rows' columns. m is what the artifact says. note says
// where the names come from, if they are not the artifact's.
func (o *InitOptions) named(m *manifest.Manifest) (features []manifest.Feature, note string, err error) {
	if len(o.Features) > 0 {
		features, err = renamed(m, o.Features)
		return features, "", err
	}
	if o.File == "" {
		return m.Features, "", nil
	}
	header, err := headerOf(o.File)
	if err != nil {
		return nil, "", err
	}
	header, err = without(header, o.Exclude, o.File)
	if err != nil || hasAll(header, m.Features) {
		return m.Features, "", err
	}
	if m.Backend != manifest.BackendONNX {
		return m.Features, "", nil // the names are the plugin's: reading the rows says which are not there
	}
	if names := mangled(header, m.Features); names != nil {
		features, err = renamed(m, names)
		return features, fmt.Sprintf("features: %s, whose names the exporter has changed, as the columns of %s are called", list(names), o.File), err
	}
	ordered := m.Input != "" || len(m.Features) == 1
	switch {
	case ordered && len(header) == len(m.Features):
		if err := checkColumns(o.File, header); err != nil {
			return nil, "", err
		}
		features, err = renamed(m, header)
		return features, fmt.Sprintf("features: %s, the columns of %s in their order, because the graph has no names for them", list(header), o.File), err
	case ordered:
		return nil, "", fmt.Errorf("%s has %d columns (%s) and the graph takes %d features without names: leave columns out with --exclude, or name the features in the order of the graph with --features %s",
			o.File, len(header), list(header), len(m.Features), strings.Join(firstOf(header, len(m.Features)), ","))
	}
	return nil, "", fmt.Errorf("the graph has the inputs %s, and %s has the columns %s: name the features in the order of the inputs with --features %s",
		list(namesOf(m.Features)), o.File, list(header), strings.Join(firstOf(header, len(m.Features)), ","))
}

// renamed returns the features of a graph under other names, in their order. A feature
// that had the name of its input gets that input.
func renamed(m *manifest.Manifest, names []string) ([]manifest.Feature, error) {
	switch {
	case m.Backend != manifest.BackendONNX:
		return nil, errors.New("--features is for ONNX graphs: a plugin names its features itself")
	case len(names) != len(m.Features):
		return nil, fmt.Errorf("--features names %d features; the graph takes %d: %s", len(names), len(m.Features), list(namesOf(m.Features)))
	}
	out := slices.Clone(m.Features)
	for i, name := range names {
		if name == "" || slices.Contains(names[:i], name) {
			return nil, fmt.Errorf("the name of feature %d, %q, is empty or taken", i+1, name)
		}
		f := &out[i]
		if m.Input == "" && name != f.Name {
			f.Input = cmp.Or(f.Input, f.Name)
		}
		f.Name = name
	}
	return out, nil
}

// headerOf returns the names of a file's columns, as they stand there.
func headerOf(file string) ([]string, error) {
	f, format, err := openTraining(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := table.Names(format, f)
	if err != nil {
		return nil, fmt.Errorf("reading the columns of %s: %w", file, err)
	}
	return names, nil
}

// without returns the columns that are not excluded.
func without(header, exclude []string, file string) ([]string, error) {
	for _, name := range exclude {
		if !slices.Contains(header, name) {
			return nil, fmt.Errorf("--exclude names %q, which %s has no column of: it has %s", name, file, strings.Join(header, ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(header), func(name string) bool { return slices.Contains(exclude, name) }), nil
}

// hasAll reports whether there is a column for every feature.
func hasAll(header []string, features []manifest.Feature) bool {
	return !slices.ContainsFunc(features, func(f manifest.Feature) bool {
		return !slices.ContainsFunc(header, func(name string) bool { return name == f.Name || strings.TrimSpace(name) == f.Name })
	})
}

// notWord is what exporters write as _ in the names of inputs.
var notWord = regexp.MustCompile(`[^A-Za-z0-9_]`)

// mangled returns the columns that are the features, if each feature is one of them as
// exporters write it, such as sepal_length__cm_ for "sepal length (cm)"; otherwise nil.
func mangled(header []string, features []manifest.Feature) (names []string) {
	for _, f := range features {
		var is []string
		for _, name := range header {
			if name == f.Name || notWord.ReplaceAllString(name, "_") == f.Name {
				is = append(is, name)
			}
		}
		if len(is) != 1 {
			return nil
		}
		names = append(names, is[0])
	}
	return names
}

func namesOf(features []manifest.Feature) (names []string) {
	for _, f := range features {
		names = append(names, f.Name)
	}
	return names
}

func firstOf(list []string, n int) []string { return list[:min(n, len(list))] }

// list joins names, the first ones if there are many.
func list(names []string) string {
	const most = 12
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// setMissing writes the rule for missing values into the features that it suits: nan
// into those of floating-point numbers, a number into those of numbers, another value
// into those of its type. only, unless nil, says which features may get it.
func setMissing(features []manifest.Feature, text string, only func(i int) bool) error {
	if text == "" || text == "error" {
		return nil
	}
	set := 0
	for i := range features {
		if only != nil && !only(i) {
			continue
		}
		rule, ok := missingRule(text, features[i].DType)
		if ok {
			features[i].Missing = rule
			set++
		}
	}
	if set == 0 && len(features) > 0 {
		return fmt.Errorf("--missing %s suits none of the features: they are %s; give %s", text, features[0].DType, replacements(features[0].DType))
	}
	return nil
}

// replacements says what --missing may be for a type.
func replacements(dtype sdk.DType) string {
	switch dtype {
	case sdk.String:
		return "a text"
	case sdk.Bool:
		return "true or false"
	case sdk.Int64:
		return "a whole number"
	default:
		return "nan or a number"
	}
}

func missingRule(text string, dtype sdk.DType) (manifest.Missing, bool) {
	if text == "nan" {
		return manifest.Missing{Policy: manifest.MissingIsNaN}, dtype == sdk.Float32 || dtype == sdk.Float64
	}
	var given any = text
	if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(v) {
		given = v
	} else if v, err := strconv.ParseBool(text); err == nil && dtype == sdk.Bool {
		given = v
	}
	value, err := manifest.Convert(given, dtype)
	return manifest.Missing{Policy: manifest.MissingIsValue, Value: value}, err == nil
}

// openTraining opens the training rows and returns their format. It refuses pipes,
// because training rows are read more than once.
func openTraining(file string) (*os.File, string, error) {
	format, err := table.FormatOf(file)
	if err != nil {
		return nil, "", fmt.Errorf("%s: the name of training rows must end in .csv, .ndjson, .json or .parquet", file)
	}
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		return nil, "", fmt.Errorf("%s is not a regular file: training rows are read more than once, so they cannot come from a pipe", file)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, "", fmt.Errorf("opening the training rows: %w", err)
	}
	return f, format, nil
}
