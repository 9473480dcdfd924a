package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestPredictThroughHost checks that the command scores a file through a running
// host in every format, and writes the same as with a local model, byte for byte.
func TestPredictThroughHost(t *testing.T) {
	models, dir := testkit.Testdata("models"), t.TempDir()
	host := startCommand(t, realBinary(t), "serve", "--host", "127.0.0.1", "--port", "0", "--models", models, "--state-dir", stateForTests(t))
	host.next(`"message":"serving"`)
	go host.drain()
	defer host.stop()
	url := "http://" + host.address
	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, []byte("pyn_12345678_secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range testkit.Cases(t) {
		if c.Name != "breast-cancer-mixed" && c.Name != "pima-lof" { // texts and whole numbers, and numbers alone
			continue
		}
		for _, format := range []string{"csv", "ndjson", "parquet"} {
			t.Run(c.Name+"/"+format, func(t *testing.T) {
				in := filepath.Join(dir, "in."+format)
				write(t, c, format, in)
				outputs := map[string][]byte{}
				for name, args := range map[string][]string{"own": {"--models", models}, "host": {"--host", url, "--key-file", key}} {
					out := filepath.Join(dir, name+"."+format)
					if _, errs, err := installed(t, append([]string{"predict", c.Name + "@1.0.0", in, "-o", out, "--batch-size", "41"}, args...)...); err != nil || !strings.Contains(errs, " 0 failed") {
						t.Fatalf("%s: %v: %s", name, err, errs)
					}
					data, err := os.ReadFile(out)
					if err != nil {
						t.Fatal(err)
					}
					outputs[name] = data
				}
				if len(outputs["own"]) == 0 || !bytes.Equal(outputs["own"], outputs["host"]) {
					t.Errorf("the outputs differ: %d and %d bytes", len(outputs["own"]), len(outputs["host"]))
				}
			})
		}
	}
	const rows = "f0,f1,f2,f3,f4,f5,f6,f7\n8,155,62,26,495,34,0.543,46\n8,x,62,26,495,34,0.543,46\n,155,62,26,495,34,0.543,46\n8\n"
	var outs []string
	for _, args := range [][]string{{"--models", models, "--explain"}, {"--host", url, "--explain"}} {
		out, errs, err := command(t, strings.NewReader(rows), append([]string{"predict", "pima-lof", "-", "--format", "csv"}, args...)...)
		var code exitError
		if !errors.As(err, &code) || code != rowsFailed || !strings.Contains(errs, "1 rows scored, 3 failed") {
			t.Errorf("%v: %v: %s", args, err, errs)
		}
		outs = append(outs, out)
	}
	if !strings.Contains(outs[0], ",error,base_value,contribution_f0,") || strings.HasSuffix(strings.Split(outs[0], "\n")[1], ",") {
		t.Errorf("nothing is explained:\n%s", outs[0])
	}
	if outs[0] != outs[1] {
		t.Errorf("rows that fail:\n%s\nthrough the host:\n%s", outs[0], outs[1])
	}
	for name, args := range map[string][]string{
		"no such model":   {"predict", "none", "-", "--format", "csv", "--host", url},
		"no such version": {"predict", "pima-lof@9.0.0", "-", "--format", "csv", "--host", url},
		"no host":         {"predict", "pima-lof", "-", "--format", "csv", "--host", "http://127.0.0.1:1"},
		"no URL":          {"predict", "pima-lof", "-", "--format", "csv", "--host", "127.0.0.1:8080"},
		"a key in it":     {"predict", "pima-lof", "-", "--format", "csv", "--host", "http://u:s3cret@127.0.0.1:8080"},
		"no key":          {"predict", "pima-lof", "-", "--format", "csv", "--host", url, "--key-file", filepath.Join(dir, "none")},
		"another column":  {"predict", "pima-lof", "-", "--format", "csv", "--host", url},
	} {
		var code exitError
		if _, errs, err := command(t, strings.NewReader("zzz\n1\n"), args...); err == nil || errors.As(err, &code) || strings.Contains(err.Error()+errs, "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
