package strategy_test

import (
	"testing"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestAdmitted checks that a rollout's admission is recorded when it begins, and is
// not used for another rollout.
func TestAdmitted(t *testing.T) {
	c := cluster(t, v1alpha1.Canary, 4)
	digest := func() string {
		if a := c.Status.Rollout.Admitted; a != nil {
			return a.Digest
		}
		return ""
	}
	in := func(d string) *v1alpha1.Admission { return &v1alpha1.Admission{Digest: d} }
	for _, s := range []struct {
		what, update, blocked, admission, want string
	}{
		{"another revision waits", "b", "waits for an approval", "", ""},
		{"it is let in", "b", "", "one", "one"},
		{"its way in is changed, and that is approved", "b", "", "two", "two"},
		{"a third one waits", "c", "waits for an approval", "", ""},
		{"it is let in, too", "c", "", "three", "three"},
		{"back to what serves", "a", "", "", ""},
	} {
		c.Update, c.Blocked, c.Admission = s.update, s.blocked, nil
		if s.admission != "" {
			c.Admission = in(s.admission)
		}
		c.Step()
		if got := digest(); got != s.want {
			t.Errorf("%s: admitted as %q, want %q", s.what, got, s.want)
		}
	}
	c.Update, c.Blocked, c.Admission = "d", "", in("four")
	until(t, c, "d is deployed", func() bool { return c.Status.Stable == "d" })
	if digest() != "four" {
		t.Errorf("the stable revision was admitted as %q", digest())
	}
}
