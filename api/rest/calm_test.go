package rest

import (
	"slices"
	"testing"
)

func TestCalmer(t *testing.T) {
	type moment struct {
		peak, bytes int64
		connections int
	}
	quiet := moment{1 << 10, 0, 20}
	then := func(first []moment, n int) []moment { return append(first, slices.Repeat([]moment{quiet}, n)...) }
	for name, c := range map[string]struct {
		moments []moment
		want    []int // the ticks at which memory is returned
	}{
		"nothing happens":           {then(nil, 20), nil},
		"bytes":                     {then([]moment{quiet, {calmBytes, calmBytes, 20}}, 20), []int{2, 5, 10}},
		"bytes between two looks":   {then([]moment{{calmBytes, 0, 20}}, 20), []int{0, 3, 8}},
		"a storm of two ticks":      {then([]moment{{calmBytes, calmBytes, 20}, {calmBytes / 2, calmBytes / 2, 20}}, 20), []int{2, 5, 10}},
		"connections":               {then([]moment{{0, 0, 1000}, {0, 0, 600}}, 20), []int{2, 5, 10}},
		"many connections, at work": {slices.Repeat([]moment{{1 << 20, 1 << 20, 300}}, 20), nil},
		"the next storm":            {then([]moment{{calmBytes, 0, 20}, quiet, {calmBytes, 0, 20}}, 20), []int{0, 2, 5, 10}},
	} {
		k := calmer{since: -1}
		var got []int
		for i, m := range c.moments {
			if k.tick(m.peak, m.bytes, m.connections) {
				got = append(got, i)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: memory is returned at %v; want %v", name, got, c.want)
		}
	}
}
