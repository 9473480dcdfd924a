package manifest_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// TestParsePinned checks texts that name one version of one model.
func TestParsePinned(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	for text, want := range map[string][3]string{
		"cardio@1.0.0":                {"cardio", "1.0.0", ""},
		"cardio@1.0.0-rc.1=" + digest: {"cardio", "1.0.0-rc.1", digest},
	} {
		if id, version, pinned, err := manifest.ParsePinned(text); err != nil || id != want[0] || version != want[1] || pinned != want[2] {
			t.Errorf("%s: %s %s %s %v", text, id, version, pinned, err)
		}
	}
	for text, want := range map[string]error{
		"": manifest.ErrName, "cardio": manifest.ErrName, "@1.0.0": manifest.ErrName, "cardio@": manifest.ErrName, "cardio@1.0.0-a,evil@6.6.6": manifest.ErrName,
		"cardio@1.0.0=": manifest.ErrDigest, "cardio@1.0.0=" + digest + "=": manifest.ErrDigest, "cardio@1.0.0=" + digest + ",x@1.0.0": manifest.ErrDigest,
	} {
		if _, _, _, err := manifest.ParsePinned(text); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
}
