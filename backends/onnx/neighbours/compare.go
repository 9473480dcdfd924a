package neighbours

import "math"

// compare writes what root takes of a row's distances to the training rows of count
// blocks, and for each block a bit per training row that is not above limit.
//
// Numbers are added in the order of ONNX Runtime, and products are rounded on their own.
// So distances have the same bits on every processor, and where a graph finds two
// training rows equally near, so does the index.
func (x *Index[T]) compare(s *Scratch[T], row []T, from, count int, limit T) {
	train := x.train[from*lanes*x.d : (from+count)*lanes*x.d]
	if x.vectors != nil {
		x.vectors(&s.squares[0], &s.near[0], &row[0], &train[0], x.d, count, limit)
		return
	}
	for b := range count {
		to := (*[lanes]T)(s.squares[b*lanes:])
		x.plainBlock(to, row, train[b*lanes*x.d:(b+1)*lanes*x.d])
		s.near[b] = 0
		for i, v := range to {
			if v <= limit {
				s.near[b] |= 1 << i
			}
		}
	}
}

// plainBlock is compare for one block without assembly.
func (x *Index[T]) plainBlock(to *[lanes]T, row, train []T) {
	if x.metric == Euclidean {
		for i := 0; i < lanes; i += 4 {
			euclidean4((*[4]T)(to[i:]), row, train[i:])
		}
		return
	}
	for i := range to {
		to[i] = x.sum(row, train[i:])
	}
}

// euclidean4 adds the squares of four training rows, feature after feature. The
// conversions round the products, which arm64 would fuse with the sums.
//
//nolint:unconvert // a conversion to a type parameter is one
func euclidean4[T Number](to *[4]T, row, train []T) {
	var a, b, c, d T
	for _, v := range row {
		t := (*[4]T)(train)
		e, f, g, h := v-t[0], v-t[1], v-t[2], v-t[3]
		a += T(e * e)
		b += T(f * f)
		c += T(g * g)
		d += T(h * h)
		train = train[min(lanes, len(train)):]
	}
	to[0], to[1], to[2], to[3] = a, b, c, d
}

// sum adds what the differences to a training row give, as Eigen's redux does with
// vectors of 16 bytes: two vectors of sums, joined to one, folded, and then the features
// that are left. train begins at the row's first feature; the others follow at distances
// of lanes.
func (x *Index[T]) sum(row, train []T) T {
	wide := 16 / x.size()
	var sum [8]T
	j := 0
	for ; j+2*wide <= len(row); j += 2 * wide {
		for k := range 2 * wide {
			sum[k] += x.part(row[j+k] - train[(j+k)*lanes])
		}
	}
	for k := range wide {
		sum[k] += sum[wide+k]
	}
	if j+wide <= len(row) {
		for k := range wide {
			sum[k] += x.part(row[j+k] - train[(j+k)*lanes])
		}
		j += wide
	}
	total := sum[0] + sum[1]
	if wide == 4 {
		total = (sum[0] + sum[2]) + (sum[1] + sum[3])
	}
	for ; j < len(row); j++ {
		total += x.part(row[j] - train[j*lanes])
	}
	return total
}

// part returns what a difference adds to Manhattan and Minkowski distances.
func (x *Index[T]) part(difference T) T {
	v := math.Abs(float64(difference))
	if x.metric == Minkowski {
		v = math.Pow(v, x.p)
	}
	return T(v)
}
