package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// wish holds the flags of deploy.
type wish struct {
	environment, strategy, models, digest, image, pullPolicy string
	steps, gateway, prefix, claim, reason                    string
	reference, pullSecret                                    string
	plainHTTP, baked                                         bool
	authHosts                                                []string
	hostnames                                                []string
	replicas, samples                                        int32
	resources                                                [4]string // CPU request and limit, memory request and limit
	config                                                   map[string]string
	replacing
	wait bool
}

func (w *wish) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&w.environment, "env", "development", "name of the environment, such as staging")
	f.StringVar(&w.strategy, "strategy", "", "rolling, blue_green, canary or direct (default: unchanged, or the environment's)")
	f.Int32Var(&w.replicas, "replicas", -1, "number of pods; the minimum, with an autoscaler (default: unchanged, or the environment's)")
	for i, name := range []string{"cpu-request", "cpu-limit", "memory-request", "memory-limit"} {
		such := [...]string{"500m", "2", "512Mi", "1Gi"}[i]
		f.StringVar(&w.resources[i], name, "", strings.ReplaceAll(name, "-", " ")+" of each pod, such as "+such+" (default: unchanged, or the environment's)")
	}
	f.StringVar(&w.models, "models", "models", "directory of models, to look up versions and digests")
	f.StringVar(&w.digest, "digest", "", "digest of the model's contents (default: that in --models)")
	f.StringVar(&w.image, "image", "", "image of the host (default: unchanged, or the environment's)")
	f.StringVar(&w.pullPolicy, "image-pull-policy", "", "Always, IfNotPresent or Never")
	f.StringVar(&w.steps, "steps", "", "steps of a canary, such as 10:30s,25:1m:500rows:pause,50")
	f.StringVar(&w.gateway, "gateway", "", "[<namespace>/]<name> of the Gateway that splits the traffic (default: unchanged, or the environment's)")
	f.StringVar(&w.prefix, "path-prefix", "", "path prefix of the HTTPRoute")
	f.StringSliceVar(&w.hostnames, "hostname", nil, "host names of the HTTPRoute")
	f.StringVar(&w.claim, "models-claim", "", "PersistentVolumeClaim with the models")
	f.BoolVar(&w.baked, "models-image", false, "the models are in the image (the initial setting)")
	f.StringVar(&w.reference, "models-oci", "", "<registry>/<repository>:<tag> from which pods pull the model")
	f.StringVar(&w.pullSecret, "models-oci-secret", "", "Secret of type kubernetes.io/dockerconfigjson for that registry")
	f.BoolVar(&w.plainHTTP, "models-oci-plain-http", false, "connect to that registry without TLS, even with credentials")
	f.StringSliceVar(&w.authHosts, "models-oci-auth-host", nil, "further <host>[:<port>] to which its credentials may be sent for a token")
	f.StringToStringVar(&w.config, "set", nil, "environment variables of the host, such as WORKERS=4; others stay unchanged, and one without a value is removed")
	f.Int32Var(&w.samples, "samples", -1, "rows that hosts keep, to replay them to the next revision before it has traffic; 0: none")
	f.StringVar(&w.reason, "reason", "", "reason, for the record")
	w.replacing.flags(c)
}

// valid checks the name of a model and the flags, before the cluster is asked.
func (w *wish) valid(name string) error {
	if id, version, named := strings.Cut(name, "@"); named {
		if err := render.ValidModel(v1alpha1.ModelReference{ID: id, Version: version}); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		flag, value string
		known       []string
	}{
		{"strategy", w.strategy, []string{v1alpha1.Rolling, v1alpha1.BlueGreen, v1alpha1.Canary, v1alpha1.Direct}},
		{"image-pull-policy", w.pullPolicy, []string{"Always", "IfNotPresent", "Never"}},
	} {
		if f.value != "" && !slices.Contains(f.known, f.value) {
			return fmt.Errorf("--%s %q is not one of %s", f.flag, f.value, strings.Join(f.known, ", "))
		}
	}
	if err := w.into(&v1alpha1.ModelDeployment{}); err != nil { // it parses quantities and steps
		return err
	}
	if w.image != "" {
		if err := render.ValidImage(w.image); err != nil {
			return err
		}
	}
	for _, name := range w.hostnames {
		if err := render.ValidHost(name); err != nil {
			return fmt.Errorf("--hostname: %w", err)
		}
	}
	return nil
}
