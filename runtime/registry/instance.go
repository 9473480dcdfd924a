package registry

// instance says who uses a model that is open. It is a value.
type instance struct {
	leases  int  // of requests: while there are any it is not evicted
	holds   int  // of those who ask it something: they only keep it open
	retired bool // nobody gets a lease any more
	ending  bool // it is being closed
}

// use is a change of who uses an instance.
type use uint8

const (
	useLease use = iota
	useRelease
	useHold
	useDrop
	useRetire
)

// next returns what a change makes of an instance, and whether it is to be closed now:
// once, when it is retired and nobody uses it.
func (i instance) next(u use) (_ instance, closing bool) {
	switch u {
	case useLease:
		i.leases++
	case useRelease:
		i.leases--
	case useHold:
		i.holds++
	case useDrop:
		i.holds--
	case useRetire:
		i.retired = true
	}
	if i.retired && !i.ending && i.leases == 0 && i.holds == 0 {
		i.ending = true
		return i, true
	}
	return i, false
}

// resident is a loaded version that may have to make room for others.
type resident struct {
	leases int
	pinned bool // never evicted
	bytes  int64
}

// room is what the loaded versions may take.
type room struct {
	versions int
	bytes    int64 // 0: no limit
}

// evict chooses which versions make room for more others; false: not enough may. The
// versions come in the order of their last use, the one used longest ago first, and are
// evicted in that order, but for those that are leased or pinned.
func (r room) evict(all []resident, more int) (chosen []int, fits bool) {
	n, bytes := len(all)+more, int64(0)
	for _, one := range all {
		bytes += one.bytes
	}
	full := func() bool { return n > r.versions || r.bytes > 0 && bytes > r.bytes }
	for i, one := range all {
		if !full() {
			break
		}
		if one.leases > 0 || one.pinned {
			continue
		}
		chosen = append(chosen, i)
		n--
		bytes -= one.bytes
	}
	return chosen, !full()
}
