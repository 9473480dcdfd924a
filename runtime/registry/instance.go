package registry

// instance counts the users of an open model. It is a value.
type instance struct {
	leases  int  // of requests; a leased model is not evicted
	holds   int  // of questions to the model; they only keep it open
	retired bool // there are no new leases
	ending  bool // it is being closed
}

// use is a change of an instance's users.
type use uint8

const (
	useLease use = iota
	useRelease
	useHold
	useDrop
	useRetire
)

// next returns an instance after a change, and whether to close it now. An instance
// is closed once, when it is retired and has no users.
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

// resident is a loaded version that may be evicted.
type resident struct {
	leases int
	pinned bool // never evicted
	bytes  int64
}

// room is the limit for the loaded versions.
type room struct {
	versions int
	bytes    int64 // 0: no limit
}

// evict chooses which versions to evict for more others. all is in the order of last
// use, oldest first. Versions are evicted in that order, except leased and pinned
// ones. fits is false if not enough can be evicted.
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
