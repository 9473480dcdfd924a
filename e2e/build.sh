#!/bin/sh
# Builds a program of the test cluster from Go modules into FILE: hyperkube, traefik,
# registry or pause. The first two take some minutes each the first time. prometheus is
# extracted from Debian's package.
set -eu
what=${1:?usage: build.sh hyperkube|traefik|registry|prometheus|pause FILE}
file=${2:?usage: build.sh hyperkube|traefik|registry|prometheus|pause FILE}
kubernetes=1.34.2
traefik=v3.6.12
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$(dirname "$file")"
file=$(cd "$(dirname "$file")" && pwd)/$(basename "$file")
export CGO_ENABLED=0 GOWORK=off GOFLAGS=-mod=mod
cd "$work"

source_of() { go mod download -json "$1" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",*$/\1/p'; }

case $what in
hyperkube)
	go mod init hyperkube 2>/dev/null
	dir=$(source_of "k8s.io/kubernetes@v$kubernetes")
	# Kubernetes replaces its libraries with directories of its repository. The libraries are
	# released with the same version number.
	go mod edit -require="k8s.io/kubernetes@v$kubernetes" -godebug=default=go1.24
	sed -n 's/^[[:space:]]*\(k8s.io\/[^ ]*\) => .*/\1/p' "$dir/go.mod" | while read -r module; do
		go mod edit -replace="$module=$module@v0.${kubernetes#1.}"
	done
	cat >main.go <<-'EOF'
		// Command hyperkube is the components of Kubernetes, by the name it is called by.
		package main

		import (
			"context"
			"os"
			"path/filepath"

			"github.com/spf13/cobra"
			"k8s.io/component-base/cli"
			apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
			controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
			proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
			scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
			kubelet "k8s.io/kubernetes/cmd/kubelet/app"
		)

		func main() {
			all := map[string]func() *cobra.Command{
				"kube-apiserver":          apiserver.NewAPIServerCommand,
				"kube-controller-manager": controllers.NewControllerManagerCommand,
				"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
				"kube-proxy":              proxy.NewProxyCommand,
				"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
			}
			if component := all[filepath.Base(os.Args[0])]; component != nil {
				os.Exit(cli.Run(component()))
			}
			os.Exit(2)
		}
	EOF
	go mod tidy >/dev/null 2>&1
	go build -trimpath -ldflags '-s -w' -o "$file" .
	;;
traefik)
	go mod init traefik 2>/dev/null
	dir=$(source_of "github.com/traefik/traefik/v3@$traefik")
	go mod edit -require="github.com/traefik/traefik/v3@$traefik"
	sed -n '/^replace/,$p' "$dir/go.mod" >>go.mod
	printf '//go:build tools\n\npackage tools\n\nimport _ "github.com/traefik/traefik/v3/cmd/traefik"\n' >tools.go
	go mod tidy -e >/dev/null 2>&1 || true
	go build -trimpath -ldflags '-s -w' -o "$file" github.com/traefik/traefik/v3/cmd/traefik
	;;
registry)
	cd "$here/../tools/registry"
	GOFLAGS= go build -trimpath -ldflags '-s -w' -o "$file" github.com/distribution/distribution/v3/cmd/registry
	;;
prometheus)
	apt-get download prometheus >/dev/null 2>&1 || { apt-get update -qq && apt-get download prometheus >/dev/null 2>&1; }
	dpkg-deb -x prometheus_*.deb .
	install usr/bin/prometheus "$file"
	;;
pause)
	cat >main.go <<-'EOF'
		// Command pause holds a pod's namespaces until it is told to end.
		package main

		import (
			"os"
			"os/signal"
			"syscall"
		)

		func main() {
			end := make(chan os.Signal, 1)
			signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
			<-end
		}
	EOF
	go mod init pause 2>/dev/null
	go build -trimpath -ldflags '-s -w' -o pause .
	tar -cf layer.tar pause
	cat >config.json <<-EOF
		{"os": "linux", "architecture": "$(go env GOARCH)", "config": {"Entrypoint": ["/pause"]},
		 "rootfs": {"type": "layers", "diff_ids": ["sha256:$(sha256sum layer.tar | cut -d' ' -f1)"]}}
	EOF
	echo '[{"Config": "config.json", "RepoTags": ["registry.k8s.io/pause:3.10"], "Layers": ["layer.tar"]}]' >manifest.json
	tar -cf "$file" manifest.json config.json layer.tar
	;;
*)
	echo "build.sh: $what is not one of hyperkube, traefik, registry, prometheus, pause" >&2
	exit 2
	;;
esac
