package rest_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// BenchmarkPredict measures a request and its answer over one connection, with all
// the server's allocations.
func BenchmarkPredict(b *testing.B) {
	h := testkit.Serve(b, testkit.Options{Dir: twoModels(b)})
	for _, data := range []string{goodRow, "[8,155,62,26,495,34,0.543,46]"} {
		body := `{"model_id":"pima","data":` + data + `}`
		b.Run(data[:1], func(b *testing.B) {
			c, err := net.Dial("tcp", strings.TrimPrefix(h.URL, "http://"))
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			request := []byte(fmt.Sprintf("POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
			in := bufio.NewReader(c)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(request); err != nil {
					b.Fatal(err)
				}
				length := 0
				for {
					line, err := in.ReadSlice('\n')
					if err != nil {
						b.Fatal(err)
					}
					if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
						length, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
					}
					if len(line) == 2 {
						break
					}
				}
				if _, err := in.Discard(length); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
