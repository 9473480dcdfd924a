#!/usr/bin/env bash
# A Kubernetes node for the tests, without Docker: etcd, the API server, controllers,
# scheduler, containerd, kubelet, kube-proxy, and Traefik as the Gateway. All of it runs
# in a network namespace without a way out.
#
#   cluster.sh tools [NAME...]  installs Debian's packages, and builds missing programs and
#                               those that build.sh knows by these names
#   cluster.sh up | down
#   cluster.sh second | unplug  starts a second node in a network of its own, and ends it as if
#                               somebody had pulled its plug
#   cluster.sh exec COMMAND...  runs a command in its network, with KUBECONFIG set
#   cluster.sh load IMAGE.tar [NAME OTHER-NAME]
#                               loads an image, optionally also under another name
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
state=${E2E_DIR:-/var/tmp/pynomaly-e2e}
bin=$state/bin
net=pynomaly-e2e
address=192.0.2.20
services=10.97.0.0/16
pods=10.245.0.0/16
export KUBECONFIG=$state/admin.kubeconfig

fail() { echo "cluster.sh: $*" >&2; exit 1; }

tools() {
	local packages=(etcd-server containerd runc containernetworking-plugins iptables iproute2 conntrack ipset socat zstd openssl)
	command -v kubectl >/dev/null || packages+=(kubernetes-client)
	if ! dpkg -s "${packages[@]}" >/dev/null 2>&1; then
		apt-get update -qq
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
	fi
	mkdir -p "$bin"
	# Archives may have been built before; building each takes some minutes.
	local ahead=${E2E_PREBUILT:-$here/../../shared/bin}
	for name in hyperkube traefik; do
		[ -x "$bin/$name" ] && continue
		if [ -f "$ahead/$name.zst" ] && (cd "$ahead" && grep " $name.zst\$" SHA256SUMS | sha256sum --quiet -c -); then
			unzstd -q -f -o "$bin/$name" "$ahead/$name.zst"
			chmod 755 "$bin/$name"
		else
			"$here/build.sh" "$name" "$bin/$name"
		fi
	done
	for name in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do
		ln -sf hyperkube "$bin/$name"
	done
	for name in "$@"; do
		[ -x "$bin/$name" ] || "$here/build.sh" "$name" "$bin/$name"
	done
	[ -f "$state/pause.tar" ] || "$here/build.sh" pause "$state/pause.tar"
}

inside() { E2E_BIN=$bin nsenter --net="/run/netns/$net" "$@"; }

daemon() { # name command...
	local name=$1
	shift
	setsid nsenter --net="/run/netns/$net" "$@" >"$state/logs/$name.log" 2>&1 &
	echo $! >"$state/run/$name.pid"
}

end() { # name
	local file=$state/run/$1.pid pid
	[ -f "$file" ] || return 0
	pid=$(cat "$file")
	kill "${2:--TERM}" "$pid" 2>/dev/null || true
	for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
	kill -9 "$pid" 2>/dev/null || true
	rm -f "$file"
}

await() { # what seconds command...
	local what=$1 until=$((SECONDS + $2))
	shift 2
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $until ] || fail "$what did not start: see $state/logs"
		sleep 0.3
	done
}

network() {
	ip netns add $net 2>/dev/null || true
	ip -n $net link set lo up
	# A pair of interfaces replaces the node's own: not every kernel has dummy ones.
	ip -n $net link add node type veth peer name peer 2>/dev/null || true
	ip -n $net addr replace $address/24 dev node
	ip -n $net link set node up
	ip -n $net link set peer up
	ip -n $net route replace $services dev node # service addresses are looked up before they are rewritten
	inside sysctl -qw net.ipv4.ip_forward=1
}

sign() { # file subject names
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.csr" -subj "$2" 2>/dev/null
	openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -out "$1.crt" -days 30 \
		-extfile <(printf 'subjectAltName=%s\n' "$3") 2>/dev/null
}

