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

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

const maxDescription = 1 << 20

// description is what a module tells about itself.
type description struct {
	backends.Description
	reset bool // reset its memory after each call
}

// describe asks an instance for its description. Call it once, before init.
func (i *instance) describe(ctx context.Context) (*description, error) {
	text, err := i.packed(ctx, exportDescribe, maxDescription)
	if err != nil {
		return nil, err
	}
	if text == nil {
		return nil, fmt.Errorf("%w: %s returns nothing", errBroke, exportDescribe)
	}
	var said struct {
		Name        string   `json:"name"`
		Version     string   `json:"version"`
		Algorithm   string   `json:"algorithm"`
		DType       string   `json:"dtype"`
		Features    []string `json:"features"`
		Orientation string   `json:"orientation"`
		Threshold   *float64 `json:"threshold"`
		Stateful    bool     `json:"stateful"`
		Reset       *bool    `json:"reset"`
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&said); err != nil {
		return nil, fmt.Errorf("%w: %s returns bad JSON: %w", errBroke, exportDescribe, err)
	}
	if dec.More() {
		return nil, fmt.Errorf("%w: %s returns more than one JSON value", errBroke, exportDescribe)
	}
	dtype, err := sdk.ParseDType(said.DType)
	if err != nil || !dtype.Numeric() {
		return nil, fmt.Errorf("%w: its dtype is %.40q, not float32, float64 or int64", errBroke, said.DType)
	}
	d := &description{reset: said.Reset == nil || *said.Reset, Description: backends.Description{
		Name: said.Name, Version: said.Version, Algorithm: said.Algorithm, DType: dtype, Features: said.Features,
		Orientation: said.Orientation, Threshold: said.Threshold, Stateful: said.Stateful,
	}}
	if err := d.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", errBroke, err)
	}
	return d, nil
}

// ask starts an instance only for its description.
func (p *plugin) ask(ctx context.Context) (*description, error) {
	i, err := p.instantiate(ctx)
	if err != nil {
		return nil, err
	}
	d, err := i.describe(ctx)
	return d, errors.Join(err, i.close())
}

// initBlock returns the input of init: a length, a JSON object, padding, files.
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
	}{Config: m.Config, DType: backends.MatrixType(features).String(), Files: []file{}}
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
	// The JSON contains the files' offsets, which depend on its length. So it is
	// encoded twice, first with the widest offsets.
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

// init initialises an instance with its block, once.
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
