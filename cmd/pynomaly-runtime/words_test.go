package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestUnknownCommands checks that a misspelt command is an error that names a
// similar one, and never reaches a cluster.
func TestUnknownCommands(t *testing.T) {
	t.Setenv("KUBECONFIG", "/does/not/exist")
	for line, want := range map[string]string{
		"srve":               "serve",
		"model lst":          "did you mean fit or list?",
		"model nothing":      `unknown command "nothing" for "pynomaly-runtime model"`,
		"plugin bulid dir":   "did you mean build?",
		"completion fsh":     "did you mean bash or fish or zsh?",
		"help modl":          "model",
		"help model lst":     "list",
		"deploy lst":         "did you mean list? If it is a model: pynomaly-runtime deploy deploy lst",
		"deploy stauts":      "did you mean status?",
		"deploy cardio":      "cluster", // a model
		"deploy lst@1.0.0":   "cluster",
		"deploy deploy lst":  "cluster",
		"deploy list cardio": "unknown command",
	} {
		if _, _, err := command(t, nil, strings.Fields(line)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
	dir := t.TempDir()
	testkit.CopyModel(t, dir, "pima-lof", "lst", "1.0.0", nil)
	if _, _, err := command(t, nil, "deploy", "lst", "--models", dir); err == nil || !strings.Contains(err.Error(), "cluster") {
		t.Errorf("a model that is there: %v", err)
	}
	for _, line := range []string{"", "model", "plugin", "deploy", "completion", "help", "help model list"} {
		if out, _, err := command(t, nil, strings.Fields(line)...); err != nil || !strings.Contains(out, "Usage:") {
			t.Errorf("%q: %v: %s", line, err, out)
		}
	}
}

// TestCompletion checks that shells complete the values of flags and the names of
// models.
func TestCompletion(t *testing.T) {
	models := testkit.Testdata("models")
	for line, want := range map[string]string{
		"serve --env ":                                    "development staging production",
		"serve --log-level ":                              "debug info warn error",
		"serve --log-format ":                             "json text",
		"serve --onnx-forests ":                           "auto off only",
		"serve --onnx-probe ":                             "child in_process",
		"deploy serve --env ":                             "development staging production",
		"deploy deploy --strategy ":                       "rolling blue_green canary direct",
		"deploy --strategy ":                              "rolling blue_green canary direct",
		"deploy deploy --env ":                            "development staging production",
		"plugin new --lang ":                              "go rust c assemblyscript python",
		"predict --format ":                               "csv ndjson parquet",
		"model fit e":                                     "ecod",
		"controller --log-level ":                         "debug info warn error",
		"predict --models " + models + " pima-l":          "pima-lof",
		"predict --models " + models + " pima-l@":         "",
		"model inspect --models " + models + " pima-lof@": "pima-lof@1.0.0",
		"model push --models " + models + " thyroid-o":    "thyroid-ocsvm",
		"deploy deploy --models " + models + " thyroid-o": "thyroid-ocsvm",
	} {
		out, _, err := command(t, nil, append([]string{cobra.ShellCompNoDescRequestCmd}, strings.Split(line, " ")...)...)
		if err != nil {
			t.Errorf("%s: %v", line, err)
		}
		var got []string
		for l := range strings.Lines(out) {
			if strings.HasPrefix(l, ":") {
				break
			}
			got = append(got, strings.TrimSpace(l))
		}
		if !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s: %v, want %s", line, got, want)
		}
	}
}

// TestHelp checks that help shows a type and a default for every flag of the
// configuration, or says what empty means.
func TestHelp(t *testing.T) {
	serve, _, err := newCommand(nil, nil, nil).Find([]string{"serve"})
	if err != nil {
		t.Fatal(err)
	}
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.AddFlags(own)
	own.VisitAll(func(f *pflag.Flag) {
		one := pflag.NewFlagSet("", pflag.ContinueOnError)
		one.AddFlag(serve.Flags().Lookup(f.Name))
		text := one.FlagUsages()
		if f.DefValue != "" && !strings.Contains(text, "(default ") {
			t.Errorf("no default in %q", text)
		}
		if _, usage := pflag.UnquoteUsage(f); f.Value.Type() == "" || usage == f.Usage && !strings.Contains(usage, "PYNOMALY_") {
			t.Errorf("no type or variable in %q", text)
		}
	})
	for name, want := range map[string]string{
		"port": "int 8080", "drain": "duration auto", "request-timeout": "duration 30s", "body-limit": "bytes 32MiB",
		"workers": "int 0", "log-level": "string info", "onnx": "bool true", "lazy": "bool false", "only": "strings ",
	} {
		f := serve.Flags().Lookup(name)
		if got := f.Value.Type() + " " + f.DefValue; got != want {
			t.Errorf("--%s: %s, want %s", name, got, want)
		}
	}
}
