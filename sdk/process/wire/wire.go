// Package wire encodes and decodes the batches and scores of the process plugin
// protocol, for the host and the plugin. It opens no connections.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"unsafe"

	"github.com/pynomaly/pynomaly-runtime/sdk"
	"github.com/pynomaly/pynomaly-runtime/sdk/process/pluginv1"
)

// MaxData is the largest number of matrix bytes in one chunk.
const MaxData = 1 << 20

// MaxMessage is the size of the largest message that both sides must accept.
const MaxMessage = 128 << 20

// Window is how many bytes a side may send before the other side has read them.
// Buffer is how many bytes a side reads or writes at once. With a fixed window
// gRPC sends no messages to measure the connection.
const (
	Window = 8 << 20
	Buffer = 256 << 10
)

// MaxRows is the largest number of rows in a batch.
const MaxRows = 1 << 20

// maxMatrix is the largest number of bytes in a matrix.
const maxMatrix = 1 << 30

// ErrMalformed is wrapped by errors about messages that violate the protocol.
var ErrMalformed = errors.New("malformed message")

var types = map[sdk.DType]pluginv1.ValueType{
	sdk.Float32: pluginv1.ValueType_VALUE_TYPE_FLOAT32, sdk.Float64: pluginv1.ValueType_VALUE_TYPE_FLOAT64,
	sdk.Int64: pluginv1.ValueType_VALUE_TYPE_INT64, sdk.String: pluginv1.ValueType_VALUE_TYPE_STRING, sdk.Bool: pluginv1.ValueType_VALUE_TYPE_BOOL,
}

func width(d sdk.DType) int {
	switch d {
	case sdk.Float32:
		return 4
	case sdk.Bool:
		return 1
	default:
		return 8
	}
}

// Send sends a batch in chunks. It calls send in order and keeps nothing of in.
func Send(in *sdk.Batch, send func(*pluginv1.ScoreChunk) error) error {
	first := &pluginv1.ScoreChunk{Rows: uint32(in.Rows())}
	if in.Dense() == 0 {
		for j := range in.Features() {
			first.Columns = append(first.Columns, column(in.Column(j)))
		}
		return send(first)
	}
	first.Matrix = &pluginv1.Matrix{Cols: uint32(len(in.Features())), Dtype: types[in.Dense()]}
	if err := send(first); err != nil {
		return err
	}
	data := matrixBytes(in)
	for len(data) > 0 {
		n := min(chunk, len(data))
		// gRPC copies the data before send returns.
		if err := send(&pluginv1.ScoreChunk{Data: data[:n:n]}); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// chunk is how many bytes Send puts into one message. The receiver reads the
// first chunks while Send writes the next ones.
const chunk = MaxData

// matrixBytes returns a dense batch's numbers in little-endian order. The
// result may share memory with in.
func matrixBytes(in *sdk.Batch) []byte {
	n := in.Rows() * len(in.Features())
	switch in.Dense() {
	case sdk.Float32:
		if v := in.Float32s()[:n]; littleEndian() {
			return view(v)
		}
		return appendFloat32s(nil, in.Float32s()[:n])
	case sdk.Float64:
		if v := in.Float64s()[:n]; littleEndian() {
			return view(v)
		}
		return AppendFloat64s(nil, in.Float64s()[:n])
	default:
		if v := in.Int64s()[:n]; littleEndian() {
			return view(v)
		}
		return appendInt64s(nil, in.Int64s()[:n])
	}
}

func littleEndian() bool { return binary.NativeEndian.Uint16([]byte{1, 0}) == 1 }

// view returns the memory of v as bytes.
func view[T float32 | float64 | int64](v []T) []byte {
	if len(v) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), len(v)*int(unsafe.Sizeof(v[0])))
}

