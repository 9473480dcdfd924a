package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8syaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlutil "sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/yaml"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// backedUp are the kinds that a backup holds, in the order in which they come back:
// records need the deployments that own them.
func backedUp() []string {
	return []string{"Environment", "ModelDeployment", "ModelRevision", "ModelApproval"}
}

func (a *app) backup() *cobra.Command {
	c := &cobra.Command{
		Use: "backup", Short: "Print the environments, deployments, records and approvals, to be restored later", Args: cobra.NoArgs,
		Example: "  pynomaly-runtime deploy backup > backup.yaml",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.runBackup(cmd.Context()) },
	}
	return c
}

func (a *app) runBackup(ctx context.Context) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, kind := range backedUp() {
		var list unstructured.UnstructuredList
		list.SetGroupVersionKind(v1alpha1.GroupVersion().WithKind(kind + "List"))
		if err := c.List(ctx, &list); err != nil {
			return explain(fmt.Errorf("listing %ss: %w", kind, err))
		}
		for i := range list.Items {
			u := &list.Items[i]
			kept := map[string]any{
				"apiVersion": u.GetAPIVersion(), "kind": u.GetKind(), "spec": u.Object["spec"],
				"metadata": map[string]any{"name": u.GetName(), "namespace": u.GetNamespace(), "labels": anyOf(u.GetLabels()), "annotations": anyOf(u.GetAnnotations())},
			}
			if s, ok := u.Object["status"]; ok {
				kept["status"] = s
			}
			text, err := yaml.Marshal(kept)
			if err != nil {
				return fmt.Errorf("writing %s %s: %w", kind, u.GetName(), err)
			}
			fmt.Fprintf(&b, "---\n%s", text)
		}
	}
	_, err = a.Out.Write(b.Bytes())
	return err
}

func anyOf(m map[string]string) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

func (a *app) restore() *cobra.Command {
	s := render.System{}
	c := &cobra.Command{
		Use: "restore <file>", Short: "Bring back what `deploy backup` has printed, where it is missing; - reads standard input", Args: cobra.ExactArgs(1),
		Long: "Bring back what `deploy backup` has printed. Run `deploy install` before. What is there already stays as it is.\n" +
			"The controller is stopped meanwhile, and the admission policies of requests, approvals and records do not apply: it takes an administrator.",
		RunE: func(cmd *cobra.Command, args []string) error {
			objects, err := readBackup(args[0])
			if err != nil {
				return err
			}
			return a.runRestore(cmd.Context(), s, objects)
		},
	}
	c.Flags().StringVar(&s.Namespace, "namespace", "pynomaly-system", "namespace of the controller")
	return c
}

// readBackup checks a whole file before any of it is used.
func readBackup(file string) (map[string][]*unstructured.Unstructured, error) {
	in := io.Reader(os.Stdin)
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("reading the backup: %w", err)
		}
		defer f.Close()
		in = f
	}
	return decodeBackup(in, file)
}

func decodeBackup(in io.Reader, file string) (map[string][]*unstructured.Unstructured, error) {
	known := map[string]bool{}
	for _, kind := range backedUp() {
		known[kind] = true
	}
	out := map[string][]*unstructured.Unstructured{}
	d := k8syaml.NewYAMLOrJSONDecoder(in, 4096)
	for n := 1; ; n++ {
		u := &unstructured.Unstructured{}
		err := d.Decode(&u.Object)
		switch {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("%s: document %d: %w", file, n, err)
		case len(u.Object) == 0:
			continue
		case u.GetAPIVersion() != v1alpha1.GroupVersion().String() || !known[u.GetKind()] || u.GetName() == "":
			return nil, fmt.Errorf("%s: document %d is a %q %q of %q: that is not of `deploy backup`", file, n, u.GetKind(), u.GetName(), u.GetAPIVersion())
		}
		out[u.GetKind()] = append(out[u.GetKind()], u)
	}
}

