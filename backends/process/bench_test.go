package process_test

import (
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// BenchmarkScore calls the faulty plugin, which adds a row's two values.
func BenchmarkScore(b *testing.B) {
	a := artifact(b, "", xy)
	backend := testkit.Processes(b, a.Dir, nil)
	s, err := backend.Open(b.Context(), a)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for name, n := range map[string]int{"row": 1, "240 kB": 15000} {
		in, out := rows(s.Info().Features, make([]float64, 2*n)...), make([]float64, n)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := s.Score(b.Context(), in, out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOpen starts and ends the faulty plugin.
func BenchmarkOpen(b *testing.B) {
	a := artifact(b, "", xy)
	backend := testkit.Processes(b, a.Dir, nil)
	for b.Loop() {
		s, err := backend.Open(b.Context(), a)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
