// Package e2e rolls out models on a real cluster, under load through its gateway,
// and counts what is lost. The tests need the tag e2e: `make e2e` starts a cluster
// and runs them. With KUBECONFIG they run on that cluster.
package e2e
