package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/api/access/keys"
	"github.com/pynomaly/pynomaly-runtime/api/keycommands"
	"github.com/pynomaly/pynomaly-runtime/deployer/hostkeys"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

func (a *app) key() *cobra.Command {
	return keycommands.In(keycommands.Streams{Out: a.Out, Err: a.Err}, "Make, list, revoke and rotate the API keys of an environment's hosts", func() keycommands.Place { return &secretPlace{app: a} })
}

// secretPlace is a Secret of keys in a cluster.
type secretPlace struct {
	*app
	env, controller string

	namespace, secret string
	client            client.Client
}

// Flags implements keycommands.Place.
func (p *secretPlace) Flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&p.env, "env", "", "environment whose hosts the key is for")
	f.StringVarP(&p.namespace, "namespace", "n", "", "namespace of hosts that belong to no Environment, instead of --env")
	f.StringVar(&p.secret, "secret", "", "Secret of keys (default: the Environment's, or "+v1alpha1.DefaultKeysSecret+")")
	f.StringVar(&p.controller, "controller-namespace", "pynomaly-system", "namespace of the controller")
}

// Store implements keycommands.Place.
func (p *secretPlace) Store(cmd *cobra.Command) (*keys.Store, error) {
	if (p.env == "") == (p.namespace == "") {
		return nil, errors.New("give either --env, or --namespace for hosts that belong to no Environment")
	}
	var err error
	if p.client, err = p.connect(); err != nil {
		return nil, err
	}
	access := (*v1alpha1.Access)(nil).WithDefaults("")
	if p.env != "" {
		var env v1alpha1.Environment
		if err := p.client.Get(cmd.Context(), client.ObjectKey{Name: p.env}, &env); err != nil {
			if apierrors.IsNotFound(err) {
				return nil, fmt.Errorf("there is no environment %q: `deploy environments` lists them", p.env)
			}
			return nil, explain(err)
		}
		p.namespace, access = env.Spec.Namespace, env.AccessOf()
	}
	if p.secret == "" {
		p.secret = access.KeysSecret
	}
	return hostkeys.Store(p.client, p.namespace, p.secret, p.Now)
}

// Changed implements keycommands.Place.
func (p *secretPlace) Changed(cmd *cobra.Command) string {
	n, err := hostkeys.Nudge(cmd.Context(), p.client, p.namespace, p.Now)
	if err != nil {
		fmt.Fprintf(p.Err, "the pods could not be told to read the Secret again, so their kubelets do at their next turn: %v\n", err)
		return "within two minutes"
	}
	if n == 0 {
		return "when they start"
	}
	return fmt.Sprintf("within 10 s (%d pods)", n)
}

// controllersKey is the word for the controller's key in place of an id.
const controllersKey = "controller"

// Replace implements keycommands.Place. The controller gets its new key itself.
func (p *secretPlace) Replace(cmd *cobra.Command, store *keys.Store, id string, overlap time.Duration) (made keys.Entry, ok bool, err error) {
	if id != controllersKey {
		all, err := store.List(cmd.Context())
		if errors.Is(err, fs.ErrNotExist) {
			return made, false, nil // Rotate says it
		}
		if err != nil {
			return made, false, err
		}
		if !slices.ContainsFunc(all, func(e keys.Entry) bool {
			return e.ID == id && e.Role == access.RoleController && e.Name == controllersKey
		}) {
			return made, false, nil
		}
	}
	made, err = hostkeys.Controller{Client: p.client, Namespace: p.controller, Now: p.Now}.Rotate(cmd.Context(), p.namespace, p.secret, overlap)
	return made, true, err
}

// Examples implements keycommands.Place.
func (p *secretPlace) Examples() string {
	return "  pynomaly-runtime deploy key create --env production --role viewer\n" +
		"  pynomaly-runtime deploy key create --env production --role operator --name ci --models 'fraud*,cardio' --expires 90d"
}
