package strategy_test

// mutation replaces one guard of Next.
type mutation struct {
	file   string
	guard  string // what it keeps
	old    string // the guard in the file
	mutant string // what stands there without it
}

// mutations are the guards without which Next would be wrong.
func mutations() []mutation { return append(ends(), steps()...) }

// ends are the guards of beginnings, ends and shares.
func ends() []mutation {
	return []mutation{
		{"next.go", "a rollout that has begun is not stopped by what must happen before", "case m.ro.Begun == nil:", `case m.Blocked != "":`},
		{"next.go", "what must happen before keeps a rollout from beginning", "if m.Blocked != \"\" {\n\t\treturn\n\t}", ""},
		{"next.go", "another attempt waits for the end of the last one", "if m.ro.State != StateIdle { // first", "if false { // first"},
		{"next.go", "a superseded revision keeps what it serves", "m.Revisions[before].Desired > 0 && had {", "had && false {"},
		{"next.go", "a revision that serves already keeps its share", "Attempt: m.Spec.Attempt, Weight: m.Weights[m.Update]}", "Attempt: m.Spec.Attempt}"},
		{"next.go", "gates of another revision do not count", "m.GateStep = -1", "_ = -1"},
		{"next.go", "a first revision that serves is not given up", "m.serves = u.Endpoints > 0", "m.serves = false"},
		{"next.go", "a revision that was given up stays so", "if m.ro.Aborted == m.Update {\n\t\treturn true", "if false {\n\t\treturn true"},
		{"next.go", "an abort is obeyed", "if m.Spec.Abort == m.Update {\n\t\tm.giveUp", "if false {\n\t\tm.giveUp"},
		{"next.go", "an end is final", "over := m.Status.Rollout.State == StateIdle && m.Status.Rollout.Aborted == m.Update", "over := false"},
		{"next.go", "the end of a rollout is decided once", `if m.ro.End == "" {`, "if true {"},
		{"next.go", "an aborted revision serves what others cannot", "if over || u.Desired == 0 {", "if true {"},
		{"next.go", "pods stay until the gateway has taken their traffic away", "case m.Weights[m.Update] != 0 || (u.Desired > 0 && !m.Acked):", "case false:"},
		{"next.go", "pods stay until their last requests have ended", "case u.Desired > 0 && m.times.held < drain(m.Spec.Strategy):", "case false:"},
		{"next.go", "a rollout has ended once its pods are gone", "case u.Desired > 0 || u.Pods > 0:", "case false:"},
		{"share.go", "no traffic goes to a new revision without pods", "case u == 0:\n\t\treturn 0", "case false:"},
		{"share.go", "the new revision serves if nobody else does", "case rest == 0:\n\t\treturn 100", "case false:"},
		{"share.go", "a new revision short of pods has less", "if want == 0 || u >= need {", "if true {"},
		{"share.go", "too few pods are loaded equally", "max(want*u/need, 100*u/(u+rest))", "want*u/need"},
		{"share.go", "the canary has no more than its step", "return min(want, max(", "return min(100, max("},
		{"share.go", "the former revision serves what the stable one cannot", "old != \"\" && old != m.Update", "false && old != m.Update"},
		{"share.go", "each revision has what its pods can take", "part := min(left, able(n, m.Stable))", "part := left"},
		{"share.go", "too few pods share what there is", "if able(pods, m.Stable) < share {", "if false {"},
	}
}

