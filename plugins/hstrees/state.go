package hstrees

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"hash/fnv"
	"math"
)

// A saved state begins with five little-endian fields: a magic number (4 bytes), the
// checksum of what follows (4), a hash of the trees (8), the rows of the present
// window (4), and whether a window is complete (4). The rows in the leaves of every
// tree follow as uvarints, for the present and the last window. A node has the rows
// of its children, so the leaves suffice.
const (
	magic      = 0x31545348 // "HST1"
	headerSize = 24
)

var errState = errors.New("it is not a state of these trees")

// identity returns a hash of the trees.
func (f *forest) identity() uint64 {
	h := fnv.New64a()
	var b []byte
	for _, v := range []int{f.trees, f.height, f.window, f.features} {
		b = binary.LittleEndian.AppendUint64(b, uint64(v))
	}
	for _, s := range f.splits {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(s.threshold))
		b = binary.LittleEndian.AppendUint32(b, uint32(s.feature))
	}
	_, _ = h.Write(b) // never fails
	return h.Sum64()
}

func (f *forest) save() []byte {
	b := binary.LittleEndian.AppendUint32(nil, magic)
	b = binary.LittleEndian.AppendUint32(b, 0) // placeholder of the checksum
	b = binary.LittleEndian.AppendUint64(b, f.identity())
	b = binary.LittleEndian.AppendUint32(b, uint32(f.learned))
	warm := uint32(0)
	if f.warm {
		warm = 1
	}
	b = binary.LittleEndian.AppendUint32(b, warm)
	for _, rows := range [][]uint32{f.latest, f.counted} {
		for k := range f.trees {
			for _, v := range rows[k*f.nodes()+f.inner() : (k+1)*f.nodes()] {
				b = binary.AppendUvarint(b, uint64(v))
			}
		}
	}
	binary.LittleEndian.PutUint32(b[4:], crc32.ChecksumIEEE(b[8:]))
	return b
}

// load replaces the state. After an error the state is unchanged.
func (f *forest) load(b []byte) error {
	if len(b) < headerSize || binary.LittleEndian.Uint32(b) != magic || binary.LittleEndian.Uint32(b[4:]) != crc32.ChecksumIEEE(b[8:]) ||
		binary.LittleEndian.Uint64(b[8:]) != f.identity() {
		return errState
	}
	learned, warm := binary.LittleEndian.Uint32(b[16:]), binary.LittleEndian.Uint32(b[20:])
	if int64(learned) >= int64(f.window) || warm > 1 {
		return errState
	}
	rest := b[headerSize:]
	latest, rest, ok := f.readRows(rest, uint64(learned))
	if !ok {
		return errState
	}
	counted, rest, ok := f.readRows(rest, uint64(warm)*uint64(f.window))
	if !ok || len(rest) > 0 {
		return errState
	}
	f.latest, f.counted, f.learned, f.warm = latest, counted, int(learned), warm == 1
	return nil
}

// readRows reads the leaves of all trees and adds up the nodes above them. The rows
// of each tree must sum to all.
func (f *forest) readRows(b []byte, all uint64) (rows []uint32, rest []byte, ok bool) {
	rows = make([]uint32, f.trees*f.nodes())
	for k := range f.trees {
		tree := rows[k*f.nodes() : (k+1)*f.nodes()]
		sum := uint64(0)
		for i := f.inner(); i < len(tree); i++ {
			v, n := binary.Uvarint(b)
			if n <= 0 || v > all {
				return nil, nil, false
			}
			tree[i], b = uint32(v), b[n:]
			sum += v
		}
		if sum != all {
			return nil, nil, false
		}
		for i := f.inner() - 1; i >= 0; i-- {
			tree[i] = tree[2*i+1] + tree[2*i+2]
		}
	}
	return rows, b, true
}
