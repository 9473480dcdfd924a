package tokens

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/pynomaly/pynomaly-runtime/api/access"
)

// The cache holds at most shards * perShard tokens.
const (
	shards   = 8
	perShard = 512
)

// verified is a verified token.
type verified struct {
	principal  *access.Principal
	until      time.Time
	source     source
	generation uint64 // of the keys that verified it
}

// cache remembers verified tokens by their SHA-256. Refused tokens take no space in
// it.
type cache struct {
	shards [shards]struct {
		mu sync.Mutex
		of *simplelru.LRU[[sha256.Size]byte, *verified]
	}
}

func newCache() *cache {
	c := &cache{}
	for i := range c.shards {
		c.shards[i].of, _ = simplelru.NewLRU[[sha256.Size]byte, *verified](perShard, nil) // fails only for a size below 1
	}
	return c
}

// get returns the principal of a remembered token, or nil if the token is not
// remembered or no longer valid.
func (c *cache) get(sum *[sha256.Size]byte, now time.Time) *access.Principal {
	s := &c.shards[sum[0]%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.of.Get(*sum)
	if !ok {
		return nil
	}
	if !now.Before(v.until) || v.source.generation() != v.generation {
		s.of.Remove(*sum)
		return nil
	}
	return v.principal
}

func (c *cache) put(sum *[sha256.Size]byte, v *verified) {
	s := &c.shards[sum[0]%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of.Add(*sum, v)
}