// steps are the guards of steps and times.
func steps() []mutation {
	return []mutation{
		{"roll.go", "a strategy may lose steps", "if m.ro.Step > last ||", "if false ||"},
		{"roll.go", "hosts that end again and again end the rollout", `why != "" {`, `why != "" && false {`},
		{"clock.go", "a crash begins the hold anew", "m.times.held = 0\n\t}\n\tswitch {", "}\n\tswitch {"},
		{"clock.go", "hosts that use up their memory end the rollout", "c.OOMKilled > oomKills(s):", "false:"},
		{"clock.go", "a crash that is not minded changes no hold", "if watched {", "if true {"},
		{"clock.go", "after a host has used up its memory a hold sees the next time", "|| (c.OOMKilled > 0 && watches(s, gateOOMKills))", "|| false"},
		{"clock.go", "after a crash a hold sees the next one", "return max(at.hold, 2*c.Served.Duration)", "return at.hold"},
		{"roll.go", "a step waits for its pods", "if u.Endpoints < need {\n\t\tm.route", "if false {\n\t\tm.route"},
		{"roll.go", "all pods are planned if nobody else serves", "s.Endpoints == 0 && s.Ready == 0 {", "s.Endpoints < 0 {"},
		{"roll.go", "a paused rollout gets no more traffic", "want = min(want, max(before, m.forward(0)))", "_ = before"},
		{"roll.go", "a gate that fails ends the rollout", "case gated && m.Gate == Fail:", "case false:"},
		{"roll.go", "a pause holds the rollout", "case m.Spec.Paused:\n\t\tm.say(StatePaused", "case false:\n\t\tm.say(StatePaused"},
		{"roll.go", "a gate without figures does not pass", "case gated && m.Gate == Broken:", "case false:"},
		{"roll.go", "a gate that was not asked does not pass", "case gated && m.Gate == NotRun:", "case false:"},
		{"roll.go", "a step is held for its time", "case left > 0 && !skip:", "case false:"},
		{"roll.go", "requests must follow the weight", "case gated && m.Observed == Differs && !m.resumed():", "case false:"},
		{"roll.go", "requests that do not follow the weight end nothing", "m.say(StateVerifying, v1alpha1.Paused,", "m.fail(\"\")\n\t\tm.say(StateVerifying, v1alpha1.Paused,"},
		{"roll.go", "a gate that cannot tell does not pass", "case gated && m.Gate == CannotTell && !m.resumed():", "case false:"},
		{"roll.go", "too few samples do not pass", "case gated && m.Gate == Inconclusive && !at.optional && !m.proceeds():", "case false:"},
		{"roll.go", "a step waits for its rows", "case gated && rows < at.rows && !m.resumed():", "case false:"},
		{"clock.go", "rows count that were counted before the controller was restarted", "now.Before = before\n", ""},
		{"clock.go", "rows are counted once", "now.Before = kept.Before", "_ = kept.Before"},
		{"clock.go", "rows of an earlier step do not count", "m.ro.Rows = nil\n", ""},
		{"clock.go", "nobody is alone whom another can relieve", "m.ro.Alone, m.times.alone = nil, 0", "_ = alone"},
		{"roll.go", "a version that serves alone is watched for the deadline", "wait := max(left, deadline(m.Spec.Strategy)-m.times.alone)", "wait := left"},
		{"roll.go", "a step waits for a user although nothing else can answer", " && !asksUser(all[m.ro.Step:])", ""},
		{"roll.go", "a step waits for a user", "case at.pause && !skip && !m.resumed():", "case false:"},
		{"roll.go", "a step's gates are its own", "if m.GateStep != m.ro.Step {", "if false {"},
		{"roll.go", "a resume is of one step", "r.Step >= m.ro.Step", "r.Step >= 0"},
		{"roll.go", "a resume is of one revision", "r.Revision == m.Update &&", ""},
		{"roll.go", "a pause has no deadline", "func (m *machine) waiting(state, message string) {\n\tif m.Spec.Paused {", "func (m *machine) waiting(state, message string) {\n\tif false {"},
		{"roll.go", "a wait has a deadline", "if m.times.waited > deadline(m.Spec.Strategy) &&", "if false &&"},
		{"roll.go", "the route must have the weights", "case !maps.Equal(m.Weights, m.plan.Weights):", "case !maps.Equal(m.Weights, m.plan.Weights) && false:"},
		{"roll.go", "the gateway must have accepted the weights", "case !m.Acked:", "case false:"},
		{"roll.go", "stable pods stay until the gateway has accepted", "if !m.Acked {\n\t\tn = max(", "if false {\n\t\tn = max("},
		{"roll.go", "stable pods stay until the route has the weights", "gone := min(m.plan.Weights[m.Update], m.Weights[m.Update])", "gone := m.plan.Weights[m.Update]"},
		{"roll.go", "a former revision with traffic stays", "if m.plan.Weights[old] > 0 || m.Weights[old] > 0 {", "if false {"},
		{"roll.go", "a former revision is removed", "if m.ro.KeepUntil == nil || !m.Now.Before(m.ro.KeepUntil.Time) {", "if false {"},
		{"clock.go", "time in which nobody looked does not count", "min(m.passed, longestGap)", "m.passed"},
		{"clock.go", "a clock that goes back takes nothing away", "d := max(0, min(", "d := max(-1<<62, min("},
		{"clock.go", "a hold is not a wait", "m.times.waited = max(0, m.times.waited-d)", "m.times.waited += d"},
		{"clock.go", "a pause counts for nothing", "if m.Status.Phase == v1alpha1.Paused {\n\t\treturn\n\t}\n\td :=", "d :="},
		{"roll.go", "progress begins a wait anew", "m.ro.Best = ready\n\t\tm.times.waited = 0", "m.ro.Best = ready"},
		{"roll.go", "pods that come back are no progress", "if ready > m.ro.Best {", "if ready > 0 {"},
	}
}
