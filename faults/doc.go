// Package faults tests a built host under faults from outside: too few descriptors,
// too little memory, full and vanishing disks, logs that nobody reads, signals, slow
// and lying clients, storms of requests, plugins that fork.
//
// Each scenario starts the real binary (HOSTTEST_BINARY, by default
// bin/pynomaly-runtime), sends good requests during the fault, and fails if a
// request is lost that must not be. A scenario is a row of a table, which
// FAULTS_TABLE=file writes as Markdown; docs/operations.md shows it.
//
// "go test ./faults" runs the short form, and "FAULTS=full go test ./faults" the
// whole. As root, the tests run in namespaces of their own (processes, mounts,
// network); HOSTTEST_ISOLATE=0 disables that. As another user, scenarios that need
// mounts or control groups are skipped; each has an unprivileged form, which always
// runs. FAULTS_SEED sets the random moments.
//
// What one package can show without a host process is tested in that package, such
// as a step of the clock, which takes an injected clock. cmd/pynomaly-runtime tests
// plugins that misbehave while they load or score, and e2e tests rollouts on
// clusters.
package faults
