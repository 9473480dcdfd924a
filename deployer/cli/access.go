package cli

import (
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// accessFlags say who may use the hosts of plain manifests.
type accessFlags struct{ file, keysSecret, anonymous string }

func (a *accessFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&a.file, "access", "", "YAML file that says who may use the host, as spec.access of an Environment does")
	f.StringVar(&a.keysSecret, "keys-secret", "", "Secret of API keys (default "+v1alpha1.DefaultKeysSecret+")")
	f.StringVar(&a.anonymous, "anonymous-predict", "", "whether callers without credentials may predict: true or false (default: true in development)")
}

func (a *accessFlags) read() (v1alpha1.Access, error) {
	var out v1alpha1.Access
	if a.file != "" {
		if err := readYAML("--access", a.file, &out); err != nil {
			return out, err
		}
	}
	if a.keysSecret != "" {
		out.KeysSecret = a.keysSecret
	}
	if a.anonymous != "" {
		yes, err := strconv.ParseBool(a.anonymous)
		if err != nil {
			return out, fmt.Errorf("--anonymous-predict is %q; must be true or false", a.anonymous)
		}
		out.AnonymousPredict = &yes
	}
	return out, nil
}

// readYAML decodes the file that a flag names, strictly.
func readYAML(flag, file string, into any) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		return fmt.Errorf("%s: %s: %w", flag, file, err)
	}
	return nil
}
