package nearest

import "testing"

func TestName(t *testing.T) {
	known := []string{"mean_texture", "worst_area", "f00", "f01", "age"}
	for s, want := range map[string]string{
		"mean_textur": "mean_texture", "Mean_Texture": "mean_texture", "wrost_area": "worst_area",
		"f02": "f00", "agee": "age", "gae": "age", "eag": "", "zzzzzz": "", "": "",
	} {
		if got := Name(s, known); got != want {
			t.Errorf("Name(%q) = %q, want %q", s, got, want)
		}
	}
	if got, want := Hint("zzzzzz", []string{"b", "a"}), "; known are a, b"; got != want {
		t.Errorf("Hint = %q, want %q", got, want)
	}
}