func (a *app) runRestore(ctx context.Context, s render.System, objects map[string][]*unstructured.Unstructured) (err error) {
	c, err := a.connect()
	if err != nil {
		return err
	}
	replicas, err := a.scaleController(ctx, c, s.Namespace, 0)
	if err != nil {
		return err
	}
	// Whatever happens, the controller and the policies come back.
	back := context.WithoutCancel(ctx)
	defer func() {
		_, scaled := a.scaleController(back, c, s.Namespace, replicas)
		err = errors.Join(err, scaled)
	}()
	bindings := s.PolicyBindings()
	for _, b := range bindings {
		if err := c.Delete(ctx, b); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("suspending the policy %s: %w", b.GetName(), err)
		}
	}
	defer func() {
		for _, b := range s.PolicyBindings() {
			if e := c.Create(back, b); e != nil && !apierrors.IsAlreadyExists(e) {
				err = errors.Join(err, fmt.Errorf("putting the policy %s back: `deploy install` does that, too: %w", b.GetName(), e))
			}
		}
	}()
	return a.putBack(ctx, c, objects)
}

// putBack makes what is missing.
func (a *app) putBack(ctx context.Context, c client.WithWatch, objects map[string][]*unstructured.Unstructured) error {
	for _, u := range objects["Environment"] {
		namespace, _, _ := unstructured.NestedString(u.Object, "spec", "namespace")
		n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
		if err := c.Create(ctx, n); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("making namespace %s: %w", namespace, err)
		}
	}
	for _, kind := range backedUp() {
		for _, u := range objects[kind] {
			if kind == "ModelRevision" {
				if err := own(ctx, c, u); err != nil {
					return err
				}
			}
			if err := a.putOne(ctx, c, u); err != nil {
				return err
			}
		}
	}
	return a.tokens(ctx, c)
}

// own makes a record that of the deployment which has its name.
func own(ctx context.Context, c client.Client, u *unstructured.Unstructured) error {
	var md v1alpha1.ModelDeployment
	key := client.ObjectKey{Namespace: u.GetNamespace(), Name: u.GetLabels()[render.LabelDeployment]}
	if err := c.Get(ctx, key, &md); err != nil {
		return fmt.Errorf("reading the ModelDeployment that owns %s: %w", u.GetName(), err)
	}
	return ctrlutil.SetControllerReference(&md, u, c.Scheme())
}

// patience is how long the API server may take to notice that policies are suspended.
const patience = 30 * time.Second

func (a *app) putOne(ctx context.Context, c client.Client, u *unstructured.Unstructured) error {
	what := u.GetKind() + " " + u.GetNamespace() + "/" + u.GetName()
	status, has := u.Object["status"]
	delete(u.Object, "status")
	until := a.Now().Add(patience)
	for {
		err := c.Create(ctx, u)
		if apierrors.IsAlreadyExists(err) {
			fmt.Fprintf(a.Out, "%s: there already\n", what)
			return nil
		}
		if err == nil {
			break
		}
		if !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err) || a.Now().After(until) {
			return fmt.Errorf("restoring %s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("restoring %s: %w", what, ctx.Err())
		case <-time.After(500 * time.Millisecond):
		}
	}
	if has && u.GetKind() != "Environment" {
		u.Object["status"] = status
		if err := c.Status().Update(ctx, u); err != nil && !apierrors.IsNotFound(err) { // approvals have none
			return fmt.Errorf("restoring the status of %s: %w", what, err)
		}
	}
	_, err := fmt.Fprintf(a.Out, "%s: restored\n", what)
	return err
}

// scaleController sets how many controllers there should be, waits until that many are,
// and returns how many there were.
func (a *app) scaleController(ctx context.Context, c client.WithWatch, namespace string, replicas int32) (before int32, err error) {
	key := client.ObjectKey{Namespace: namespace, Name: render.ControllerName}
	var d appsv1.Deployment
	if err := c.Get(ctx, key, &d); err != nil {
		return 0, fmt.Errorf("reading the controller's Deployment: run `deploy install` first: %w", err)
	}
	before = 1
	if d.Spec.Replicas != nil {
		before = *d.Spec.Replicas
	}
	d.Spec.Replicas = &replicas
	if err := c.Update(ctx, &d); err != nil {
		return before, fmt.Errorf("scaling the controller: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		var pods corev1.PodList
		if err := c.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{"app.kubernetes.io/name": render.ControllerName}); err != nil {
			return before, fmt.Errorf("listing the controllers: %w", err)
		}
		if replicas > 0 || len(pods.Items) == 0 {
			return before, nil
		}
		select {
		case <-ctx.Done():
			return before, fmt.Errorf("waiting for the controllers to end: %w", ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}
