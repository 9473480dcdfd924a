package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
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

// backedUp returns the deployer's kinds in a backup, in the order of restoring them:
// records need the deployments that own them.
func backedUp() []string {
	return []string{"Environment", "ModelDeployment", "ModelRevision", "ModelApproval"}
}

func (a *app) backup() *cobra.Command {
	c := &cobra.Command{
		Use: "backup", Short: "Print the environments, deployments, records, approvals and used numbers, for `deploy restore`", Args: cobra.NoArgs,
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
	return a.writeBackup(ctx, c)
}

func (a *app) writeBackup(ctx context.Context, c client.Client) error {
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
	if err := writeNumbers(ctx, c, &b); err != nil {
		return err
	}
	_, err := a.Out.Write(b.Bytes())
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
		Use: "restore <file>", Short: "Restore the missing objects of a backup; - reads standard input", Args: cobra.ExactArgs(1),
		Long: "Restore the objects that `deploy backup` has printed. Run `deploy install` first. Existing objects stay unchanged.\n" +
			"The command stops the controller while it works. The admission policies stay in force: restored objects have an annotation with the user, who needs the verb restore on environments.",
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

// readBackup reads and checks a whole file.
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
	group := v1alpha1.GroupVersion().String()
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
		case isNumbers(u):
			if _, err := numbersOf(u); err != nil {
				return nil, fmt.Errorf("%s: document %d: %w", file, n, err)
			}
		case u.GetAPIVersion() != group || !known[u.GetKind()] || u.GetName() == "":
			return nil, fmt.Errorf("%s: document %d is a %q %q of %q, which `deploy backup` does not print", file, n, u.GetKind(), u.GetName(), u.GetAPIVersion())
		}
		out[u.GetKind()] = append(out[u.GetKind()], u)
	}
}

func (a *app) runRestore(ctx context.Context, s render.System, objects map[string][]*unstructured.Unstructured) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	if err := a.stopController(ctx, c, s.Namespace); err != nil {
		return err
	}
	by, err := user(ctx, c)
	if err != nil {
		return stopped(explain(err))
	}
	sign(objects, by)
	// A controller that found only some of the objects would roll them out as if
	// they were new.
	if err := a.putBack(ctx, c, s, objects); err != nil {
		return stopped(err)
	}
	return a.startController(ctx, c, s.Namespace)
}

// sign annotates all objects that policies restrict with the user who restores them.
func sign(objects map[string][]*unstructured.Unstructured, by string) {
	for kind, all := range objects {
		if kind == "Environment" || kind == kindNumbers {
			continue
		}
		for _, u := range all {
			a := u.GetAnnotations()
			if a == nil {
				a = map[string]string{}
			}
			a[render.AnnotationRestored] = by
			u.SetAnnotations(a)
		}
	}
}

func stopped(err error) error {
	return fmt.Errorf("%w: the controller stays stopped until everything is restored: repeat the command to continue; `deploy install` starts the controller anyway", err)
}

// putBack creates the missing objects.
func (a *app) putBack(ctx context.Context, c client.WithWatch, s render.System, objects map[string][]*unstructured.Unstructured) error {
	for _, u := range objects["Environment"] {
		namespace, _, _ := unstructured.NestedString(u.Object, "spec", "namespace")
		n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
		if err := c.Create(ctx, n); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("making namespace %s: %w", namespace, err)
		}
	}
	for _, u := range objects[kindNumbers] {
		if err := a.putNumbers(ctx, c, u); err != nil {
			return err
		}
	}
	for _, kind := range backedUp() {
		for _, u := range objects[kind] {
			if kind == "ModelRevision" {
				owned, err := own(ctx, c, u)
				if err != nil {
					return err
				}
				if !owned { // it was created while the backup was made
					fmt.Fprintf(a.Out, "ModelRevision %s/%s: skipped, because its ModelDeployment is not in the backup\n", u.GetNamespace(), u.GetName())
					continue
				}
			}
			if err := a.putOne(ctx, c, u); err != nil {
				return err
			}
		}
	}
	return a.surround(ctx, c, s)
}

