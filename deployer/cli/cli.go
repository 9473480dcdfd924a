// Package cli has the deploy commands. They write objects and watch their status.
// The controller does the work in between, so killing a command does not affect it.
package cli

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/pynomaly/pynomaly-runtime/deployer/controller"
	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
	"github.com/pynomaly/pynomaly-runtime/internal/printable"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// Exit codes other than 0, and 1 for errors that occur at once.
const (
	ExitFailed     = 3 // the rollout failed or was rolled back
	ExitConflict   = 4 // somebody else changed the deployment
	ExitTimeout    = 5 // --timeout is over; the rollout continues
	ExitSuperseded = 6 // another rollout replaced it
	// ExitInterrupted means that a signal ended a command that waited; the rollout
	// continues.
	ExitInterrupted = 130
)

// ExitError is an error with an exit code.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string { return e.Err.Error() }
func (e *ExitError) Unwrap() error { return e.Err }

// Model describes a model's version in a local directory.
type Model struct {
	Version  string
	Digest   string
	Stateful bool
}

// Options are what the commands need from the main program.
type Options struct {
	Out, Err io.Writer
	Now      func() time.Time
	Image    string // default image of the host
	// Resolve looks up a model in a directory; an empty version means the newest.
	Resolve func(dir, id, version string) (Model, error)
}

// app is one run of a command.
type app struct {
	Options
	kubeconfig, context string
	as                  string
	output              string
	asJSON              bool
	timeout             time.Duration
}

// Commands returns the subcommands of deploy.
func Commands(o Options) []*cobra.Command {
	a := &app{Options: o}
	all := []*cobra.Command{
		a.deploy(), a.list(), a.status(), a.rollback(), a.promote(), a.approve(), a.environments(),
		a.pause(), a.resume(), a.abort(), a.history(), a.events(), a.show(), a.diff(), a.install(), a.render(), a.key(), a.backup(), a.restore(),
	}
	for _, c := range withSubcommands(all) {
		if run := c.RunE; run != nil {
			c.RunE = func(cmd *cobra.Command, args []string) error {
				if err := a.valid(cmd, args); err != nil {
					return err
				}
				return explain(run(cmd, args))
			}
		}
		c.Flags().StringVar(&a.kubeconfig, "kubeconfig", "", "kubeconfig file (default: KUBECONFIG, ~/.kube/config, or the pod's account)")
		c.Flags().StringVar(&a.as, "as", "", "user to impersonate")
		c.Flags().StringVar(&a.context, "context", "", "context of the kubeconfig")
	}
	return all
}

// withSubcommands replaces groups of commands by the commands below them.
func withSubcommands(all []*cobra.Command) []*cobra.Command {
	var out []*cobra.Command
	for _, c := range all {
		if below := c.Commands(); len(below) > 0 {
			out = append(out, below...)
			continue
		}
		out = append(out, c)
	}
	return out
}

func (a *app) outputs(c *cobra.Command) {
	c.Flags().BoolVar(&a.asJSON, "json", false, "print JSON")
	c.Flags().StringVarP(&a.output, "output", "o", "table", "table, json or yaml")
}

// valid checks the ids and flags that several commands have, before a command asks the
// cluster.
func (a *app) valid(c *cobra.Command, args []string) error {
	if strings.Contains(c.Use, "deployment-id>") {
		for _, id := range args {
			if _, _, _, err := splitID(id); err != nil {
				return err
			}
		}
	}
	if f := c.Flags().Lookup("digest"); f != nil && f.Changed {
		if text := f.Value.String(); !manifest.ValidDigest(text) {
			return fmt.Errorf("--digest %q is not \"sha256:\" and 64 hex digits", text)
		}
	}
	if c.Flags().Lookup("output") != nil && !slices.Contains([]string{"", "table", "json", "yaml"}, a.output) {
		return fmt.Errorf("--output %q is not table, json or yaml", a.output)
	}
	if c.Flags().Lookup("timeout") != nil && a.timeout <= 0 {
		return fmt.Errorf("--timeout %s is not a positive duration, such as 30m", a.timeout)
	}
	return nil
}

func (a *app) waits(c *cobra.Command, wait *bool) {
	c.Flags().BoolVar(wait, "wait", false, "follow the rollout until it ends")
	c.Flags().DurationVar(&a.timeout, "timeout", 30*time.Minute, "how long to follow it")
}

// connect returns a client of the cluster.
func (a *app) connect() (client.WithWatch, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = a.kubeconfig
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: a.context}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("finding a cluster: %w (give --kubeconfig, or set KUBECONFIG)", err)
	}
	if err := expired(cfg, a.Now()); err != nil {
		return nil, err
	}
	cfg.QPS, cfg.Burst = 50, 100
	cfg.Impersonate.UserName = a.as
	scheme, err := controller.Scheme()
	if err != nil {
		return nil, err
	}
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	return c, nil
}

// explained is an error of the API server with what to do.
type explained struct {
	says string
	err  error
}

func (e *explained) Error() string { return e.says + ": " + e.err.Error() }
func (e *explained) Unwrap() error { return e.err }

