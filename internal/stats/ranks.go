package stats

import "math"

// Ranks counts values of an ascending slice, as CountAtMost and CountBelow do, in a time
// that hardly grows with the slice.
type Ranks struct {
	sorted     []float64
	low, scale float64
	from       []int32 // the values of bucket b are sorted[from[b]:from[b+1]]
}

// NewRanks returns the Ranks of an ascending slice of finite values, which it keeps.
func NewRanks(sorted []float64) *Ranks {
	if len(sorted) == 0 || len(sorted) > math.MaxInt32 {
		return &Ranks{sorted: sorted}
	}
	const most = 1 << 16
	buckets := min(len(sorted)/4+1, most)
	low := sorted[0]
	r := &Ranks{sorted: sorted, low: low, scale: float64(buckets) / (sorted[len(sorted)-1] - low), from: make([]int32, buckets+1)}
	for _, v := range sorted {
		r.from[r.bucket(v)+1]++
	}
	for b := range buckets {
		r.from[b+1] += r.from[b]
	}
	return r
}

// bucket returns the bucket of x, which is never below that of a smaller number.
func (r *Ranks) bucket(x float64) int {
	switch at := (x - r.low) * r.scale; {
	case at >= float64(len(r.from)-1):
		return len(r.from) - 2
	case at > 0:
		return int(at)
	}
	return 0 // or the values are so near, or so far, that there is one bucket
}

// Bytes returns the memory that the Ranks take besides the slice.
func (r *Ranks) Bytes() int64 { return 4 * int64(len(r.from)) }

// AtMost returns how many values are <= x.
func (r *Ranks) AtMost(x float64) int {
	if r.from == nil || math.IsNaN(x) {
		return CountAtMost(r.sorted, x)
	}
	b := r.bucket(x)
	from, to := int(r.from[b]), int(r.from[b+1])
	for from < to {
		if mid := int(uint(from+to) >> 1); r.sorted[mid] <= x {
			from = mid + 1
		} else {
			to = mid
		}
	}
	return from
}

// Below returns how many values are < x.
func (r *Ranks) Below(x float64) int {
	if r.from == nil || math.IsNaN(x) {
		return CountBelow(r.sorted, x)
	}
	b := r.bucket(x)
	from, to := int(r.from[b]), int(r.from[b+1])
	for from < to {
		if mid := int(uint(from+to) >> 1); r.sorted[mid] < x {
			from = mid + 1
		} else {
			to = mid
		}
	}
	return from
}