kubeconfig() { # user [address of the API server]
	cat >"$state/$1.kubeconfig" <<-EOF
		apiVersion: v1
		kind: Config
		current-context: it
		contexts: [{name: it, context: {cluster: it, user: $1}}]
		clusters: [{name: it, cluster: {server: "https://${2:-127.0.0.1}:6443", certificate-authority: $state/pki/ca.crt}}]
		users: [{name: $1, user: {client-certificate: $state/pki/$1.crt, client-key: $state/pki/$1.key}}]
	EOF
}

keys() {
	cd "$state/pki"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days 30 -subj /CN=e2e 2>/dev/null
	openssl genrsa -out accounts.key 2048 2>/dev/null
	openssl rsa -in accounts.key -pubout -out accounts.pub 2>/dev/null
	sign apiserver /CN=apiserver "IP:127.0.0.1,IP:$address,IP:10.97.0.1,DNS:kubernetes.default.svc"
	sign kubelet /O=system:nodes/CN=system:node:node "DNS:node,IP:$address"
	sign admin /O=system:masters/CN=admin DNS:admin
	for user in admin kubelet; do kubeconfig $user; done
	cd - >/dev/null
}

configure() { # directory, number of the node, name of the kubelet
	cat >"$1/containerd.toml" <<-EOF
		version = 2
		root = "$1/containerd/root"
		state = "$1/containerd/state"
		[grpc]
		address = "$1/containerd.sock"
		[ttrpc]
		address = "$1/containerd.sock.ttrpc"
		[plugins."io.containerd.grpc.v1.cri"]
		sandbox_image = "registry.k8s.io/pause:3.10"
		restrict_oom_score_adj = true
		[plugins."io.containerd.grpc.v1.cri".cni]
		bin_dir = "/usr/lib/cni"
		conf_dir = "$1/cni"
		[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
		runtime_type = "io.containerd.runc.v2"
	EOF
	cat >"$1/cni/10-pods.conflist" <<-EOF
		{"cniVersion": "0.4.0", "name": "pods$2", "plugins": [
		 {"type": "bridge", "bridge": "pods0", "isGateway": true, "hairpinMode": true,
		  "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.245.$2.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
	EOF
	cat >"$1/kubelet.yaml" <<-EOF
		apiVersion: kubelet.config.k8s.io/v1beta1
		kind: KubeletConfiguration
		authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $state/pki/ca.crt}}
		authorization: {mode: Webhook}
		cgroupDriver: cgroupfs
		cgroupRoot: $(cgroup "$2")
		containerRuntimeEndpoint: unix://$1/containerd.sock
		evictionHard: {}
		failSwapOn: false
		featureGates: {KubeletInUserNamespace: true}
		localStorageCapacityIsolation: false
		tlsCertFile: $state/pki/$3.crt
		tlsPrivateKeyFile: $state/pki/$3.key
	EOF
}

# Each kubelet ends the processes in its control group that are of no pod of its own.
cgroup() { # number of the node
	[ "$1" = 0 ] && { echo /; return; }
	local dir file
	for dir in /sys/fs/cgroup /sys/fs/cgroup/*/; do
		[ -f "$dir/cgroup.procs" ] || continue
		mkdir -p "$dir/pynomaly-e2e-$1"
		for file in cpuset.cpus cpuset.mems; do
			[ -s "$dir/$file" ] && cat "$dir/$file" >"$dir/pynomaly-e2e-$1/$file" 2>/dev/null || true
		done
	done
	echo "/pynomaly-e2e-$1"
}

ready() { inside kubectl get node "$1" --no-headers | grep -q ' Ready '; }

up() {
	[ "$(id -u)" = 0 ] || fail "root is needed: network namespaces, containers"
	unshare --net true 2>/dev/null || fail "this system does not allow network namespaces"
	command -v kubectl >/dev/null || fail "kubectl is needed"
	[ -x "$bin/hyperkube" ] || fail "run cluster.sh tools first"
	down >/dev/null 2>&1
	mkdir -p "$state"/{pki,logs,run,cni,containerd}
	network
	keys
	configure "$state" 0 kubelet
	daemon etcd etcd --data-dir "$state/etcd" --unsafe-no-fsync --listen-client-urls http://127.0.0.1:2379 \
		--advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380
	daemon apiserver "$bin/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --secure-port=6443 --advertise-address=$address \
		--tls-cert-file="$state/pki/apiserver.crt" --tls-private-key-file="$state/pki/apiserver.key" --client-ca-file="$state/pki/ca.crt" \
		--service-account-key-file="$state/pki/accounts.pub" --service-account-signing-key-file="$state/pki/accounts.key" \
		--service-account-issuer=https://kubernetes.default.svc --authorization-mode=Node,RBAC --service-cluster-ip-range=$services --allow-privileged=true \
		--kubelet-client-certificate="$state/pki/admin.crt" --kubelet-client-key="$state/pki/admin.key" --kubelet-preferred-address-types=InternalIP
	await "the API server" 600 inside kubectl get --raw /readyz
	daemon controllers "$bin/kube-controller-manager" --kubeconfig="$KUBECONFIG" --service-account-private-key-file="$state/pki/accounts.key" \
		--root-ca-file="$state/pki/ca.crt" --use-service-account-credentials=true --leader-elect=false
	daemon scheduler "$bin/kube-scheduler" --kubeconfig="$KUBECONFIG" --leader-elect=false
	daemon containerd containerd -c "$state/containerd.toml"
	await containerd 600 ctr -a "$state/containerd.sock" version
	load "$state/pause.tar"
	daemon kubelet "$bin/kubelet" --config="$state/kubelet.yaml" --kubeconfig="$state/kubelet.kubeconfig" --hostname-override=node \
		--node-ip=$address --root-dir="$state/kubelet"
	daemon proxy "$bin/kube-proxy" --kubeconfig="$KUBECONFIG" --hostname-override=node --proxy-mode=iptables --cluster-cidr=$pods \
		--conntrack-max-per-core=0 --conntrack-min=0
	await "the node" 600 ready node
	local crds
	crds=$(cd "$here/.." && ${GO:-go} list -m -f '{{.Dir}}' sigs.k8s.io/gateway-api)/config/crd/standard
	inside kubectl apply --server-side -f "$crds" >/dev/null
	inside kubectl apply -f "$here/gateway.yaml" >/dev/null
	# Traefik sends requests to the Services: if a Service has only terminating pods, kube-proxy
	# still uses them, while a gateway that picks pods itself does not.
	daemon traefik "$bin/traefik" --global.sendanonymoususage=false --global.checknewversion=false --entrypoints.web.address=:8000 \
		--entrypoints.metrics.address=:9100 --metrics.prometheus=true --metrics.prometheus.entrypoint=metrics --metrics.prometheus.addserviceslabels=true \
		--providers.kubernetesgateway=true --providers.kubernetesgateway.nativelbbydefault=true --providers.providersthrottleduration=100ms --log.level=WARN
	inside kubectl get nodes
}

# The second node is reached through a pair of interfaces. It has the images of the first one,
# except those that are loaded later.
second() {
	local dir=$state/second other=$net-2
	ip netns add "$other"
	ip -n "$other" link set lo up
	ip -n "$net" link add second type veth peer name node netns "$other"
	ip -n "$net" addr replace 192.0.3.1/24 dev second
	ip -n "$net" link set second up
	ip -n "$other" addr replace 192.0.3.2/24 dev node
	ip -n "$other" link set node up
	ip -n "$other" route replace default via 192.0.3.1
	ip -n "$net" route replace 10.245.1.0/24 via 192.0.3.2
	mkdir -p "$dir"/{cni,containerd}
	cd "$state/pki"
	sign second /O=system:nodes/CN=system:node:second "DNS:second,IP:192.0.3.2"
	cd - >/dev/null
	kubeconfig second $address
	sed "s/127.0.0.1/$address/" "$KUBECONFIG" >"$dir/admin.kubeconfig"
	configure "$dir" 1 second
	net=$other inside sysctl -qw net.ipv4.ip_forward=1
	net=$other daemon containerd-2 containerd -c "$dir/containerd.toml"
	await "the second containerd" 600 ctr -a "$dir/containerd.sock" version
	local images
	mapfile -t images < <(ctr -a "$state/containerd.sock" -n k8s.io images ls -q | grep -v ^sha256:)
	ctr -a "$state/containerd.sock" -n k8s.io images export "$dir/images.tar" "${images[@]}"
	ctr -a "$dir/containerd.sock" -n k8s.io images import "$dir/images.tar" >/dev/null
	rm "$dir/images.tar"
	net=$other daemon kubelet-2 "$bin/kubelet" --config="$dir/kubelet.yaml" --kubeconfig="$state/second.kubeconfig" --hostname-override=second \
		--node-ip=192.0.3.2 --root-dir="$dir/kubelet"
	net=$other daemon proxy-2 "$bin/kube-proxy" --kubeconfig="$dir/admin.kubeconfig" --hostname-override=second --proxy-mode=iptables --cluster-cidr=$pods \
		--conntrack-max-per-core=0 --conntrack-min=0
	await "the second node" 600 ready second
}

unplug() {
	local dir=$state/second
	end kubelet-2 -KILL
	tasks "$dir"
	end proxy-2
	end containerd-2
	shims "$dir"
	ip netns del "$net-2" 2>/dev/null || true
	ip -n "$net" link del second 2>/dev/null || true
	awk -v under="$dir/" 'index($2, under) == 1 {print $2}' /proc/mounts | sort -r | while read -r mount; do umount -l "$mount" 2>/dev/null || true; done
	rm -rf "$dir"
	# Control groups are directories without files of their own.
	for _ in $(seq 20); do
		find /sys/fs/cgroup -depth -type d -path "*/pynomaly-e2e-1*" -exec rmdir {} + 2>/dev/null || true
		find /sys/fs/cgroup -maxdepth 2 -type d -name pynomaly-e2e-1 2>/dev/null | grep -q . || break
		sleep 0.2
	done
}

# Pods must end before the programs that run them, so that no mount or namespace is left.
tasks() { # directory of the node
	[ -S "$1/containerd.sock" ] || return 0
	local task
	for task in $(ctr -a "$1/containerd.sock" -n k8s.io tasks ls -q 2>/dev/null); do
		ctr -a "$1/containerd.sock" -n k8s.io tasks kill -s KILL "$task" 2>/dev/null || true
	done
	sleep 1
}

# Shims are separate processes. Their command lines name their containerd's socket.
shims() { # directory of the node
	local file
	for file in /proc/[0-9]*/cmdline; do
		if tr '\0' ' ' <"$file" 2>/dev/null | grep -q "containerd-shim.*-address $1/containerd.sock"; then
			kill -9 "$(echo "$file" | cut -d/ -f3)" 2>/dev/null || true
		fi
	done
}

load() { # archive [name other-name]
	ctr -a "$state/containerd.sock" -n k8s.io images import "$1" >/dev/null
	[ $# -lt 3 ] || ctr -a "$state/containerd.sock" -n k8s.io images tag --force "docker.io/library/$2" "$3" >/dev/null
}

down() {
	unplug
	end kubelet
	tasks "$state"
	local file
	for file in "$state"/run/*.pid; do
		[ -f "$file" ] && end "$(basename "$file" .pid)"
	done
	shims "$state"
	awk -v under="$state/" 'index($2, under) == 1 {print $2}' /proc/mounts | sort -r | while read -r mount; do umount -l "$mount" 2>/dev/null || true; done
	ip netns del $net 2>/dev/null || true
	# Each pod had a network namespace, named by containerd.
	for mount in $(awk '$2 ~ "^/run/netns/cni-" {print $2}' /proc/mounts); do
		ip netns pids "$(basename "$mount")" 2>/dev/null | grep -q . || ip netns del "$(basename "$mount")" 2>/dev/null || true
	done
	rm -rf "$state"/{etcd,pki,cni,containerd,kubelet,run,containerd.sock,containerd.sock.ttrpc}
}

command=${1:-}
shift || true
case $command in
tools | up | down | second | unplug) "$command" "$@" ;;
load) load "$@" ;;
exec) inside "$@" ;;
*)
	grep '^#  ' "$0" >&2
	exit 2
	;;
esac