// own makes the deployment of that name the owner of a record. It returns false if
// there is none.
func own(ctx context.Context, c client.Client, u *unstructured.Unstructured) (bool, error) {
	var md v1alpha1.ModelDeployment
	key := client.ObjectKey{Namespace: u.GetNamespace(), Name: u.GetLabels()[render.LabelDeployment]}
	if err := c.Get(ctx, key, &md); err != nil {
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return false, fmt.Errorf("reading the ModelDeployment that owns %s: %w", u.GetName(), err)
	}
	if err := ctrlutil.SetControllerReference(&md, u, c.Scheme()); err != nil {
		return false, fmt.Errorf("owning %s: %w", u.GetName(), err)
	}
	return true, nil
}

// patience is how long the API server may take to notice the policies of `deploy
// install`.
const patience = 30 * time.Second

func (a *app) putOne(ctx context.Context, c client.Client, u *unstructured.Unstructured) error {
	what := u.GetKind() + " " + u.GetNamespace() + "/" + u.GetName()
	status, has := u.Object["status"].(map[string]any)
	delete(u.Object, "status")
	said := "restored"
	until := a.Now().Add(patience)
	for {
		err := c.Create(ctx, u)
		if apierrors.IsAlreadyExists(err) {
			there := u.DeepCopy()
			if err := c.Get(ctx, client.ObjectKeyFromObject(u), there); err != nil {
				return fmt.Errorf("reading %s: %w", what, err)
			}
			u, said = there, "exists already"
			if s, ok := u.Object["status"].(map[string]any); ok && len(s) > 0 {
				has = false // it has its own
			}
			break
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
	if has && (u.GetKind() == "ModelDeployment" || u.GetKind() == "ModelRevision") {
		if rollout, ok := status["rollout"].(map[string]any); ok {
			// A rollout in progress starts its present state again: the time since
			// the backup does not count.
			for _, since := range []string{"since", "heldSince", "pausedSince", "pausedFor"} {
				delete(rollout, since)
			}
		}
		u.Object["status"] = status
		if err := c.Status().Update(ctx, u); err != nil {
			return fmt.Errorf("restoring the status of %s: %w", what, err)
		}
	}
	_, err := fmt.Fprintf(a.Out, "%s: %s\n", what, said)
	return err
}

// annotationReplicas stores the number of controllers before a restore.
const annotationReplicas = v1alpha1.Group + "/replicas"

// stopController stops all controllers and waits until they have ended.
func (a *app) stopController(ctx context.Context, c client.WithWatch, namespace string) error {
	key := client.ObjectKey{Namespace: namespace, Name: render.ControllerName}
	for {
		var d appsv1.Deployment
		if err := c.Get(ctx, key, &d); err != nil {
			return fmt.Errorf("reading the controller's Deployment: run `deploy install` first: %w", err)
		}
		n := d.Spec.Replicas
		if n == nil || *n == 0 {
			break
		}
		if d.Annotations == nil {
			d.Annotations = map[string]string{}
		}
		d.Annotations[annotationReplicas] = strconv.Itoa(int(*n))
		*n = 0
		if err := c.Update(ctx, &d); err == nil {
			break
		} else if !apierrors.IsConflict(err) {
			return fmt.Errorf("stopping the controller: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		var pods corev1.PodList
		if err := c.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{"app.kubernetes.io/name": render.ControllerName}); err != nil {
			return fmt.Errorf("listing the controllers: %w", err)
		}
		if !slices.ContainsFunc(pods.Items, func(p corev1.Pod) bool {
			return p.Status.Phase != corev1.PodFailed && p.Status.Phase != corev1.PodSucceeded
		}) {
			return nil
		}
		select {
		case <-ctx.Done():
			return stopped(fmt.Errorf("waiting for the controllers to end: %w", ctx.Err()))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// startController starts as many controllers as before.
func (a *app) startController(ctx context.Context, c client.WithWatch, namespace string) error {
	key := client.ObjectKey{Namespace: namespace, Name: render.ControllerName}
	for {
		var d appsv1.Deployment
		if err := c.Get(ctx, key, &d); err != nil {
			return fmt.Errorf("reading the controller's Deployment: %w", err)
		}
		n, err := strconv.ParseInt(d.Annotations[annotationReplicas], 10, 32)
		if err != nil || n < 1 {
			n = 1
		}
		replicas := int32(n)
		d.Spec.Replicas = &replicas
		delete(d.Annotations, annotationReplicas)
		if err := c.Update(ctx, &d); err == nil {
			return nil
		} else if !apierrors.IsConflict(err) {
			return fmt.Errorf("starting the controller: `deploy install` does that, too: %w", err)
		}
	}
}
