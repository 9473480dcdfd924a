package cli

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/pynomaly/pynomaly-runtime/deployer/hostkeys"
	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

const fieldOwner = client.FieldOwner("pynomaly-runtime")

func (a *app) install() *cobra.Command {
	s := render.System{}
	var pull string
	var printOnly, controller bool
	c := &cobra.Command{
		Use: "install", Short: "Install the resource definitions, the controller, its roles, and the default environments", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s.ImagePullPolicy = corev1.PullPolicy(pull)
			if s.Image == "" {
				s.Image = a.Image
			}
			if err := s.Valid(); err != nil {
				return err
			}
			crds, err := definitions()
			if err != nil {
				return err
			}
			objects := s.Objects()
			if !controller {
				crds, objects = nil, s.Surroundings()
			}
			if printOnly {
				return a.printObjects(crds, objects)
			}
			return a.runInstall(cmd.Context(), s, crds, objects)
		},
	}
	c.Flags().StringVar(&s.Namespace, "namespace", "pynomaly-system", "namespace of the controller")
	c.Flags().StringVar(&s.Image, "image", "", "image of the controller and of the environments' hosts")
	c.Flags().StringVar(&pull, "image-pull-policy", "IfNotPresent", "Always, IfNotPresent or Never")
	c.Flags().StringSliceVar(&s.PullSecrets, "image-pull-secret", nil, "Secrets for the registry of the image of the controller, in its namespace")
	c.Flags().Int32Var(&s.Replicas, "replicas", 2, "number of controllers; one of them is active")
	c.Flags().StringVar(&s.Prometheus, "prometheus-url", "", "where the controller queries requests, errors and latency (default: the hosts themselves)")
	c.Flags().BoolVar(&s.Environments, "environments", true, "create development, staging and production if missing")
	c.Flags().BoolVar(&controller, "controller", true, "also install the resource definitions, the controller, roles and policies; false: Helm does")
	c.Flags().BoolVar(&printOnly, "print", false, "print the manifests and change nothing")
	return c
}

func definitions() ([]*unstructured.Unstructured, error) {
	names, err := fs.Glob(v1alpha1.CRDs, "crds/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("finding the resource definitions: %w", err)
	}
	var out []*unstructured.Unstructured
	for _, name := range names {
		text, err := fs.ReadFile(v1alpha1.CRDs, name)
		if err != nil {
			return nil, fmt.Errorf("reading the resource definitions: %w", err)
		}
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(text, &u.Object); err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		out = append(out, u)
	}
	return out, nil
}

func (a *app) printObjects(crds []*unstructured.Unstructured, objects []client.Object) error {
	var b bytes.Buffer
	for _, u := range crds {
		if err := render.Manifest(&b, u); err != nil {
			return err
		}
	}
	for _, o := range objects {
		if err := render.Manifest(&b, o); err != nil {
			return err
		}
	}
	_, err := a.Out.Write(b.Bytes())
	return err
}

func (a *app) runInstall(ctx context.Context, s render.System, crds []*unstructured.Unstructured, objects []client.Object) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	for _, u := range crds {
		if err := a.put(ctx, c, u); err != nil {
			return err
		}
	}
	if err := established(ctx, c, crds); err != nil {
		return err
	}
	for _, o := range objects {
		if env, ok := o.(*v1alpha1.Environment); ok {
			// Keep what people have changed in an environment.
			if err := c.Get(ctx, client.ObjectKeyFromObject(o), &v1alpha1.Environment{}); err == nil {
				fmt.Fprintf(a.Out, "environment %s: exists already\n", env.Name)
				continue
			}
		}
		if err := a.apply(ctx, c, o); err != nil {
			return err
		}
	}
	return a.surround(ctx, c, s)
}

// surround gives the controller its role in the namespace of every environment, and a
// key for the hosts there. It makes the Secret of keys that hosts mount if there is none.
func (a *app) surround(ctx context.Context, c client.Client, s render.System) error {
	var all v1alpha1.EnvironmentList
	if err := c.List(ctx, &all); err != nil {
		return fmt.Errorf("listing environments: %w", err)
	}
	keys := hostkeys.Controller{Client: c, Namespace: s.Namespace, Now: a.Now}
	for i := range all.Items {
		env := &all.Items[i]
		if err := a.apply(ctx, c, s.Binding(env.Spec.Namespace)); err != nil {
			return err
		}
		changed, err := keys.Ensure(ctx, env.Spec.Namespace, env.AccessOf().KeysSecret)
		if err != nil {
			return fmt.Errorf("making the controller's key for %s: %w", env.Name, err)
		}
		if !changed {
			continue
		}
		// Hosts that run would refuse the controller until the kubelets' next turn.
		if _, err := hostkeys.Nudge(ctx, c, env.Spec.Namespace, a.Now); err != nil {
			fmt.Fprintf(a.Err, "the hosts of %s know the controller's key within two minutes, not at once: %v\n", env.Name, err)
		}
	}
	return nil
}

func (a *app) apply(ctx context.Context, c client.Client, o client.Object) error {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return fmt.Errorf("writing %s: %w", o.GetName(), err)
	}
	u := &unstructured.Unstructured{Object: fields}
	unstructured.RemoveNestedField(u.Object, "status")
	unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	return a.put(ctx, c, u)
}

func (a *app) put(ctx context.Context, c client.Client, u *unstructured.Unstructured) error {
	if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), fieldOwner, client.ForceOwnership); err != nil {
		return fmt.Errorf("applying %s %s: %w", u.GetKind(), u.GetName(), err)
	}
	_, err := fmt.Fprintf(a.Out, "%s %s: applied\n", u.GetKind(), u.GetName())
	return err
}

// established waits until the API server serves the resources.
func established(ctx context.Context, c client.Client, crds []*unstructured.Unstructured) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, u := range crds {
		for {
			var got unstructured.Unstructured
			got.SetGroupVersionKind(apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition"))
			err := c.Get(ctx, client.ObjectKeyFromObject(u), &got)
			if err == nil && isEstablished(&got) {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("the API server does not serve %s after a minute: %w", u.GetName(), ctx.Err())
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	return nil
}

func isEstablished(u *unstructured.Unstructured) bool {
	all, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, c := range all {
		if m, ok := c.(map[string]any); ok && m["type"] == "Established" && m["status"] == "True" {
			return true
		}
	}
	return false
}
