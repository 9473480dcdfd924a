package neighbours

import "math"

// compare writes what root takes of a row's distances to the training rows of count
// blocks, and for each block a bit per training row that is below limit.
func (x *Index) compare(s *Scratch, row []float32, from, count int, limit float32) {
	train := x.train[from*lanes*x.d : (from+count)*lanes*x.d]
	switch {
	case x.metric == Euclidean && x.fast():
		euclideanBlocks(&s.squares[0], &s.near[0], &row[0], &train[0], x.d, count, limit)
	case x.metric == Manhattan && x.fast():
		manhattanBlocks(&s.squares[0], &s.near[0], &row[0], &train[0], x.d, count, limit)
	default:
		for b := range count {
			s.near[b] = 0
			for i := range lanes {
				v := x.plainSquare(row, train[b*lanes*x.d+i:], (from+b)*lanes+i)
				s.squares[b*lanes+i] = v
				if v < limit {
					s.near[b] |= 1 << i
				}
			}
		}
	}
}

// plainSquare is compare for one training row without assembly. train begins at the
// row's first feature; the others follow at distances of lanes.
//
// Sums are added in the order of ONNX Runtime on processors with vectors of four
// float32 (Eigen's redux): eight sums, joined to four, folded to one, and then the
// features that are left. Products are rounded on their own. So a distance has the
// same bits everywhere, and equal distances of a graph are equal here.
func (x *Index) plainSquare(row, train []float32, at int) float32 {
	switch x.metric {
	case Euclidean:
		return euclidean(row, train)
	case Cosine:
		return 1 - dot(row, train)/float32(norm(row)*x.norms[at])
	}
	var sum [8]float32
	j := 0
	for ; j+8 <= len(row); j += 8 {
		for k := range 8 {
			sum[k] += x.part(row[j+k] - train[(j+k)*lanes])
		}
	}
	a, b, c, d := sum[0]+sum[4], sum[1]+sum[5], sum[2]+sum[6], sum[3]+sum[7]
	if j+4 <= len(row) {
		a += x.part(row[j] - train[j*lanes])
		b += x.part(row[j+1] - train[(j+1)*lanes])
		c += x.part(row[j+2] - train[(j+2)*lanes])
		d += x.part(row[j+3] - train[(j+3)*lanes])
		j += 4
	}
	total := (a + c) + (b + d)
	for ; j < len(row); j++ {
		total += x.part(row[j] - train[j*lanes])
	}
	return total
}

// part returns what a difference adds to Manhattan and Minkowski distances.
func (x *Index) part(difference float32) float32 {
	v := math.Abs(float64(difference))
	if x.metric == Minkowski {
		v = math.Pow(v, x.p)
	}
	return float32(v)
}

func euclidean(row, train []float32) float32 {
	var a, b, c, d, e, f, g, h float32
	for ; len(row) >= 8; row, train = row[8:], train[min(8*lanes, len(train)):] {
		q, t := (*[8]float32)(row), (*[7*lanes + 1]float32)(train)
		a += square(q[0] - t[0])
		b += square(q[1] - t[lanes])
		c += square(q[2] - t[2*lanes])
		d += square(q[3] - t[3*lanes])
		e += square(q[4] - t[4*lanes])
		f += square(q[5] - t[5*lanes])
		g += square(q[6] - t[6*lanes])
		h += square(q[7] - t[7*lanes])
	}
	a, b, c, d = a+e, b+f, c+g, d+h
	if len(row) >= 4 {
		q, t := (*[4]float32)(row), (*[3*lanes + 1]float32)(train)
		a += square(q[0] - t[0])
		b += square(q[1] - t[lanes])
		c += square(q[2] - t[2*lanes])
		d += square(q[3] - t[3*lanes])
		row, train = row[4:], train[min(4*lanes, len(train)):]
	}
	total := (a + c) + (b + d)
	for j, v := range row {
		total += square(v - train[j*lanes])
	}
	return total
}

func square(v float32) float32 { return float32(v * v) }

func dot(row, train []float32) float32 {
	var sum float32
	for j, v := range row {
		sum += float32(v * train[j*lanes])
	}
	return sum
}
