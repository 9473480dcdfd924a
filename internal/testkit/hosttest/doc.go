// Package hosttest starts the built host for tests that look at it from outside: as a
// process of its own, in surroundings that a test chooses, under requests that must be
// answered.
//
// HOSTTEST_BINARY names the host (by default bin/pynomaly-runtime). Where the tests run as
// root, they do so in namespaces of their own (processes, mounts, network);
// HOSTTEST_ISOLATE=0 switches that off.
package hosttest