func column(c *sdk.Column) *pluginv1.Column {
	out := &pluginv1.Column{Dtype: types[c.DType]}
	switch c.DType {
	case sdk.Float32:
		out.Values = appendFloat32s(nil, c.Float32s)
	case sdk.Float64:
		out.Values = AppendFloat64s(nil, c.Float64s)
	case sdk.Int64:
		out.Values = appendInt64s(nil, c.Int64s)
	case sdk.Bool:
		out.Values = make([]byte, len(c.Bools))
		for i, v := range c.Bools {
			if v {
				out.Values[i] = 1
			}
		}
	default:
		out.Strings = c.Strings
	}
	return out
}

// Receive reads a batch into out, whose features decide what is accepted; out
// may be a used batch. recv must return io.EOF after the last chunk. Receive
// allocates as data arrives, whatever the first chunk announces. After an error
// the rows of out are undefined.
func Receive(out *sdk.Batch, recv func() (*pluginv1.ScoreChunk, error)) error {
	features := out.Features()
	first, err := recv()
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: the stream is empty", ErrMalformed)
	}
	if err != nil {
		return err
	}
	if first.GetRows() > MaxRows {
		return fmt.Errorf("%w: %d rows exceed the limit of %d", ErrMalformed, first.GetRows(), MaxRows)
	}
	rows := int(first.GetRows())
	if m := first.GetMatrix(); m != nil {
		return receiveMatrix(out, rows, m, recv)
	}
	if out.Dense() != 0 || len(first.GetColumns()) != len(features) {
		return fmt.Errorf("%w: %d columns for %d features", ErrMalformed, len(first.GetColumns()), len(features))
	}
	for j, c := range first.GetColumns() {
		if err := checkColumn(features[j], c, rows); err != nil {
			return err
		}
	}
	out.Resize(rows)
	for j, c := range first.GetColumns() {
		takeColumn(out.Column(j), c)
	}
	if _, err := recv(); !errors.Is(err, io.EOF) {
		return errors.Join(fmt.Errorf("%w: data follows the columns", ErrMalformed), err)
	}
	return nil
}

// receiveMatrix fills a batch with the data of a matrix as it arrives.
func receiveMatrix(to *sdk.Batch, rows int, m *pluginv1.Matrix, recv func() (*pluginv1.ScoreChunk, error)) error {
	cols := len(to.Features())
	if to.Dense() == 0 || types[to.Dense()] != m.GetDtype() || int(m.GetCols()) != cols {
		return fmt.Errorf("%w: a matrix of %d columns of %v for %d features", ErrMalformed, m.GetCols(), m.GetDtype(), cols)
	}
	size := width(to.Dense())
	want := rows * cols * size
	if want > maxMatrix {
		return fmt.Errorf("%w: a matrix of %d bytes exceeds the limit of %d", ErrMalformed, want, maxMatrix)
	}
	to.Resize(0)
	have, values := 0, 0 // bytes received; values stored
	var part []byte      // the bytes of a value that two chunks share
	for {
		next, err := recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		data := next.GetData()
		if have += len(data); len(data) > MaxData || have > want {
			return fmt.Errorf("%w: a chunk of %d bytes makes %d of %d bytes", ErrMalformed, len(data), have, want)
		}
		if len(part) > 0 {
			data = append(part, data...)
		}
		whole := len(data) / size
		to.Resize((values + whole + cols - 1) / cols)
		switch to.Dense() {
		case sdk.Float32:
			float32s(to.Float32s()[values:values+whole], data)
		case sdk.Float64:
			Float64s(to.Float64s()[values:values+whole], data)
		default:
			int64s(to.Int64s()[values:values+whole], data)
		}
		values += whole
		part = append([]byte(nil), data[whole*size:]...)
	}
	if have != want {
		return fmt.Errorf("%w: the stream ended after %d of %d bytes", ErrMalformed, have, want)
	}
	to.Resize(rows)
	return nil
}

