package cli

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// TestKeyPlace checks that the commands of keys ask for one place. ../../e2e uses them on
// a cluster.
func TestKeyPlace(t *testing.T) {
	for _, args := range []string{"create --role viewer", "list", "revoke abcdefgh", "rotate controller", "list --env production --namespace shop"} {
		var out bytes.Buffer
		for _, c := range Commands(Options{Out: &out, Err: io.Discard}) {
			if c.Name() != "key" {
				continue
			}
			c.SetArgs(strings.Fields(args))
			c.SetOut(io.Discard)
			c.SetErr(io.Discard)
			if err := c.Execute(); err == nil || !strings.Contains(err.Error(), "give either --env, or --namespace") {
				t.Errorf("%s: %v", args, err)
			}
		}
		if out.Len() > 0 {
			t.Errorf("%s: %s", args, out.String())
		}
	}
}
