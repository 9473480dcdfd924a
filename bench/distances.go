package main

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// drawn returns n rows of normal numbers, moved.
func drawn(seed uint64, n int, moved float64) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]float32, n*lofFeatures)
	for i := range out {
		out[i] = float32(r.NormFloat64() + moved)
	}
	return out
}

// near is a training row and its distance.
type near struct {
	row  int
	dist float64
}

const lofNeighbours = 20

// nearest returns the nearest training rows, but for one, by direct distances in float64.
func nearest(train, row []float32, except int) []near {
	all := make([]near, 0, len(train)/lofFeatures)
	for i := range len(train) / lofFeatures {
		var sum float64
		for j, v := range train[i*lofFeatures : (i+1)*lofFeatures] {
			d := float64(v) - float64(row[j])
			sum += d * d
		}
		if i != except {
			all = append(all, near{i, math.Sqrt(sum)})
		}
	}
	slices.SortFunc(all, func(a, b near) int {
		if a.dist < b.dist {
			return -1
		}
		return 1
	})
	return all[:lofNeighbours]
}

// exactFactors returns the local outlier factors of rows (Breunig et al. 2000), as
// scikit-learn defines them.
func exactFactors(train, rows []float32) []float64 {
	n := len(train) / lofFeatures
	around, density := make([][]near, n), make([]float64, n)
	for i := range n {
		around[i] = nearest(train, train[i*lofFeatures:(i+1)*lofFeatures], i)
	}
	dense := func(of []near) float64 {
		var sum float64
		for _, o := range of {
			sum += max(o.dist, around[o.row][lofNeighbours-1].dist)
		}
		return 1 / (sum/lofNeighbours + 1e-10)
	}
	for i := range n {
		density[i] = dense(around[i])
	}
	out := make([]float64, len(rows)/lofFeatures)
	for i := range out {
		of := nearest(train, rows[i*lofFeatures:(i+1)*lofFeatures], -1)
		own := dense(of)
		for _, o := range of {
			out[i] += density[o.row] / own / lofNeighbours
		}
	}
	return out
}

// cpuTime returns the processor time of this process.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// forgetPeak lets peak begin anew.
func (p *process) forgetPeak() error {
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0); err != nil {
		return fmt.Errorf("forgetting the most memory used: %w", err)
	}
	return nil
}

// peak returns the most resident memory in bytes.
func (p *process) peak() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("reading the memory use: %w", err)
	}
	var kib int64
	_, rest, _ := bytes.Cut(status, []byte("VmHWM:"))
	if _, err := fmt.Sscan(string(rest), &kib); err != nil {
		return 0, fmt.Errorf("reading the memory use: %w", err)
	}
	return kib << 10, nil
}
