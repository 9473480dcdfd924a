package render_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
)

// TestRequestsCover checks that whoever changes what an approval covers has to be the
// requester: otherwise somebody could change a request of another user, and approve it.
func TestRequestsCover(t *testing.T) {
	var out bytes.Buffer
	for _, o := range (render.System{Namespace: "pynomaly-system", Image: "x:1", Replicas: 1}).Objects() {
		if o.GetName() != "pynomaly-requests" {
			continue
		}
		if err := render.Manifest(&out, o); err != nil {
			t.Fatal(err)
		}
	}
	text := strings.Join(strings.Fields(out.String()), " ")
	for _, field := range []string{"template", "strategy.type", "strategy.?steps", "strategy.?gates", "?promote", "?rollbackOf", "?replaceBroken", "?attempt"} {
		if same := "object.spec." + field + " == oldObject.spec." + field; !strings.Contains(text, same) {
			t.Errorf("the policy lacks %q", same)
		}
	}
}
