package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

var (
	relative = regexp.MustCompile(`\]\(([^):#\s]*)(?:#([^)\s]*))?\)`) // not of another site
	heading  = regexp.MustCompile(`(?m)^#+ (.*)$`)
	fenced   = regexp.MustCompile("(?ms)^```.*?^```")
)

// markdown returns the text of every page of the repository by its path, without code.
func markdown(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	skip := map[string]bool{"bin": true, "dist": true, "node_modules": true, "testdata": true}
	if err := filepath.WalkDir(testkit.Root(), func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != testkit.Root() && (skip[d.Name()] || strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(file) != ".md":
			return nil
		}
		text, err := os.ReadFile(file)
		out[file] = fenced.ReplaceAllString(string(text), "")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// anchors returns the fragments of a page's headings, as GitHub makes them.
func anchors(page string) map[string]bool {
	out := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(page, -1) {
		out[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, m[1])] = true
	}
	return out
}

// TestLinks checks that each link between the pages of the repository has a target
// and, if it names a heading, that the target has that heading.
func TestLinks(t *testing.T) {
	all := markdown(t)
	links := 0
	for file, text := range all {
		for _, m := range relative.FindAllStringSubmatch(text, -1) {
			links++
			target := file
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(file), m[1])
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %v", file, m[0], err)
			} else if page, ok := all[target]; m[2] != "" && ok && !anchors(page)[m[2]] {
				t.Errorf("%s links to %s, but the page has no such heading", file, m[0])
			}
		}
	}
	if links < 100 {
		t.Errorf("the pages have %d links", links)
	}
}

// TestPagesAreReachable checks that links lead from the README to every page of docs.
func TestPagesAreReachable(t *testing.T) {
	all := markdown(t)
	reached := map[string]bool{}
	next := []string{filepath.Join(testkit.Root(), "README.md")}
	for len(next) > 0 {
		file := next[0]
		next = next[1:]
		if reached[file] {
			continue
		}
		reached[file] = true
		for _, m := range relative.FindAllStringSubmatch(all[file], -1) {
			next = append(next, filepath.Join(filepath.Dir(file), m[1]))
		}
	}
	docs, err := filepath.Glob(filepath.Join(testkit.Root(), "docs", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for file := range all {
		if strings.HasPrefix(file, filepath.Join(testkit.Root(), "docs")+string(filepath.Separator)) {
			docs = append(docs, file)
		}
	}
	for _, file := range docs {
		if !reached[file] && !reached[filepath.Join(file, "README.md")] {
			t.Errorf("no link leads from README.md to %s", file)
		}
	}
}
