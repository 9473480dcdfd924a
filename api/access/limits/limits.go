// Package limits bounds how many requests a caller may send.
//
// It remembers a bounded number of callers and forgets those that asked longest ago.
// It remembers principals and addresses separately, so that no number of addresses
// displaces a principal that has shown a credential.
package limits

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"

	"github.com/pynomaly/pynomaly-runtime/api/access"
)

// Class is a kind of requests that is counted.
type Class int

// The classes.
const (
	Predict Class = iota
	BatchPredict
	ModelManagement
	classes
)

// String returns the class's name in the configuration.
func (c Class) String() string {
	return [classes]string{"predict", "batch_predict", "model_management"}[c]
}

// Rate is a number of requests per duration. The zero value bounds nothing. Count
// requests may come at once, and more as time passes.
type Rate struct {
	Count int
	Per   time.Duration
}

func (r Rate) limit() rate.Limit { return rate.Limit(float64(r.Count) / r.Per.Seconds()) }

// Rates has a rate for each class.
type Rates [classes]Rate

// Callers is how many principals, and how many addresses, are remembered at most.
const Callers = 100_000

// shardCount is how many locks divide the callers.
const shardCount = 64

// Limiter counts requests. It is safe for concurrent use.
type Limiter struct {
	now   func() time.Time
	state atomic.Pointer[state]
}

// state has the counts under certain rates.
type state struct {
	rates      Rates
	principals *table[who]
	addresses  *table[netip.Addr]
}

// who identifies a principal that has shown a credential.
type who struct {
	kind access.Kind
	id   string
}

// New returns a Limiter.
func New(rates Rates, now func() time.Time) *Limiter {
	l := &Limiter{now: now}
	l.Set(rates)
	return l
}

// Set changes the rates. If they differ from the present rates, all counts begin
// again.
func (l *Limiter) Set(rates Rates) {
	if was := l.state.Load(); was == nil || was.rates != rates {
		l.state.Store(&state{rates, newTable[who](Callers), newTable[netip.Addr](Callers)})
	}
}

// Allow counts a request of a principal, or of an address if the principal has shown
// no credential. It returns nil if the request is within the rate, or else a
// Refusal.
func (l *Limiter) Allow(class Class, p *access.Principal, client netip.Addr) *Refusal {
	s := l.state.Load()
	r := s.rates[class]
	if r.Count == 0 {
		return nil
	}
	var b *rate.Limiter
	if p == nil || !p.Shown() {
		b = s.addresses.bucket(access.Network(client), class, r)
	} else {
		b = s.principals.bucket(who{p.Kind, p.ID}, class, r)
	}
	now := l.now()
	if b.AllowN(now, 1) {
		return nil
	}
	return &Refusal{Class: class.String(), Rate: r, After: wait(b, now, r)}
}

// wait returns how long it takes until a request would be allowed.
func wait(b *rate.Limiter, now time.Time, r Rate) time.Duration {
	missing := 1 - b.TokensAt(now)
	return time.Duration(max(0, missing) / float64(r.limit()) * float64(time.Second))
}

// Counts reports whether requests of a class are counted.
func (l *Limiter) Counts(class Class) bool { return l.state.Load().rates[class].Count > 0 }

// Refusal means that a request exceeded a rate. It wraps access.ErrLimited.
type Refusal struct {
	Class string
	Rate  Rate
	After time.Duration // until a request would be allowed
}

// Error implements error.
func (r *Refusal) Error() string {
	return fmt.Sprintf("%v: %s, %d in %v", access.ErrLimited, r.Class, r.Rate.Count, r.Rate.Per)
}

// Unwrap makes errors.Is find access.ErrLimited.
func (r *Refusal) Unwrap() error { return access.ErrLimited }

// RetryAfter returns the value of the header Retry-After: whole seconds, at least 1.
func (r *Refusal) RetryAfter() int {
	return max(1, int((r.After+time.Second-1)/time.Second))
}

// Field returns the value of the header RateLimit of
// draft-ietf-httpapi-ratelimit-headers.
func (r *Refusal) Field() string { return fmt.Sprintf("%q;r=0;t=%d", r.Class, r.RetryAfter()) }

// Policy returns the value of the header RateLimit-Policy of the same draft.
func (r *Refusal) Policy() string {
	return fmt.Sprintf("%q;q=%d;w=%d", r.Class, r.Rate.Count, int(r.Rate.Per/time.Second))
}

// table remembers callers, in shards with a lock each.
type table[K comparable] struct {
	seed   maphash.Seed
	shards [shardCount]shard[K]
}

type shard[K comparable] struct {
	mu sync.Mutex
	of *simplelru.LRU[K, *buckets]
	_  [48]byte // keeps two locks off one cache line
}

// buckets has a caller's buckets; nil means that the caller has not used the class.
type buckets [classes]*rate.Limiter

func newTable[K comparable](callers int) *table[K] {
	t := &table[K]{seed: maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].of, _ = simplelru.NewLRU[K, *buckets](callers/shardCount, nil) // fails only for a size below 1
	}
	return t
}

// bucket returns a caller's bucket of a class. A new bucket is full.
func (t *table[K]) bucket(k K, class Class, r Rate) *rate.Limiter {
	s := &t.shards[maphash.Comparable(t.seed, k)%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.of.Get(k)
	if !ok {
		b = new(buckets)
		s.of.Add(k, b)
	}
	if b[class] == nil {
		b[class] = rate.NewLimiter(r.limit(), r.Count)
	}
	return b[class]
}

// len returns how many callers are remembered.
func (t *table[K]) len() int {
	n := 0
	for i := range t.shards {
		t.shards[i].mu.Lock()
		n += t.shards[i].of.Len()
		t.shards[i].mu.Unlock()
	}
	return n
}

// Logins counts wrong credentials by address. It does not count correct ones, so a
// caller with a correct credential is let in whatever others at the same address do.
type Logins struct {
	now       func() time.Time
	rate      Rate
	addresses *table[netip.Addr]
}

// NewLogins returns a counter that allows 20 wrong credentials at once and one more
// every 3 s.
func NewLogins(now func() time.Time) *Logins {
	return &Logins{now: now, rate: Rate{20, time.Minute}, addresses: newTable[netip.Addr](Callers)}
}

// Failed counts a wrong credential. It returns nil while the address has shown few
// of them. After that it returns a refusal, which replaces the answer, and which the
// audit need not record each time.
func (l *Logins) Failed(client netip.Addr) *Refusal {
	b := l.addresses.bucket(access.Network(client), 0, l.rate)
	now := l.now()
	if b.AllowN(now, 1) {
		return nil
	}
	return &Refusal{Class: "logins", Rate: l.rate, After: wait(b, now, l.rate)}
}
