package controller_test

import (
	"context"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestEndsAreRecorded checks that the record of a revision says how it ended, also if it
// could not be written at that moment.
func TestEndsAreRecorded(t *testing.T) {
	for end, back := range map[string]bool{v1alpha1.Superseded: false, v1alpha1.RolledBack: true} {
		t.Run(end, func(t *testing.T) {
			b := newBench(t, deployment(nil))
			md := b.settle()
			first := md.Status.Stable
			refused := 0
			b.Client = interceptor.NewClient(b.Client.(client.WithWatch), interceptor.Funcs{
				SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
					if rev, ok := o.(*v1alpha1.ModelRevision); ok && rev.Spec.Hash == first && rev.Status.Phase == end {
						if refused++; refused == 1 {
							return errSilent
						}
					}
					return c.SubResource(sub).Update(ctx, o, opts...)
				},
			})
			md.Spec.Template.Model.Version, md.Generation = "1.1.0", 2
			if back {
				md.Spec.RollbackOf = first
			}
			if err := b.Update(t.Context(), md); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				if err := b.reconcile(); err != nil && refused != 1 {
					t.Fatal(err)
				}
				b.cluster()
				b.now = b.now.Add(5 * time.Second)
			}
			rev, err := b.record(first)
			if err != nil || refused == 0 || rev.Status.Phase != end || rev.Status.FinishedAt == nil {
				t.Errorf("%d refused; %+v, %v", refused, rev.Status, err)
			}
		})
	}
}
