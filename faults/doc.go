// Package faults holds the tests that do harm to a built host from outside and say
// what must hold meanwhile and afterwards: too few descriptors, too little memory, full
// and vanishing disks, logs that nobody reads, signals, slow and lying clients, storms,
// plugins that fork.
//
// Each scenario starts the real binary (HOSTTEST_BINARY, by default
// bin/pynomaly-runtime), sends good requests beside the harm, and fails if one of them
// is lost that must not be. A scenario becomes a row of a table, which FAULTS_TABLE=file
// writes as Markdown; docs/operations.md shows it.
//
// go test ./faults runs the short form, FAULTS=full go test ./faults the whole. Where
// the tests run as root, they do so in namespaces of their own (processes, mounts,
// network); HOSTTEST_ISOLATE=0 switches that off. As another user, scenarios that need
// mounts or control groups are left out; each has an unprivileged form, which runs
// always. FAULTS_SEED picks the random moments.
//
// What a single package can show without a host process is tested there, such as what
// a step of the clock does: that takes an injected clock. Plugins that misbehave while
// they load or score are tested in cmd/pynomaly-runtime, rollouts on clusters in e2e.
package faults
