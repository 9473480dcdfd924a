package hostkeys

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
)

// again is when pods are nudged a second time: a kubelet may hear of the pod before it
// hears of the Secret.
const again = time.Second

// Nudge makes the kubelets of all pods of hosts in a namespace read the pods' Secrets now,
// instead of at their next turn, which may be more than a minute later: a kubelet does
// so when an annotation of a pod changes. Nudge returns the number of pods.
func Nudge(ctx context.Context, c client.Client, namespace string, now func() time.Time) (int, error) {
	n, err := nudge(ctx, c, namespace, now())
	if err != nil || n == 0 {
		return n, err
	}
	select {
	case <-ctx.Done():
		return n, fmt.Errorf("nudging pods: %w", context.Cause(ctx))
	case <-time.After(again):
	}
	return nudge(ctx, c, namespace, now())
}

func nudge(ctx context.Context, c client.Client, namespace string, now time.Time) (int, error) {
	var pods corev1.PodList
	if err := c.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{render.LabelHost: render.HostName}); err != nil {
		return 0, fmt.Errorf("listing the pods of namespace %s: %w", namespace, err)
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{render.AnnotationKeysChanged: now.UTC().Format(time.RFC3339Nano)}}})
	if err != nil {
		return 0, fmt.Errorf("nudging pods: %w", err)
	}
	var errs error
	for i := range pods.Items {
		if err := c.Patch(ctx, &pods.Items[i], client.RawPatch(types.MergePatchType, patch)); client.IgnoreNotFound(err) != nil {
			errs = errors.Join(errs, fmt.Errorf("annotating pod %s: %w", pods.Items[i].Name, err))
		}
	}
	return len(pods.Items), errs
}