// explain adds to errors of the API server what to do. It does so once.
func explain(err error) error {
	switch {
	case err == nil, errors.As(err, new(*ExitError)), errors.As(err, new(*explained)):
		return err
	case apierrors.IsUnauthorized(err):
		return &explained{"the cluster does not accept your credentials, which may have expired: renew the token or certificate of the kubeconfig", err}
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return &explained{"the API server's certificate is not accepted", err}
	case strings.Contains(err.Error(), "tls: expired certificate"):
		return &explained{"the API server says that the client certificate of the kubeconfig has expired: renew it, and check the clock", err}
	case apierrors.IsConflict(err):
		return &ExitError{ExitConflict, fmt.Errorf("somebody else has just changed it: check `deploy status`, then repeat the command: %w", err)}
	case strings.Contains(err.Error(), "no matches for kind") && strings.Contains(err.Error(), v1alpha1.Group):
		return &explained{"this cluster does not know the deployer's resources: run `deploy install` first", err}
	}
	return err
}

// user returns the caller's name in the cluster.
func user(ctx context.Context, c client.Client) (string, error) {
	var r authenticationv1.SelfSubjectReview
	if err := c.Create(ctx, &r); err != nil {
		return "", fmt.Errorf("asking the cluster who you are: %w", err)
	}
	return r.Status.UserInfo.Username, nil
}

// print writes a value in the requested format.
func (a *app) print(v any, table func(io.Writer) error) error {
	format := a.output
	if a.asJSON {
		format = "json"
	}
	switch format {
	case "json":
		enc := json.NewEncoder(a.Out)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	case "yaml":
		text, err := yaml.Marshal(v)
		if err != nil {
			return fmt.Errorf("writing YAML: %w", err)
		}
		_, err = a.Out.Write(text)
		return err
	case "table", "":
		return table(printable.Writer(a.Out)) // a user who deploys chooses its contents
	}
	return fmt.Errorf("--output %q is not table, json or yaml", format)
}

// target is the deployment with an id.
type target struct {
	id          string
	environment v1alpha1.Environment
	revision    v1alpha1.ModelRevision
	deployment  v1alpha1.ModelDeployment
}

// splitID returns the environment that an id names, or "", the id itself, and its number.
func splitID(text string) (in, id string, number int64, err error) {
	id = text
	if before, after, ok := strings.Cut(text, "/"); ok {
		in, id = before, after
	}
	dash := strings.LastIndexByte(id, '-')
	number, err = strconv.ParseInt(id[dash+1:], 10, 32)
	if dash <= 0 || err != nil || number < 1 {
		return "", "", 0, fmt.Errorf("%q is not a deployment id <model>-<environment>-<number>: see `deploy list`", id)
	}
	return in, id, number, nil
}

// find looks up a deployment id. Names of models and environments may contain
// dashes, so an id can be ambiguous: <environment>/<id> is not.
func find(ctx context.Context, c client.Client, id string) (*target, error) {
	in, id, number, err := splitID(id)
	if err != nil {
		return nil, err
	}
	dash := strings.LastIndexByte(id, '-')
	var envs v1alpha1.EnvironmentList
	if err := c.List(ctx, &envs); err != nil {
		return nil, explain(err)
	}
	var found []*target
	for i := range envs.Items {
		env := &envs.Items[i]
		model, ok := strings.CutSuffix(id[:dash], "-"+env.Name)
		if !ok || model == "" || in != "" && env.Name != in {
			continue
		}
		t := &target{id: id, environment: *env}
		base := render.BaseName(model)
		key := client.ObjectKey{Namespace: env.Spec.Namespace, Name: fmt.Sprintf("%s-%d", base, number)}
		if err := c.Get(ctx, key, &t.revision); err != nil {
			if apierrors.IsNotFound(err) {
				continue
			}
			return nil, explain(err)
		}
		if t.revision.Spec.DeploymentID != id {
			continue
		}
		if err := c.Get(ctx, client.ObjectKey{Namespace: env.Spec.Namespace, Name: base}, &t.deployment); err != nil {
			return nil, explain(fmt.Errorf("reading the ModelDeployment of %s: %w", id, err))
		}
		found = append(found, t)
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("there is no deployment %q: see `deploy list`", id)
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("%q is a deployment in several environments: use %s/%s or %s/%s", id, found[0].environment.Name, id, found[1].environment.Name, id)
}

// change writes a deployment's spec, unless another user has changed it since it was
// read. Changes of the status by the controller do not count.
func change(ctx context.Context, c client.Client, md *v1alpha1.ModelDeployment) error {
	const tries = 20
	read := md.Generation
	for n := 1; ; n++ {
		wanted := md.DeepCopy()
		err := c.Update(ctx, md)
		if err == nil {
			return nil
		}
		var now v1alpha1.ModelDeployment
		if !apierrors.IsConflict(err) || n == tries || c.Get(ctx, client.ObjectKeyFromObject(md), &now) != nil || now.Generation != read || now.UID != md.UID {
			return explain(fmt.Errorf("writing the ModelDeployment: %w", err))
		}
		wanted.ResourceVersion, wanted.Status = now.ResourceVersion, now.Status
		*md = *wanted
	}
}

var errNoController = errors.New("the controller has not processed it yet: is it running? (`deploy install`, or `pynomaly-runtime controller`)")

// taken waits until the controller has processed a change.
func (a *app) taken(outer context.Context, c client.Client, md *v1alpha1.ModelDeployment) error {
	const patience = 15 * time.Second
	generation := md.Generation
	ctx, cancel := context.WithTimeout(outer, patience)
	defer cancel()
	for {
		if err := c.Get(ctx, client.ObjectKeyFromObject(md), md); err != nil && ctx.Err() == nil {
			return explain(err)
		}
		if md.Status.ObservedGeneration >= generation {
			return nil
		}
		select {
		case <-ctx.Done():
			if outer.Err() != nil {
				return interrupted(md.Name)
			}
			return errNoController
		case <-time.After(100 * time.Millisecond):
		}
	}
}
