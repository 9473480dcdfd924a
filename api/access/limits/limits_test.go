package limits

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/api/access"
)

// clock is a clock that a test sets.
type clock struct{ atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(1_900_000_000, c.Load()) }
func (c *clock) advance(d time.Duration) { c.Add(int64(d)) }

func key(id string) *access.Principal { return &access.Principal{Kind: access.Key, ID: id} }

func rates() Rates {
	return Rates{Predict: {5, time.Minute}, BatchPredict: {2, time.Minute}}
}

var here = netip.MustParseAddr("192.0.2.1")

// TestAllow checks for each caller and class that the count is allowed at once, and
// more as time passes.
func TestAllow(t *testing.T) {
	var c clock
	l := New(rates(), c.now)
	allowed := func(class Class, p *access.Principal, from netip.Addr, want int) *Refusal {
		t.Helper()
		for n := range 100 {
			if refusal := l.Allow(class, p, from); refusal != nil {
				if n != want {
					t.Errorf("%v: %d were allowed, want %d", class, n, want)
				}
				return refusal
			}
		}
		if want < 100 {
			t.Errorf("%v: all were allowed, want %d", class, want)
		}
		return nil
	}
	refusal := allowed(Predict, key("a"), here, 5)
	if refusal.RetryAfter() != 12 || refusal.Field() != `"predict";r=0;t=12` || refusal.Policy() != `"predict";q=5;w=60` || !errors.Is(refusal, access.ErrLimited) {
		t.Errorf("%+v, %s, %s, %v", refusal, refusal.Field(), refusal.Policy(), refusal)
	}
	allowed(BatchPredict, key("a"), here, 2)
	allowed(ModelManagement, key("a"), here, 100) // which has no rate
	allowed(Predict, key("b"), here, 5)
	allowed(Predict, &access.Principal{Kind: access.Token, ID: "a"}, here, 5)
	allowed(Predict, &access.Principal{Kind: access.Anonymous}, here, 5)
	allowed(Predict, nil, here, 0) // no credential: counted by the address
	allowed(Predict, nil, netip.MustParseAddr("192.0.2.2"), 5)
	allowed(Predict, nil, netip.MustParseAddr("2001:db8::1"), 5)
	allowed(Predict, nil, netip.MustParseAddr("2001:db8::ffff:1"), 0) // of the same /64
	allowed(Predict, nil, netip.MustParseAddr("2001:db8:0:1::1"), 5)
	c.advance(12 * time.Second)
	if refusal := allowed(Predict, key("a"), here, 1); refusal.RetryAfter() != 12 {
		t.Errorf("%+v", refusal)
	}
	c.advance(11 * time.Second)
	if refusal := allowed(Predict, key("a"), here, 0); refusal.RetryAfter() != 1 {
		t.Errorf("%+v", refusal)
	}
	c.advance(time.Hour)
	allowed(Predict, key("a"), here, 5)
	l.Set(rates())
	allowed(Predict, key("a"), here, 0) // setting the same rates changes nothing
	l.Set(Rates{Predict: {7, time.Minute}})
	allowed(Predict, key("a"), here, 7)
	allowed(BatchPredict, key("a"), here, 100)
	l.Set(Rates{})
	allowed(Predict, key("a"), here, 100)
}

// TestAtOnce checks that concurrent requests are together allowed no more than
// sequential ones.
func TestAtOnce(t *testing.T) {
	var c clock
	l := New(Rates{Predict: {1000, time.Hour}}, c.now)
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				if l.Allow(Predict, key("a"), here) == nil {
					allowed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := allowed.Load(); n != 1000 {
		t.Errorf("%d were allowed", n)
	}
}

func address(i int) netip.Addr {
	var a [16]byte
	binary.BigEndian.PutUint64(a[:], 0x2001_0db8_0000_0000|uint64(i))
	return netip.AddrFrom16(a)
}

// TestManyCallers checks that a hundred thousand principals and many more addresses
// take little memory, and that addresses displace no principal.
func TestManyCallers(t *testing.T) {
	var c clock
	l := New(rates(), c.now)
	ids := make([]*access.Principal, Callers*9/10)
	for i := range ids {
		ids[i] = key(fmt.Sprintf("%08d", i))
	}
	for range 5 {
		l.Allow(Predict, ids[0], here)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for _, p := range ids {
		l.Allow(Predict, p, here)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	const most = 64 << 20
	if took := int64(after.HeapAlloc) - int64(before.HeapAlloc); took > most/2 {
		t.Errorf("%d principals take %d MiB", len(ids), took>>20)
	}
	for i := range 3 * Callers {
		l.Allow(Predict, nil, address(i))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if took := int64(after.HeapAlloc) - int64(before.HeapAlloc); took > most {
		t.Errorf("with as many addresses they take %d MiB", took>>20)
	} else {
		t.Logf("%d KiB", took>>10)
	}
	if n := l.state.Load().addresses.len(); n > Callers {
		t.Errorf("%d addresses are remembered", n)
	}
	if l.Allow(Predict, ids[0], here) == nil {
		t.Error("a principal was forgotten")
	}
	runtime.KeepAlive(ids)
}

// TestLogins checks that an address with many wrong credentials is refused, and no
// other address.
func TestLogins(t *testing.T) {
	var c clock
	l := NewLogins(c.now)
	for i := range 20 {
		if refusal := l.Failed(here); refusal != nil {
			t.Fatalf("after %d: %v", i, refusal)
		}
	}
	if refusal := l.Failed(here); refusal == nil || refusal.RetryAfter() != 3 || !errors.Is(refusal, access.ErrLimited) {
		t.Errorf("%v", refusal)
	}
	if refusal := l.Failed(netip.MustParseAddr("192.0.2.2")); refusal != nil {
		t.Errorf("another address: %v", refusal)
	}
	c.advance(3 * time.Second)
	if refusal := l.Failed(here); refusal != nil {
		t.Errorf("later: %v", refusal)
	}
	if refusal := l.Failed(netip.Addr{}); refusal != nil { // a peer without an address
		t.Error(refusal)
	}
}

func TestAllowAllocatesNothing(t *testing.T) {
	var c clock
	l := New(Rates{Predict: {1 << 30, time.Second}}, c.now)
	p := key("a")
	if n := testing.AllocsPerRun(100, func() {
		_ = l.Allow(Predict, p, here)
		_ = l.Allow(Predict, nil, here)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkAllow shows the cost of counting with many callers and with one.
func BenchmarkAllow(b *testing.B) {
	for _, callers := range []int{1, 50_000} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			l := New(Rates{Predict: {1 << 30, time.Second}}, time.Now)
			all := make([]*access.Principal, callers)
			for i := range all {
				all[i] = key(fmt.Sprint(i))
			}
			b.ReportAllocs()
			var next atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				for i := int(next.Add(7919)); pb.Next(); i++ {
					l.Allow(Predict, all[i%callers], here)
				}
			})
		})
	}
}
