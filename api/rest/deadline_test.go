package rest

import (
	"net"
	"testing"
	"time"
)

// recorder records the deadlines that are set.
type recorder struct {
	net.Conn
	reads, writes []time.Time
}

func (r *recorder) Read(b []byte) (int, error)         { return len(b), nil }
func (r *recorder) SetReadDeadline(t time.Time) error  { r.reads = append(r.reads, t); return nil }
func (r *recorder) SetWriteDeadline(t time.Time) error { r.writes = append(r.writes, t); return nil }

// TestDeadlinesAreSetWhenTheyMatter checks that a deadline is set at the next read
// or write, unless the present one ends at most a second earlier.
func TestDeadlinesAreSetWhenTheyMatter(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	var r recorder
	c := conn{Conn: &r, list: &connections{grace: time.Second}}
	read := func() {
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string, got []time.Time, want ...time.Time) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("%s: %v were set; want %v", when, got, want)
		}
		for i := range got {
			if !got[i].Equal(want[i]) {
				t.Fatalf("%s: %v were set; want %v", when, got, want)
			}
		}
	}
	read()
	check("without one", r.reads)
	for i := range 10 {
		now := time.Duration(i) * 100 * time.Millisecond
		_ = c.SetReadDeadline(at(now + time.Minute))
		read()
		_ = c.SetReadDeadline(at(now + 30*time.Second)) // and all of the request has arrived
		_ = c.SetWriteDeadline(at(now + 40*time.Second))
	}
	check("ten short requests", r.reads, at(time.Minute))
	check("ten short requests", r.writes, at(40*time.Second))
	_ = c.SetReadDeadline(at(31 * time.Second))
	read()
	check("a request that arrives slowly", r.reads, at(time.Minute), at(31*time.Second))
	_ = c.SetWriteDeadline(at(42 * time.Second))
	check("two seconds later", r.writes, at(40*time.Second), at(42*time.Second))
	_ = c.SetReadDeadline(time.Time{})
	_ = c.SetReadDeadline(at(time.Second))
	check("after none", r.reads[2:], time.Time{}, at(time.Second))
}
