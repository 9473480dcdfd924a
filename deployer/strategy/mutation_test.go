package strategy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/deployer/simulate"
	"github.com/pynomaly/pynomaly-runtime/deployer/strategy"
)

const (
	module   = "github.com/pynomaly/pynomaly-runtime/deployer/strategy"
	mostTold = 4_000_000 // steps, in which a walk must notice that a guard is missing
)

// TestMutations removes each guard of Next in turn. A walk must notice. It runs with
// WALKS=full, and WALKS_TABLE names a file for its table.
//
// One test binary holds a package for each guard: a copy of the strategy without it,
// which takes its exported types from the strategy itself.
func TestMutations(t *testing.T) {
	all := mutations()
	page := source(t, "../../docs/rationale.md")
	for i := range all {
		if os.Getenv("WALKS_TABLE") == "" && !strings.Contains(page, "\n| "+all[i].guard+" | ") { // or it is being made
			t.Errorf("the table in docs/rationale.md lacks %q: make walks-table", all[i].guard)
		}
		if n := strings.Count(source(t, all[i].file), all[i].old); n != 1 {
			t.Errorf("%s has %q %d times", all[i].file, all[i].old, n)
		}
	}
	if os.Getenv("WALKS") != "full" {
		t.Skip("WALKS=full removes the guards")
	}
	dir := t.TempDir()
	files := map[string]string{}
	add := func(path, content string) {
		name := filepath.Join(dir, fmt.Sprintf("%d.go", len(files)))
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		abs, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		files[abs] = name
	}
	imports, calls := "", ""
	for i := range all {
		for _, name := range []string{"strategy.go", "next.go", "roll.go", "share.go", "clock.go"} {
			text := source(t, name)
			if name == all[i].file {
				text = strings.Replace(text, all[i].old, all[i].mutant, 1)
			}
			text = strings.Replace(text, "func Next(", "func Mutant(", 1)
			add(filepath.Join("mutants", fmt.Sprintf("m%d", i), name), mutant(t, text))
		}
		imports += fmt.Sprintf("\tm%d %q\n", i, fmt.Sprintf("%s/mutants/m%d", module, i))
		calls += fmt.Sprintf("\tnotice(%q, m%d.Mutant)\n", all[i].guard, i)
	}
	add("mutants_test.go", "package strategy_test\n\nimport (\n\t\"testing\"\n\n"+imports+")\n\nfunc TestMutants(t *testing.T) {\n"+calls+"}\n")
	overlay := filepath.Join(dir, "overlay.json")
	text, err := json.Marshal(map[string]any{"Replace": files})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-count=1", "-timeout=0", "-overlay", overlay, "-run", "TestMutants$", "-v", ".").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	tell(t, out, len(all))
}

// tell prints and writes the table.
func tell(t *testing.T, out []byte, want int) {
	t.Helper()
	var table bytes.Buffer
	table.WriteString("| the guard | without it a walk breaks the rule | after steps |\n|---|---|---|\n")
	rows := regexp.MustCompile(`(?m)^\| .*\|$`).FindAll(out, -1)
	for _, row := range rows {
		t.Logf("%s", row)
		table.Write(append(row, '\n'))
		if bytes.Contains(row, []byte(unnoticed)) {
			t.Errorf("%s", row)
		}
	}
	if len(rows) != want {
		t.Errorf("%d of %d guards were removed:\n%s", len(rows), want, out)
	}
	if name := os.Getenv("WALKS_TABLE"); name != "" {
		if err := os.WriteFile(name, table.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

const unnoticed = "no walk noticed"

// notice walks with the plans of next until a rule is broken, and prints a row.
func notice(guard string, next func(strategy.World) strategy.Plan) { //nolint:unused // the generated test calls it
	steps, rule := 0, unnoticed
	for seed := uint64(1); steps < mostTold && rule == unnoticed; seed++ {
		w := simulate.NewWalk(seed)
		w.Next = next
		if err := episode(w); err != nil {
			rule, _, _ = strings.Cut(err.Error(), ":")
		}
		steps += w.Steps
	}
	fmt.Printf("| %s | %s | %d |\n", guard, rule, steps)
}

// episode runs one walk. A panic is an error.
func episode(w *simulate.Walk) (err error) { //nolint:unused // as notice
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return w.Episode()
}

func source(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// mutant returns a source file without its exported types and constants, which it
// takes from the strategy.
func mutant(t *testing.T, text string) string {
	t.Helper()
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, "", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	kept := f.Decls[:0]
	for _, d := range f.Decls {
		if g, ok := d.(*ast.GenDecl); ok && exported(g) {
			continue
		}
		kept = append(kept, d)
	}
	f.Decls = kept
	var out bytes.Buffer
	if err := format.Node(&out, files, f); err != nil {
		t.Fatal(err)
	}
	return strings.Replace(out.String(), "package strategy\n", "package strategy\n\nimport . \""+module+"\"\n", 1) + "\nvar _ World\n"
}

// exported reports whether a declaration is of exported types or constants.
func exported(g *ast.GenDecl) bool {
	if g.Tok != token.TYPE && g.Tok != token.CONST {
		return false
	}
	for _, s := range g.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if !s.Name.IsExported() {
				return false
			}
		case *ast.ValueSpec:
			if !s.Names[0].IsExported() {
				return false
			}
		}
	}
	return true
}
