// Package limits bounds how often one caller may ask.
//
// What is remembered of callers is bounded: the ones who asked longest ago are forgotten.
// Principals and addresses are remembered apart, so that however many addresses somebody
// comes from, nobody who has shown a credential is forgotten for it.
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

// String is the class's name, as the configuration has it.
func (c Class) String() string {
	return [classes]string{"predict", "batch_predict", "model_management"}[c]
}

// Rate is a number of requests in a time; the zero value bounds nothing. So many may come
// at once, and then as many as the time has room for.
type Rate struct {
	Count int
	Per   time.Duration
}

func (r Rate) limit() rate.Limit { return rate.Limit(float64(r.Count) / r.Per.Seconds()) }

// Rates are those of the classes.
type Rates [classes]Rate

// Callers is how many principals, and how many addresses, are remembered at most.
const Callers = 100_000

// shardCount is how many locks the callers are under.
const shardCount = 64

// Limiter counts requests. It may be used by many goroutines.
type Limiter struct {
	now   func() time.Time
	state atomic.Pointer[state]
}

// state is what is counted by some rates.
type state struct {
	rates      Rates
	principals *table[who]
	addresses  *table[netip.Addr]
}

// who is a principal that has shown something.
type who struct {
	kind access.Kind
	id   string
}

// New makes a limiter.
func New(rates Rates, now func() time.Time) *Limiter {
	l := &Limiter{now: now}
	l.Set(rates)
	return l
}

// Set changes the rates. Where they are others than before, everybody begins anew.
func (l *Limiter) Set(rates Rates) {
	if was := l.state.Load(); was == nil || was.rates != rates {
		l.state.Store(&state{rates, newTable[who](Callers), newTable[netip.Addr](Callers)})
	}
}

// Allow counts a request of a principal, or of an address where the principal has shown
// nothing. It returns nil if the request is within the rate, else why it is not.
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

// wait is how long it takes until a request would be allowed.
func wait(b *rate.Limiter, now time.Time, r Rate) time.Duration {
	missing := 1 - b.TokensAt(now)
	return time.Duration(max(0, missing) / float64(r.limit()) * float64(time.Second))
}

// Counts reports whether requests of a class are counted.
func (l *Limiter) Counts(class Class) bool { return l.state.Load().rates[class].Count > 0 }

// Refusal says why a request is not answered. It is an error of access.ErrLimited.
type Refusal struct {
	Class string
	Rate  Rate
	After time.Duration // until one would be
}

// Error implements error.
func (r *Refusal) Error() string {
	return fmt.Sprintf("%v: %s, %d in %v", access.ErrLimited, r.Class, r.Rate.Count, r.Rate.Per)
}

// Unwrap makes errors.Is find access.ErrLimited.
func (r *Refusal) Unwrap() error { return access.ErrLimited }

// RetryAfter is the value of the field Retry-After: whole seconds, at least 1.
func (r *Refusal) RetryAfter() int {
	return max(1, int((r.After+time.Second-1)/time.Second))
}

// Field is the value of the field RateLimit of draft-ietf-httpapi-ratelimit-headers.
func (r *Refusal) Field() string { return fmt.Sprintf("%q;r=0;t=%d", r.Class, r.RetryAfter()) }

// Policy is the value of the field RateLimit-Policy of the same draft.
func (r *Refusal) Policy() string {
	return fmt.Sprintf("%q;q=%d;w=%d", r.Class, r.Rate.Count, int(r.Rate.Per/time.Second))
}

// table remembers callers, in shards that each have a lock.
type table[K comparable] struct {
	seed   maphash.Seed
	shards [shardCount]shard[K]
}

type shard[K comparable] struct {
	mu sync.Mutex
	of *simplelru.LRU[K, *buckets]
	_  [48]byte // so that two locks share no cache line
}

// buckets are those of one caller; nil: it has not asked for the class yet.
type buckets [classes]*rate.Limiter

func newTable[K comparable](callers int) *table[K] {
	t := &table[K]{seed: maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].of, _ = simplelru.NewLRU[K, *buckets](callers/shardCount, nil) // fails for a size below 1 alone
	}
	return t
}

// bucket returns a caller's bucket of a class, which is full if it is new.
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

// len is how many callers are remembered.
func (t *table[K]) len() int {
	n := 0
	for i := range t.shards {
		t.shards[i].mu.Lock()
		n += t.shards[i].of.Len()
		t.shards[i].mu.Unlock()
	}
	return n
}

// Logins counts credentials that were wrong, by address. It is asked about wrong ones
// alone: whoever shows a good one gets in, whatever others at the same address do.
type Logins struct {
	now       func() time.Time
	rate      Rate
	addresses *table[netip.Addr]
}

// NewLogins makes a counter that allows 20 wrong credentials at once and one more every 3 s.
func NewLogins(now func() time.Time) *Logins {
	return &Logins{now: now, rate: Rate{20, time.Minute}, addresses: newTable[netip.Addr](Callers)}
}

// Failed counts a wrong credential. It returns nil while the address has shown few of them;
// then a refusal, which is answered in place of what is wrong, and need not be written to
// the audit each time.
func (l *Logins) Failed(client netip.Addr) *Refusal {
	b := l.addresses.bucket(access.Network(client), 0, l.rate)
	now := l.now()
	if b.AllowN(now, 1) {
		return nil
	}
	return &Refusal{Class: "logins", Rate: l.rate, After: wait(b, now, l.rate)}
}
