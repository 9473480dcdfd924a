package digest_test

import (
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/digest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// TestOf compares with the test vectors of FIPS 180-2.
func TestOf(t *testing.T) {
	for text, want := range map[string]string{
		"":    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"abc": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	} {
		if got := digest.Hex([]byte(text)); got != want {
			t.Errorf("Hex(%q) is %s, want %s", text, got, want)
		}
		got := digest.Of([]byte(text))
		if got != "sha256:"+want || !manifest.ValidDigest(got) {
			t.Errorf("Of(%q) is %s, want sha256:%s", text, got, want)
		}
	}
}
