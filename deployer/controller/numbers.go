package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// number returns the number of md's next revision. It is larger than newest, the largest
// one of the records, and than any number that an earlier ModelDeployment of this name had:
// a ConfigMap of the namespace keeps the largest one of each name, because approvals and
// audits name revisions by their numbers. It also keeps for which revision the number is, so
// that another attempt to make its record gets the same one.
func (r *Reconciler) number(ctx context.Context, md *v1alpha1.ModelDeployment, hash string, newest int32) (int32, error) {
	var kept corev1.ConfigMap
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: md.Namespace, Name: render.NumbersName}, &kept)
	missing := apierrors.IsNotFound(err)
	if err != nil && !missing {
		return 0, fmt.Errorf("reading the numbers of revisions: %w", err)
	}
	whose := fmt.Sprintf("%s/%s", md.UID, hash)
	text, of, _ := strings.Cut(kept.Data[md.Name], " ")
	if n, err := strconv.ParseInt(text, 10, 32); err == nil && int32(n) > newest {
		if newest = int32(n); of == whose {
			return newest, nil
		}
	}
	number := newest + 1
	data := map[string]string{md.Name: fmt.Sprintf("%d %s", number, whose)}
	if missing {
		err = r.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: md.Namespace, Name: render.NumbersName, Labels: map[string]string{render.ManagedBy: render.Manager}},
			Data:       data,
		}, owner)
	} else {
		var text []byte
		if text, err = json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": kept.ResourceVersion}, "data": data}); err == nil {
			err = r.Patch(ctx, &kept, client.RawPatch(types.MergePatchType, text), owner)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("keeping the number of revision %s-%d: %w", md.Name, number, err)
	}
	return number, nil
}
