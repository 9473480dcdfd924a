package table_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// asOldWriters removes the logical types from a Parquet file and keeps the converted
// types, which old writers used.
func asOldWriters(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const trailer = 8
	size := int(binary.LittleEndian.Uint32(data[len(data)-trailer:]))
	start := len(data) - trailer - size
	var meta format.FileMetaData
	var protocol thrift.CompactProtocol
	if err := thrift.Unmarshal(&protocol, data[start:len(data)-trailer], &meta); err != nil {
		t.Fatal(err)
	}
	for i := range meta.Schema {
		meta.Schema[i].LogicalType = format.LogicalType{}
	}
	footer, err := thrift.Marshal(&protocol, &meta)
	if err != nil {
		t.Fatal(err)
	}
	out := bytes.NewBuffer(slices.Clip(data[:start]))
	out.Write(footer)
	out.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(footer))))
	out.WriteString("PAR1")
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestOldParquet checks that files without logical types, which came later than
// converted types, are read or refused like those with them.
func TestOldParquet(t *testing.T) {
	all := openPyarrow(t)
	for name, dtypes := range all.Types {
		file := all.files["types/"+name+".parquet"]
		asOldWriters(t, file)
		for dtype, want := range dtypes {
			got, err := read(file, schema(t, "{name: x, dtype: "+dtype+", missing: "+missing[dtype]+"}"), 100)
			if err != nil || len(got) != len(want) {
				t.Errorf("%s as %s: %d rows, %v; want %d", name, dtype, len(got), err, len(want))
				continue
			}
			for i := range got {
				if !same(t, got[i][0], want[i], dtype) {
					t.Errorf("%s as %s, row %d: %v; want %v", name, dtype, i, got[i][0], want[i])
				}
			}
		}
	}
	for _, name := range all.Refused {
		if slices.Contains([]string{"timestamp_ns", "time32", "time64"}, name) { // they have no converted type; without the logical type they are numbers
			continue
		}
		file := all.files["types/"+name+".parquet"]
		asOldWriters(t, file)
		if got, err := read(file, schema(t, "{name: x, dtype: float64}"), 100); err == nil || !strings.Contains(err.Error(), `column "x"`) {
			t.Errorf("%s: %v, %v; want an error that names the column", name, got, err)
		}
	}
}
