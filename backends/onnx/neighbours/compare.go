package neighbours

import "math"

// compare writes what root takes of a row's distances to the training rows of count
// blocks, and for each block a bit per training row that is below limit.
//
// Numbers are added in the order of ONNX Runtime, and products are rounded on their own.
// So distances have the same bits on every processor, and where a graph finds two
// training rows equally near, so does the index.
func (x *Index) compare(s *Scratch, row []float32, from, count int, limit float32) {
	train := x.train[from*lanes*x.d : (from+count)*lanes*x.d]
	switch {
	case x.metric == Euclidean && x.fast():
		euclideanBlocks(&s.squares[0], &s.near[0], &row[0], &train[0], x.d, count, limit)
	case x.metric == Manhattan && x.fast():
		manhattanBlocks(&s.squares[0], &s.near[0], &row[0], &train[0], x.d, count, limit)
	default:
		for b := range count {
			to := (*[lanes]float32)(s.squares[b*lanes:])
			x.plainBlock(to, row, train[b*lanes*x.d:(b+1)*lanes*x.d], (from+b)*lanes)
			s.near[b] = 0
			for i, v := range to {
				if v < limit {
					s.near[b] |= 1 << i
				}
			}
		}
	}
}

// plainBlock is compare for one block without assembly. The block's first row is
// training row first.
func (x *Index) plainBlock(to *[lanes]float32, row, train []float32, first int) {
	switch x.metric {
	case Euclidean:
		for i := 0; i < lanes; i += 4 {
			euclidean4((*[4]float32)(to[i:]), row, train[i:])
		}
	case Cosine:
		own := norm(row)
		for i := range to {
			to[i] = 1 - dot(row, train[i:])/float32(own*x.norms[first+i])
		}
	default:
		for i := range to {
			to[i] = x.sum(row, train[i:])
		}
	}
}

// euclidean4 adds the squares of four training rows, feature after feature.
func euclidean4(to *[4]float32, row, train []float32) {
	var a, b, c, d float32
	for _, v := range row {
		t := (*[4]float32)(train)
		e, f, g, h := v-t[0], v-t[1], v-t[2], v-t[3]
		a += float32(e * e)
		b += float32(f * f)
		c += float32(g * g)
		d += float32(h * h)
		train = train[min(lanes, len(train)):]
	}
	to[0], to[1], to[2], to[3] = a, b, c, d
}

// sum adds what the differences to a training row give, as Eigen's redux does with
// vectors of four: eight sums, joined to four, folded to one, and then the features that
// are left. train begins at the row's first feature; the others follow at distances of
// lanes.
func (x *Index) sum(row, train []float32) float32 {
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

func dot(row, train []float32) float32 {
	var sum float32
	for j, v := range row {
		sum += float32(v * train[j*lanes])
	}
	return sum
}
