package access

import (
	"net/netip"
	"strings"
)

// Proxies are the networks of trusted proxies.
type Proxies []netip.Prefix

// Has reports whether an address belongs to a trusted proxy.
func (p Proxies) Has(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, one := range p {
		if one.Contains(a) {
			return true
		}
	}
	return false
}

// maxHops is how many addresses of X-Forwarded-For are read.
const maxHops = 32

// Client returns the address that a request came from: the peer's, or, if the peer
// is a trusted proxy, the last address in X-Forwarded-For that is not one. The
// header's values are lists, in the order in which they arrived. Addresses that the
// client itself has written are ignored, because they come before those that proxies
// add.
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
			if !ok { // no trusted proxy wrote this
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

// hop parses an address as proxies write it, with or without a port.
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

// Network returns what callers without credentials are counted by: an IPv4 address,
// or the /64 of an IPv6 address, since one caller usually has all of it.
func Network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a
	}
	p, _ := a.Prefix(64) // fails only for other lengths
	return p.Addr()
}
