package graph

import "regexp"

// defaultLocale is the locale that ONNX Runtime uses if a graph names none.
const defaultLocale = "en_US.UTF-8"

var localeName = regexp.MustCompile(`^[A-Za-z0-9_.@-]{1,64}$`)

// Locales returns the locales that operators load from the system, without
// duplicates. It omits strings that cannot name a locale.
func (m *Model) Locales() []string {
	var names []string
	seen := map[string]bool{} // a hostile graph has many
	var visit func(g *graph)
	visit = func(g *graph) {
		for _, n := range g.nodes {
			if n.op == "StringNormalizer" {
				name := defaultLocale
				if a := n.attribute("locale"); a != nil && len(a.strings) == 1 {
					name = string(a.strings[0])
				}
				if !seen[name] && localeName.MatchString(name) {
					seen[name] = true
					names = append(names, name)
				}
			}
			for _, a := range n.attributes {
				for _, inner := range a.graphs {
					visit(inner)
				}
			}
		}
	}
	visit(m.checked.graph)
	return names
}
