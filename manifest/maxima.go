package manifest

import (
	"fmt"
	"time"

	y "github.com/pynomaly/pynomaly-runtime/internal/strictyaml"
)

// Maxima bound what manifests may set. The host's operator sets them, so that
// writing a model does not raise them.
type Maxima struct {
	Timeout      time.Duration
	LoadTimeout  time.Duration
	MaxBatchRows int
	Memory       int64
	Processes    int
	Bytes        int64 // of all files of a model together
}

// DefaultMaxima returns the maxima of a host without configuration.
func DefaultMaxima() Maxima {
	return Maxima{
		Timeout: 5 * time.Minute, LoadTimeout: 10 * time.Minute, MaxBatchRows: MaxRowsPerCall, Memory: 4 << 30,
		Processes: MaxProcesses, Bytes: 1 << 30,
	}
}

// Lowered returns a copy of the manifest with values lowered to the maxima, and a
// warning for each lowered value.
func (m *Manifest) Lowered(most Maxima) *Manifest {
	m = m.Clone()
	lower(m, "limits.timeout", &m.Limits.Timeout, most.Timeout, time.Duration.String)
	lower(m, "limits.load_timeout", &m.Limits.LoadTimeout, most.LoadTimeout, time.Duration.String)
	lower(m, "limits.max_batch_rows", &m.Limits.MaxBatchRows, most.MaxBatchRows, decimal)
	lower(m, "limits.memory", &m.Limits.Memory, most.Memory, y.FormatBytes)
	lower(m, "processes", &m.Processes, most.Processes, decimal)
	return m
}

func decimal(n int) string { return fmt.Sprint(n) }

func lower[T int | int64 | time.Duration](m *Manifest, key string, asked *T, most T, show func(T) string) {
	if *asked > most {
		m.Warnings = append(m.Warnings, fmt.Sprintf("%s asks for %s; this host allows %s", key, show(*asked), show(most)))
		*asked = most
	}
}
