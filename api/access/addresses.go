package access

import (
	"net/netip"
	"strings"
)

// Proxies are the networks of proxies that are believed.
type Proxies []netip.Prefix

// Has reports whether an address is a proxy's that is believed.
func (p Proxies) Has(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, one := range p {
		if one.Contains(a) {
			return true
		}
	}
	return false
}

// maxHops is how many addresses of X-Forwarded-For are looked at.
const maxHops = 32

// Client returns the address that a request came from: the peer's, or, where that is a proxy
// that is believed, what the nearest one that is not was told. The header's values are as
// they came, each a list. What a client has written there itself counts for nothing, since it
// stands before what proxies have added.
func (p Proxies) Client(peer netip.Addr, forwardedFor ...string) netip.Addr {
	at := peer.Unmap().WithZone("")
	hops := 0
	for i := len(forwardedFor) - 1; i >= 0; i-- {
		rest := forwardedFor[i]
		for more := true; more; {
			if !p.Has(at) || hops >= maxHops {
				return at
			}
			hops++
			var last string
			rest, last, more = cutLast(rest)
			next, ok := hop(last)
			if !ok { // nobody that is believed wrote this
				return at
			}
			at = next
		}
	}
	return at
}

// cutLast splits a list at its last comma.
func cutLast(list string) (before, last string, found bool) {
	if i := strings.LastIndexByte(list, ','); i >= 0 {
		return list[:i], list[i+1:], true
	}
	return "", list, false
}

// hop reads an address as proxies write it: with or without a port.
func hop(text string) (netip.Addr, bool) {
	text = strings.TrimSpace(text)
	if len(text) > 64 {
		return netip.Addr{}, false
	}
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")); err == nil {
		return a.Unmap().WithZone(""), true
	}
	if a, err := netip.ParseAddrPort(text); err == nil {
		return a.Addr().Unmap().WithZone(""), true
	}
	return netip.Addr{}, false
}

// Network is what callers without credentials are counted by: an address, or the /64 of one
// of IPv6, of which a single caller has all.
func Network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a
	}
	p, _ := a.Prefix(64) // which fails for other lengths alone
	return p.Addr()
}
