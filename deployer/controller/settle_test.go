package controller

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pynomaly/pynomaly-runtime/deployer/gate"
)

// TestSettle checks that requests which come while the new revision has no weight do not
// count as split, and that figures are kept until the rollout has ended.
func TestSettle(t *testing.T) {
	const uid = types.UID("a")
	c := NewComparisons()
	c.all[uid] = &comparison{split: map[string]*gate.Tracker{"b": gate.NewTracker(time.Unix(0, 0))}}
	c.settle(uid, false, 50)
	if c.all[uid] == nil || c.all[uid].split == nil {
		t.Fatal("the split is forgotten while there is traffic")
	}
	c.settle(uid, false, 0)
	if c.all[uid] == nil || c.all[uid].split != nil {
		t.Error("the split counts on without traffic")
	}
	c.settle(uid, true, 100)
	if c.all[uid] != nil {
		t.Error("the comparison of a rollout that has ended is kept")
	}
	c.settle("another", false, 0)
}
