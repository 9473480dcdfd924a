package manifest

import (
	"bytes"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Edit returns a model.yaml with the given top-level keys as m has them. Everything else
// stays as it is written, comments included; a key that m does not have is removed.
func Edit(text []byte, m *Manifest, keys ...string) ([]byte, error) {
	encoded, err := Encode(m)
	if err != nil {
		return nil, err
	}
	with, err := readParts(encoded)
	if err != nil {
		return nil, err
	}
	parts, err := readParts(text)
	if err != nil {
		return nil, err
	}
	if parts == nil { // not written line by line, as JSON is not
		return editNodes(text, encoded, keys)
	}
	for _, key := range keys {
		parts = parts.replace(key, with.text(key))
	}
	var out bytes.Buffer
	for _, p := range parts {
		out.Write(p.text)
	}
	return out.Bytes(), nil
}

// part is some lines of a manifest: those of a top-level key, or what stands between
// keys. The latter has no key.
type part struct {
	key  string
	text []byte
}

type parts []part

// readParts splits a manifest. It returns nil if the manifest is not a mapping with a
// line for each key.
func readParts(text []byte) (parts, error) {
	root, err := mapping(text)
	if err != nil || root.Style&yaml.FlowStyle != 0 || len(root.Content) == 0 {
		return nil, err
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	if last := len(lines) - 1; len(lines[last]) > 0 {
		lines[last] = append(bytes.Clone(lines[last]), '\n')
	}
	var out parts
	add := func(key string, from, to int) {
		if from < to {
			out = append(out, part{key, bytes.Join(lines[from:to], nil)})
		}
	}
	add("", 0, root.Content[0].Line-1)
	for i := 0; i < len(root.Content); i += 2 {
		from, to := root.Content[i].Line-1, len(lines)
		if i+2 < len(root.Content) {
			to = root.Content[i+2].Line - 1
		}
		end := to
		for end > from+1 && isBetween(lines[end-1]) { // what stands before the next key belongs to that
			end--
		}
		add(root.Content[i].Value, from, end)
		add("", end, to)
	}
	return out, nil
}

// isBetween reports whether a line is empty, or a comment that belongs to no key's value.
func isBetween(line []byte) bool {
	return len(bytes.TrimSpace(line)) == 0 || line[0] == '#' || bytes.HasPrefix(line, []byte("...")) || bytes.HasPrefix(line, []byte("---"))
}

// mapping decodes a manifest as far as its top-level keys.
func mapping(text []byte) (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("reading %s: %w", FileName, err)
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("reading %s: it is not a mapping", FileName)
	}
	return doc.Content[0], nil
}

func (p parts) at(key string) int {
	return slices.IndexFunc(p, func(q part) bool { return q.key == key })
}

// text returns the lines of a key, nil if there is none.
func (p parts) text(key string) []byte {
	if i := p.at(key); i >= 0 {
		return p[i].text
	}
	return nil
}

// replace sets the lines of a key. A new key follows all others.
func (p parts) replace(key string, text []byte) parts {
	switch i := p.at(key); {
	case i >= 0 && text != nil:
		p[i].text = text
	case i >= 0:
		return slices.Delete(p, i, i+1)
	case text != nil:
		last := len(p)
		for last > 0 && p[last-1].key == "" {
			last--
		}
		return slices.Insert(p, last, part{key, text})
	}
	return p
}

// editNodes is Edit for a manifest in the flow style.
func editNodes(text, encoded []byte, keys []string) ([]byte, error) {
	root, err := mapping(text)
	if err != nil {
		return nil, err
	}
	with, err := mapping(encoded)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		at, from := keyOf(root, key), keyOf(with, key)
		switch {
		case at >= 0 && from >= 0:
			root.Content[at+1] = with.Content[from+1]
		case at >= 0:
			root.Content = slices.Delete(root.Content, at, at+2)
		case from >= 0:
			root.Content = append(root.Content, with.Content[from], with.Content[from+1])
		}
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(root); err != nil {
		return nil, fmt.Errorf("writing %s: %w", FileName, err)
	}
	return out.Bytes(), nil
}

// keyOf returns the index of a key in a mapping, or -1.
func keyOf(m *yaml.Node, key string) int {
	for i := 0; i < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return i
		}
	}
	return -1
}
