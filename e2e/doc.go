// Package e2e rolls models out on a real cluster, under load through its gateway, and
// counts what is lost. Its tests are built with the tag e2e: `make e2e` brings a cluster
// up and runs them; with KUBECONFIG they run on that cluster.
package e2e
