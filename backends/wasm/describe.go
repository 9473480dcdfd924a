package wasm

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// description is what a module says of itself.
type description struct {
	Name        string   `json:"name"`
	Version     string   `json:"version"`
	Algorithm   string   `json:"algorithm"`
	DType       string   `json:"dtype"`
	Features    []string `json:"features"`
	Orientation string   `json:"orientation"`
	Threshold   *float64 `json:"threshold"`
	Stateful    bool     `json:"stateful"`

	dtype sdk.DType
}

const maxDescription = 1 << 20

// describe asks an instance, once, before init.
func (i *instance) describe(ctx context.Context) (*description, error) {
	text, err := i.packed(ctx, exportDescribe, maxDescription)
	if err != nil {
		return nil, err
	}
	if text == nil {
		return nil, fmt.Errorf("%w: %s answers nothing", errBroke, exportDescribe)
	}
	d := &description{}
	dec := json.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(d); err != nil {
		return nil, fmt.Errorf("%w: %s answers with bad JSON: %w", errBroke, exportDescribe, err)
	}
	if dec.More() {
		return nil, fmt.Errorf("%w: %s answers with more than one JSON value", errBroke, exportDescribe)
	}
	if d.dtype, err = sdk.ParseDType(d.DType); err != nil || !d.dtype.Numeric() {
		return nil, fmt.Errorf("%w: its dtype is %.40q, not float32, float64 or int64", errBroke, d.DType)
	}
	if d.Orientation != "" && d.Orientation != "higher_is_anomalous" && d.Orientation != "higher_is_normal" {
		return nil, fmt.Errorf("%w: its orientation is %.40q, not higher_is_anomalous or higher_is_normal", errBroke, d.Orientation)
	}
	if len(d.Features) > manifest.MaxFeatures {
		return nil, fmt.Errorf("%w: it has %d features; at most %d are served", errBroke, len(d.Features), manifest.MaxFeatures)
	}
	return d, nil
}

// ask starts an instance for its description alone.
func (p *plugin) ask(ctx context.Context) (*description, error) {
	i, err := p.instantiate(ctx)
	if err != nil {
		return nil, err
	}
	d, err := i.describe(ctx)
	return d, errors.Join(err, i.close())
}

// complete fills in what a manifest leaves out.
func (d *description) complete(m *manifest.Manifest) error {
	if len(m.Features) == 0 {
		if len(d.Features) == 0 {
			return errors.New("neither the manifest nor the module names the features: list them under features")
		}
		for _, name := range d.Features {
			if name == "" || len(name) > manifest.MaxNameLength || slices.ContainsFunc(m.Features, func(f manifest.Feature) bool { return f.Name == name }) {
				return fmt.Errorf("%w: it names a feature %.60q that is empty, too long or there already", errBroke, name)
			}
			m.Features = append(m.Features, manifest.Feature{Feature: sdk.Feature{Name: name, DType: d.dtype}})
		}
	}
	if m.Derived {
		m.Output.HigherIsNormal = d.Orientation == "higher_is_normal"
		m.Threshold = d.Threshold
		m.Algorithm = d.Algorithm
		m.Stateful = m.Stateful || d.Stateful
	}
	return nil
}

// matrixType is the type of the matrix that a module is given: that of all
// features, or float64 where they differ.
func matrixType(features []sdk.Feature) sdk.DType {
	for _, f := range features {
		if f.DType != features[0].DType || !f.DType.Numeric() {
			return sdk.Float64
		}
	}
	return features[0].DType
}

// agrees compares a description with the features of the manifest.
func (d *description) agrees(features []sdk.Feature) error {
	if want := matrixType(features); want != d.dtype {
		return fmt.Errorf("the manifest's features make a matrix of %s; the module takes %s", want, d.dtype)
	}
	if d.Features == nil {
		return nil
	}
	if len(d.Features) != len(features) {
		return fmt.Errorf("the manifest lists %d features; the module has %d", len(features), len(d.Features))
	}
	for j, f := range features {
		if f.Name != d.Features[j] {
			return fmt.Errorf("feature %d is %q in the manifest and %.60q in the module", j, f.Name, d.Features[j])
		}
	}
	return nil
}

// initBlock is what init is given: a length, a JSON, padding, files.
func initBlock(m *manifest.Manifest, features []sdk.Feature, files map[string][]byte) ([]byte, error) {
	type feature struct {
		Name  string `json:"name"`
		DType string `json:"dtype"`
	}
	type file struct {
		Name   string `json:"name"`
		Offset int    `json:"offset"`
		Size   int    `json:"size"`
	}
	head := struct {
		Config   map[string]any `json:"config"`
		DType    string         `json:"dtype"`
		Features []feature      `json:"features"`
		Files    []file         `json:"files"`
	}{Config: m.Config, DType: matrixType(features).String(), Files: []file{}}
	if head.Config == nil {
		head.Config = map[string]any{}
	}
	for _, f := range features {
		head.Features = append(head.Features, feature{f.Name, f.DType.String()})
	}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	// Offsets are counted from the block's start, where the JSON's own length
	// matters: it is written twice, first with the widest offsets.
	pad := func(n int) int { return (n + alignment - 1) / alignment * alignment }
	var text []byte
	for from := 1<<31 - 1; ; {
		at := from
		head.Files = head.Files[:0]
		for _, name := range names {
			head.Files = append(head.Files, file{name, at, len(files[name])})
			if from != 1<<31-1 {
				at = pad(at + len(files[name]))
			}
		}
		var err error
		if text, err = json.Marshal(head); err != nil {
			return nil, fmt.Errorf("writing the init block: %w", err)
		}
		if from != 1<<31-1 {
			break
		}
		from = pad(4 + len(text))
	}
	var out []byte
	out = binary.LittleEndian.AppendUint32(out, uint32(len(text)))
	out = append(out, text...)
	for _, f := range head.Files {
		out = append(out, make([]byte, f.Offset-len(out))...)
		out = append(out, files[f.Name]...)
	}
	return out, nil
}

// init gives an instance its block, once.
func (i *instance) init(ctx context.Context, content []byte) error {
	b, err := i.alloc(ctx, uint32(len(content)))
	if err != nil {
		return err
	}
	view, err := i.view(b.at, b.size)
	if err != nil {
		return err
	}
	copy(view, content)
	status, err := i.call(ctx, exportInit, uint64(b.at), uint64(b.size))
	if err == nil {
		err = i.check(ctx, exportInit, status)
	}
	if err != nil {
		return fmt.Errorf("initialising the module: %w", err)
	}
	return i.free(ctx, b)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// printable makes a guest's text fit for logs and answers.
func printable(text []byte) string {
	const most = 1000
	s := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(string(text), "\uFFFD"))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return strings.TrimSpace(s)
}
