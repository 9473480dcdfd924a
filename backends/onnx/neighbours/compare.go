package neighbours

import "math"

// compare writes the squares (or what root takes) of a row's distances to the
// training rows of count blocks, and the least of each block.
func (x *Index) compare(squares, least, row []float32, from, count int) {
	train := x.train[from*lanes*x.d : (from+count)*lanes*x.d]
	switch {
	case x.metric == Euclidean && x.fast():
		euclideanBlocks(&squares[0], &least[0], &row[0], &train[0], x.d, count)
	case x.metric == Manhattan && x.fast():
		manhattanBlocks(&squares[0], &least[0], &row[0], &train[0], x.d, count)
	default:
		for b := range count {
			to := (*[lanes]float32)(squares[b*lanes:])
			x.plainBlock(to, row, train[b*lanes*x.d:(b+1)*lanes*x.d], (from+b)*lanes)
			least[b] = lowest(to)
		}
	}
}

// lowest returns the lowest number.
func lowest(v *[lanes]float32) float32 {
	low := v[0]
	for _, x := range v[1:] {
		low = min(low, x)
	}
	return low
}

// plainBlock is compare for one block without assembly. Products are rounded on
// their own, so that every processor computes the same.
func (x *Index) plainBlock(to *[lanes]float32, row, train []float32, first int) {
	switch x.metric {
	case Euclidean:
		for i := 0; i < lanes; i += 4 {
			euclidean4((*[4]float32)(to[i:]), row, train[i:])
		}
	case Manhattan:
		for i := range to {
			var sum float32
			for j, v := range row {
				sum += float32(math.Abs(float64(v - train[j*lanes+i])))
			}
			to[i] = sum
		}
	case Minkowski:
		for i := range to {
			var sum float32
			for j, v := range row {
				sum += float32(math.Pow(math.Abs(float64(v-train[j*lanes+i])), x.p))
			}
			to[i] = sum
		}
	case Cosine:
		own := norm(row)
		for i := range to {
			var sum float32
			for j, v := range row {
				sum += float32(v * train[j*lanes+i])
			}
			to[i] = 1 - sum/float32(own*x.norms[first+i])
		}
	}
}

// euclidean4 computes four neighbouring lanes with the sums in registers.
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
