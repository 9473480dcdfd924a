package strategy

// endpoints returns how many pods of a revision can answer.
func (m *machine) endpoints(revision string) int32 { return m.Revisions[revision].Endpoints }

// forward returns the weight nearest to want that the new revision's pods can serve.
// It is never more than want while another revision can answer.
func (m *machine) forward(want int32) int32 {
	u, rest := m.endpoints(m.Update), m.others()
	switch {
	case u == 0:
		return 0
	case rest == 0:
		return 100
	}
	need := replicasFor(want, m.Stable, m.beside())
	if want == 0 || u >= need {
		return want
	}
	// The new revision has too few pods. It keeps as much as loads all pods equally.
	return min(want, max(want*u/need, 100*u/(u+rest)))
}

// others returns how many pods of other revisions can answer.
func (m *machine) others() int32 {
	n := int32(0)
	for _, name := range m.established() {
		n += m.endpoints(name)
	}
	return n
}

// established returns the stable revision and, if there is another one, the former
// one.
func (m *machine) established() []string {
	if old := m.ro.Old; old != "" && old != m.Update && old != m.st.Stable {
		return []string{m.st.Stable, old}
	}
	return []string{m.st.Stable}
}

// route plans the weights of a rollout: the new revision has update, and the others
// have the rest.
func (m *machine) route(update int32) {
	m.plan.Weights = map[string]int32{}
	m.add(m.Update, update)
	m.spread(100-update, m.established())
}

// back plans the weights of a revision that was aborted: it serves only what the
// others cannot.
func (m *machine) back() {
	m.plan.Weights = map[string]int32{}
	m.spread(100, append(m.established(), m.Update))
}

// spread divides a share of the traffic between revisions. Each one has as much as
// its pods can serve before the next one has any. If all pods are too few, they are
// loaded equally.
func (m *machine) spread(share int32, among []string) {
	pods := int32(0)
	for _, name := range among {
		pods += m.endpoints(name)
	}
	if pods == 0 || m.Stable == 0 { // nobody can serve, or nobody should
		m.add(among[0], share)
		return
	}
	first, left := "", share
	for _, name := range among {
		n := m.endpoints(name)
		if n == 0 {
			continue
		}
		if first == "" {
			first = name
		}
		part := min(left, able(n, m.Stable))
		if able(pods, m.Stable) < share {
			part = share * n / pods
		}
		m.add(name, part)
		left -= part
	}
	m.add(first, left)
}

func (m *machine) add(revision string, share int32) {
	if share > 0 {
		m.plan.Weights[revision] += share
	}
}

// able returns the share of the traffic, in percent, that some of all pods can
// serve, rounded up.
func able(pods, all int32) int32 {
	all = max(1, all)
	return min(100, (100*pods+all-1)/all)
}
