package cli

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// kindNumbers is the kind of the objects that keep the numbers of revisions from being
// used again.
const kindNumbers = "ConfigMap"

// writeNumbers adds to a backup which numbers of revisions were used in the namespaces of
// the environments.
func writeNumbers(ctx context.Context, c client.Client, b *bytes.Buffer) error {
	var envs v1alpha1.EnvironmentList
	if err := c.List(ctx, &envs); err != nil {
		return explain(fmt.Errorf("listing Environments: %w", err))
	}
	var namespaces []string
	for i := range envs.Items {
		namespaces = append(namespaces, envs.Items[i].Spec.Namespace)
	}
	slices.Sort(namespaces)
	for _, namespace := range slices.Compact(namespaces) {
		var kept corev1.ConfigMap
		switch err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: render.NumbersName}, &kept); {
		case apierrors.IsNotFound(err): // nothing was deployed there
			continue
		case apierrors.IsForbidden(err):
			return fmt.Errorf("a backup needs the verb get on ConfigMap %s of each environment's namespace, which says which numbers of deployments were used: %w", render.NumbersName, err)
		case err != nil:
			return explain(fmt.Errorf("reading the numbers of revisions in namespace %s: %w", namespace, err))
		}
		text, err := yaml.Marshal(map[string]any{
			"apiVersion": "v1", "kind": kindNumbers, "data": kept.Data,
			"metadata": map[string]any{"name": kept.Name, "namespace": kept.Namespace, "labels": anyOf(kept.Labels)},
		})
		if err != nil {
			return fmt.Errorf("writing %s %s/%s: %w", kindNumbers, namespace, kept.Name, err)
		}
		fmt.Fprintf(b, "---\n%s", text)
	}
	return nil
}

// isNumbers reports whether an object of a backup is what writeNumbers writes.
func isNumbers(u *unstructured.Unstructured) bool {
	return u.GetAPIVersion() == "v1" && u.GetKind() == kindNumbers && u.GetName() == render.NumbersName && u.GetNamespace() != ""
}

// numbersOf returns what an object says of each name: the largest number, and perhaps
// which revision it is for.
func numbersOf(u *unstructured.Unstructured) (map[string]string, error) {
	data, _, err := unstructured.NestedStringMap(u.Object, "data")
	if err != nil {
		return nil, fmt.Errorf("reading %s of %s: %w", u.GetName(), u.GetNamespace(), err)
	}
	for name, text := range data {
		if _, ok := numberIn(text); !ok {
			return nil, fmt.Errorf("%s of %s says %.100q of %.100q, which does not begin with the number of a deployment", u.GetName(), u.GetNamespace(), text, name)
		}
	}
	return data, nil
}

// numberIn returns the number at the beginning of an entry.
func numberIn(text string) (int32, bool) {
	text, _, _ = strings.Cut(text, " ")
	n, err := strconv.ParseInt(text, 10, 32)
	return int32(n), err == nil && n > 0
}

// putNumbers restores the numbers that were used. The larger one of two stays.
func (a *app) putNumbers(ctx context.Context, c client.Client, u *unstructured.Unstructured) error {
	data, err := numbersOf(u)
	if err != nil {
		return err
	}
	what := kindNumbers + " " + u.GetNamespace() + "/" + u.GetName()
	for {
		kept := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: u.GetNamespace(), Name: u.GetName(), Labels: u.GetLabels()}, Data: data}
		said := "restored"
		if err = c.Create(ctx, kept); apierrors.IsAlreadyExists(err) {
			if err = c.Get(ctx, client.ObjectKeyFromObject(kept), kept); err != nil {
				return fmt.Errorf("reading %s: %w", what, err)
			}
			if said = "exists already"; merge(kept, data) {
				said = "restored"
				err = c.Update(ctx, kept)
			}
		}
		switch {
		case err == nil:
			_, err = fmt.Fprintf(a.Out, "%s: %s\n", what, said)
			return err
		case !apierrors.IsConflict(err):
			return fmt.Errorf("restoring %s: %w", what, err)
		}
	}
}

// merge takes over the numbers that are larger than those that are kept. It reports
// whether there are any.
func merge(kept *corev1.ConfigMap, data map[string]string) bool {
	changed := false
	for name, text := range data {
		now, _ := numberIn(kept.Data[name])
		if n, _ := numberIn(text); n > now {
			if kept.Data == nil {
				kept.Data = map[string]string{}
			}
			kept.Data[name], changed = text, true
		}
	}
	return changed
}
