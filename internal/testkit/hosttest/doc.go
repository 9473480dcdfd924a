// Package hosttest starts the built host for tests from outside: as a process, in an
// environment that the test chooses, under requests that must be answered.
//
// HOSTTEST_BINARY names the host (by default bin/pynomaly-runtime). As root, the
// tests run in namespaces of their own (processes, mounts, network);
// HOSTTEST_ISOLATE=0 disables that.
package hosttest