func checkColumn(f sdk.Feature, c *pluginv1.Column, rows int) error {
	values, texts := rows*width(f.DType), 0
	if f.DType == sdk.String {
		values, texts = 0, rows
	}
	if types[f.DType] != c.GetDtype() || len(c.GetValues()) != values || len(c.GetStrings()) != texts {
		return fmt.Errorf("%w: feature %q of type %s has a column of type %v with %d bytes and %d strings for %d rows",
			ErrMalformed, f.Name, f.DType, c.GetDtype(), len(c.GetValues()), len(c.GetStrings()), rows)
	}
	if n := len(c.GetNulls()); n != 0 && n != (rows+7)/8 {
		return fmt.Errorf("%w: feature %q has a null bitmap of %d bytes for %d rows", ErrMalformed, f.Name, n, rows)
	}
	return nil
}

// takeColumn fills a column. A missing number is NaN, or 0 if the type has no
// NaN.
func takeColumn(to *sdk.Column, c *pluginv1.Column) {
	switch to.DType {
	case sdk.Float32:
		float32s(to.Float32s, c.GetValues())
	case sdk.Float64:
		Float64s(to.Float64s, c.GetValues())
	case sdk.Int64:
		int64s(to.Int64s, c.GetValues())
	case sdk.Bool:
		for i, v := range c.GetValues() {
			to.Bools[i] = v != 0
		}
	default:
		copy(to.Strings, c.GetStrings())
	}
	nulls := c.GetNulls()
	for i := 0; i < 8*len(nulls); i++ {
		if nulls[i/8]&(1<<(i%8)) == 0 {
			continue
		}
		switch {
		case to.DType == sdk.Float32 && i < len(to.Float32s):
			to.Float32s[i] = float32(math.NaN())
		case to.DType == sdk.Float64 && i < len(to.Float64s):
			to.Float64s[i] = math.NaN()
		}
	}
}

// AppendFloat64s appends values to data in little-endian order.
func AppendFloat64s(data []byte, values []float64) []byte {
	if littleEndian() {
		return append(data, view(values)...)
	}
	for _, v := range values {
		data = binary.LittleEndian.AppendUint64(data, math.Float64bits(v))
	}
	return data
}

// Float64s fills to from data, which must have 8 bytes per number.
func Float64s(to []float64, data []byte) {
	if littleEndian() {
		copy(view(to), data)
		return
	}
	for i := range to {
		to[i] = math.Float64frombits(binary.LittleEndian.Uint64(data[8*i:]))
	}
}

func appendFloat32s(data []byte, values []float32) []byte {
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return data
}

func float32s(to []float32, data []byte) {
	if littleEndian() {
		copy(view(to), data)
		return
	}
	for i := range to {
		to[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
}

func appendInt64s(data []byte, values []int64) []byte {
	for _, v := range values {
		data = binary.LittleEndian.AppendUint64(data, uint64(v))
	}
	return data
}

func int64s(to []int64, data []byte) {
	if littleEndian() {
		copy(view(to), data)
		return
	}
	for i := range to {
		to[i] = int64(binary.LittleEndian.Uint64(data[8*i:]))
	}
}

// Failed returns the messages for row errors.
func Failed(e *sdk.RowErrors) []*pluginv1.RowError {
	var out []*pluginv1.RowError
	for _, r := range e.Rows {
		out = append(out, &pluginv1.RowError{Row: uint32(r.Row), Field: r.Field, Reason: r.Reason})
	}
	return out
}

// RowErrors is the inverse of Failed. It returns nil for an empty list, and an
// error if the rows are not ascending or not in the batch.
func RowErrors(errs []*pluginv1.RowError, rows int) (*sdk.RowErrors, error) {
	if len(errs) == 0 {
		return nil, nil
	}
	out := &sdk.RowErrors{}
	last := -1
	for _, e := range errs {
		if int64(e.GetRow()) <= int64(last) || int64(e.GetRow()) >= int64(rows) {
			return nil, fmt.Errorf("%w: row error %d follows row error %d of %d rows", ErrMalformed, e.GetRow(), last, rows)
		}
		last = int(e.GetRow())
		out.Rows = append(out.Rows, sdk.RowError{Row: last, Field: e.GetField(), Reason: e.GetReason()})
	}
	return out, nil
}
