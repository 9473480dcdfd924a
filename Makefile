# pynomaly-runtime. `make help` lists what can be made: `##` begins a line of it.

SHELL   := /bin/sh
GO      ?= go
PYTHON  ?= python3
VERSION ?= $(shell cat VERSION)
BIN     := bin
BINARY  := $(BIN)/pynomaly-runtime
PORT    ?= 8080

export GOWORK = off
# The tests' binaries do not stand beside the library.
export PYNOMALY_BACKENDS_ONNX_LIBRARY = $(CURDIR)/$(BIN)/libonnxruntime.so.1.28.0

MODULES  := . sdk sdk/process bench tools tools/kubernetes
DETECTORS := copod ecod hbos hstrees
LDFLAGS  := -s -w -X main.version=$(VERSION)
LINT     := $(GO) tool -modfile=$(CURDIR)/tools/go.mod golangci-lint
FUZZTIME ?= 30s
MUTANTS  ?= 20000
# Far off: it only ends what hangs.
TIMEOUT  ?= 90m

.PHONY: help check cross release build detectors samples run test test-full test-slow test-differential differential differential-table pyarrow-files test-faults faults faults-table test-hostile hostile-table gates gates-table test-go test-build test-meter test-python test-api test-chart test-monitoring python proto toolchains guests guests-update hostile lint bench kernels soak fuzz image image-debug e2e e2e-full simulate crds onnxruntime base-images clean

help: ## lists this
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS="$$(printf '\t')" read -r name text; do printf '%-14s %s\n' "$$name" "$$text"; done

# What make check leaves to make test: packages whose tests start processes or walk long.
SLOW := /cmd/|/examples|/faults$$|/hostile$$|/plugins|/backends/onnx$$|/backends/process$$|/backends/wasm$$|/backends/wasm/meter$$|/runtime$$|/api/rest$$|/deployer/controller$$|/internal/(child|testkit|plugindev|conformance)|/testdata

check: ## what to run before a commit: no root, and no network once fetched
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo 'not formatted:'; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) test -vet=off $$($(GO) list ./... | grep -vE '$(SLOW)')
	cd sdk && $(GO) test ./...

# The host for other platforms. CROSS='darwin/arm64:0' builds one: whether with cgo
# comes after the colon.
cross: ## builds the host for linux and darwin, amd64 and arm64, with and without cgo
	scripts/cross.sh $(CROSS)

# Archives, packages, checksums and SBOMs in dist/release. PUBLISH=1 publishes the tag that
# is checked out; otherwise it is a snapshot.
release: ## archives, deb, rpm, checksums and SBOMs of a snapshot, in dist/release
	scripts/release.sh $(if $(PUBLISH),,--snapshot)

build: detectors ## builds the host, and the reference detectors
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BINARY) ./cmd/pynomaly-runtime

# The reference detectors as WASM modules, which `model fit` puts into models, and
# of the same sources as process plugins.
detectors:
	@for name in $(DETECTORS); do \
		CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(BIN)/plugins/$$name ./plugins/$$name/process || exit 1; \
		GOOS=wasip1 GOARCH=wasm CGO_ENABLED=0 $(GO) build -buildmode=c-shared -trimpath -ldflags '-s -w' -o $(BIN)/plugins/$$name.wasm ./plugins/$$name/module || exit 1; \
	done

onnxruntime: ## fetches ONNX Runtime, checked against its sha256
	@scripts/onnxruntime.sh $(BIN)

# The sample models, and two detectors in Go that are fitted on the spot.
samples: onnxruntime build ## builds the models that make run serves
	@rm -rf $(BIN)/models && cp -R testdata/models $(BIN)/models
	@for name in ecod hstrees; do \
		$(BINARY) model fit $$name --data testdata/reference/data/pima-train.csv --id $$name-go --models $(BIN)/models --contamination 0.2 --window 100 || exit 1; \
	done

run: samples ## fetches, builds and serves the sample models, and prints requests to try
	@echo
	@echo 'Serving $(BIN)/models: ONNX graphs, and plugins in C, Rust, AssemblyScript and Go. Once it says "model loaded", try:'
	@echo
	@echo "  curl -s http://127.0.0.1:$(PORT)/api/v1/predict -H 'Content-Type: application/json' -d '{\"model_id\": \"ecod-rust\", \"data\": [8, 155, 62, 26, 495, 34, 0.543, 46], \"return_explanation\": true}'"
	@echo "  curl -s http://127.0.0.1:$(PORT)/api/v1/predict -H 'Content-Type: application/json' -d '{\"model_id\": \"pima-lof\", \"data\": {\"f0\": 8, \"f1\": 155, \"f2\": 62, \"f3\": 26, \"f4\": 495, \"f5\": 34, \"f6\": 0.543, \"f7\": 46}, \"return_explanation\": true}'"
	@echo
	@env -u PYNOMALY_BACKENDS_ONNX_LIBRARY $(BINARY) serve --config plugins.yaml --models $(BIN)/models --port $(PORT)

test: test-build test-go test-meter test-python test-api test-chart test-monitoring test-differential test-faults test-hostile ## runs every test

# All tests, and what takes longer than a change should wait for: a fresh clone of the
# README's reader, harm in its whole form, an hour of differential trials, and some seconds
# of each fuzz target.
test-full: export PYNOMALY_TEST_FULL = 1
test-full: DIFFERENTIAL = $(DIFFERENTIAL_TIME)
test-full: test faults hostile gates ## the same and what takes longer: a fresh clone, all harm, some fuzzing
	$(MAKE) fuzz FUZZTIME=5s

# The same on a machine that does something else, too: a load of 10 beside it.
test-slow: ## make test beside a load of 10
	scripts/beside-load.sh 10 $(MAKE) test

# Everything builds, without cgo, too.
test-build:
	CGO_ENABLED=0 $(GO) build ./...
	cd sdk && CGO_ENABLED=0 $(GO) build ./...
	cd sdk/process && CGO_ENABLED=0 $(GO) build ./...

test-go: onnxruntime python ## the tests in Go
	cd sdk && $(GO) test -race -timeout $(TIMEOUT) ./...
	cd sdk/process && $(GO) test -race -timeout $(TIMEOUT) ./...
	cd tools/registry && $(GO) build -o /dev/null github.com/distribution/distribution/v3/cmd/registry # minutes, which are no test's
	$(GO) test -race -timeout $(TIMEOUT) $$($(GO) list ./... | grep -v -e /faults$$ -e /hostile$$)
	cd bench && $(GO) test -timeout $(TIMEOUT) ./...
	cd tools && $(GO) test -timeout $(TIMEOUT) ./pin

# Rewritten modules in a second engine: they validate and do the same, and no
# invalid module has become valid.
test-meter: .python/.complete
	@mkdir -p $(BIN)
	$(GO) run ./testdata/make/pairs -in backends/wasm/meter/testdata/smith.zip -out $(BIN)/pairs.zip
	PYTHONPATH=.python $(PYTHON) scripts/second_engine.py $(BIN)/pairs.zip
	$(GO) run ./testdata/make/pairs -in backends/wasm/meter/testdata/smith.zip -mutants $(MUTANTS) -seed 1 -out $(BIN)/mutants.zip
	PYTHONPATH=.python $(PYTHON) scripts/second_engine.py --validate $(BIN)/mutants.zip

# What the sample plugins in C, Rust and AssemblyScript are built with; nothing else
# needs it.
toolchains: ## installs the compilers that make guests needs
	@scripts/toolchains.sh

# Builds the sample plugins anew and compares what they do.
guests: build ## builds the sample plugins in C, Rust and AssemblyScript anew and compares them
	scripts/guests.sh $(BINARY)

guests-update: build
	scripts/guests.sh $(BINARY) update

# An interpreter with the Python SDK's dependencies and what its example needs.
python: .python-plugin/.complete

.python-plugin/.complete: scripts/requirements-python.txt
	rm -rf .python-plugin
	$(PYTHON) -m venv .python-plugin
	.python-plugin/bin/pip install --quiet --disable-pip-version-check --require-hashes -r scripts/requirements-python.txt
	touch $@

test-python: python ## the tests of the Python SDK
	cd sdk/python && PYTHONPATH=. ../../.python-plugin/bin/python -m pytest --quiet

# The Helm chart: linted, rendered, and the same as what the commands print.
test-chart: $(BIN)/helm
	$(GO) test -tags chart ./deployer/render

$(BIN)/helm: tools/helm/go.mod
	cd tools/helm && CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ helm.sh/helm/v4/cmd/helm

# Alerting rules, dashboards and metrics by Prometheus's own tools, and by a Prometheus that
# reads a host.
test-monitoring: onnxruntime build $(BIN)/promtool $(BIN)/prometheus
	$(BIN)/promtool check rules --lint all --lint-fatal docs/alerts.yaml
	$(BIN)/promtool test rules docs/alerts_test.yaml
	$(GO) test -tags monitoring ./monitoring -count 1 -timeout $(TIMEOUT)

$(BIN)/promtool $(BIN)/prometheus: tools/prometheus/go.mod
	cd tools/prometheus && CGO_ENABLED=0 $(GO) build -tags remove_all_sd -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ github.com/prometheus/prometheus/cmd/$(notdir $@)

# The protocol of process plugins: linted, and its code generated.
proto: ## generates the code of the protocol of process plugins
	scripts/proto.sh

# Random models and rows through every door of the built host, against a reference in Python.
# A round depends on SEED and its number alone; DIFFERENTIAL_ROUND makes that one again.
# DIFFERENTIAL says how long, DIFFERENTIAL_TIME how long in make test-full.
DIFFERENTIAL      ?= 60s
DIFFERENTIAL_TIME ?= 1h
SEED              ?= 1
TRIALS = .python-differential/bin/python tools/differential --seed $(SEED) --time $(DIFFERENTIAL) $(if $(DIFFERENTIAL_ROUND),--round $(DIFFERENTIAL_ROUND))

test-differential differential: onnxruntime build .python-differential/.complete
	$(TRIALS)

differential: ## compares random rows at every door with a reference (DIFFERENTIAL=60s SEED=1)

# The table that docs/correctness.md shows.
differential-table: DIFFERENTIAL = 10m
differential-table: onnxruntime build .python-differential/.complete
	$(TRIALS) --table $(BIN)/differential.md
	scripts/table.sh differential $(BIN)/differential.md docs/correctness.md

.python-differential/.complete: scripts/requirements-differential.txt
	rm -rf .python-differential
	$(PYTHON) -m venv .python-differential
	.python-differential/bin/pip install --quiet --disable-pip-version-check --require-hashes -r scripts/requirements-differential.txt
	touch $@

# The Parquet files that the tests of internal/table read, anew.
pyarrow-files: .python-differential/.complete
	.python-differential/bin/python testdata/make/parquet.py internal/table/testdata/pyarrow.zip

# Harm done to the built host from outside: the short form. It runs alone, since it
# measures.
test-faults: onnxruntime build
	$(GO) test ./faults -count 1 -timeout $(TIMEOUT)

# The whole, as a table: FAULTS_RUN names scenarios, FAULTS_TABLE a file for Markdown. As
# root, all runs in namespaces of its own.
FAULTS_RUN ?= .

faults: onnxruntime build ## does harm to a built host from outside, and prints a table
	FAULTS=full FAULTS_TABLE=$(if $(FAULTS_TABLE),$(abspath $(FAULTS_TABLE))) $(GO) test ./faults -count 1 -timeout $(TIMEOUT) -v -run 'TestFaults/$(FAULTS_RUN)'

# The table that docs/operations.md shows.
faults-table:
	$(MAKE) faults FAULTS_TABLE=$(BIN)/faults.md
	scripts/table.sh faults $(BIN)/faults.md docs/operations.md

# Everything that means harm on one built host, in groups. It runs alone, since it measures.
test-hostile: onnxruntime build
	$(GO) test ./hostile -count 1 -timeout $(TIMEOUT)

# The same one by one, as a table: HOSTILE_RUN is a regular expression of cases,
# HOSTILE_TABLE a file for Markdown.
hostile: onnxruntime build ## lets a built host meet everything that means harm, and prints a table
	HOSTILE=full HOSTILE_RUN='$(HOSTILE_RUN)' HOSTILE_TABLE=$(if $(HOSTILE_TABLE),$(abspath $(HOSTILE_TABLE))) $(GO) test ./hostile -count 1 -timeout $(TIMEOUT) -v -run TestCorpus

# The table that docs/hostile.md shows.
hostile-table:
	$(MAKE) hostile HOSTILE_TABLE=$(BIN)/hostile.md
	scripts/table.sh hostile $(BIN)/hostile.md docs/hostile.md

# How often gates fail good versions, and find bad ones: `make test` runs a short form.
# GATES_TABLE is a file for Markdown.
gates: ## power and false alarms of the deployer's gates, by simulation, as a table
	GATES=full GATES_TABLE=$(if $(GATES_TABLE),$(abspath $(GATES_TABLE))) $(GO) test ./deployer/gate -count 1 -timeout $(TIMEOUT) -v -run 'TestPower$$'

# The table that docs/deployer.md shows.
gates-table:
	$(MAKE) gates GATES_TABLE=$(BIN)/gates.md
	scripts/table.sh gates $(BIN)/gates.md docs/deployer.md

# The served API against its own description.
test-api: onnxruntime build .python/.complete
	PYTHON=$(PYTHON) scripts/schemathesis.sh $(BINARY)

.python/.complete: scripts/requirements.txt
	rm -rf .python
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --require-hashes --target .python -r scripts/requirements.txt
	touch $@

lint: ## formatting, go.mod files and the linter, in every module
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo 'not formatted:'; gofmt -l $$(git ls-files '*.go'); exit 1; }
	@for m in $(MODULES); do (cd $$m && $(GO) mod tidy -diff >/dev/null) || { echo "go.mod of $$m is not tidy: run go mod tidy in it"; exit 1; }; done
	$(LINT) run ./...
	cd sdk && $(LINT) run --config ../.golangci.yml ./...
	cd sdk/process && $(LINT) run --config ../../.golangci.yml ./...
	cd bench && $(LINT) run --config ../.golangci.yml ./...
	cd tools && $(LINT) run --config ../.golangci.yml ./...

# BENCH='-only lifecycle -other old-runtime' runs parts, and compares with another build.
bench: onnxruntime build ## prints the tables of docs/rationale.md
	cd bench && $(GO) build -o ../$(BIN)/bench .
	$(BIN)/bench -binary $(BINARY) -testdata testdata $(BENCH)

# The modules of the metering part of the benchmark. They are checked in, built by clang and lld 14.0.6.
KERNELS := bench/testdata/kernels
WASM    := clang --target=wasm32 -nostdlib -Wl,--no-entry,--strip-all

kernels:
	$(WASM) -O3 -ffreestanding -o $(KERNELS)/kernels.wasm $(KERNELS)/kernels.c
	$(WASM) -O3 -ffreestanding -msimd128 -o $(KERNELS)/kernels-simd.wasm $(KERNELS)/kernels.c
	$(WASM) -O3 -ffreestanding -mbulk-memory -o $(KERNELS)/hostile.wasm $(KERNELS)/hostile.c
	$(WASM) -mreference-types -o $(KERNELS)/table.wasm $(KERNELS)/table.s
	chmod 644 $(KERNELS)/*.wasm

soak: onnxruntime build ## sends mixed traffic for two minutes and looks for leaks
	cd bench && $(GO) build -o ../$(BIN)/soak ./soak
	$(BIN)/soak -binary $(BINARY) -testdata testdata

# Every fuzz target for FUZZTIME; `make test` runs their seeds.
fuzz: onnxruntime ## runs every fuzz target for FUZZTIME (30s)
	@for package in $$($(GO) list ./... github.com/pynomaly/pynomaly-runtime/sdk/wasm github.com/pynomaly/pynomaly-runtime/sdk/process/...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep ^Fuzz); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5s $$package || exit 1; \
		done; \
	done

# Archives for docker load, podman load or ctr images import; no daemon is needed.
MODELS ?= $(CURDIR)/testdata/models
IMAGE := -binary $(CURDIR)/$(BINARY) -library $(CURDIR)/$(BIN)/libonnxruntime.so.1.28.0 -models $(abspath $(MODELS)) -detectors $(CURDIR)/$(BIN)/plugins -config $(CURDIR)/plugins.yaml -version $(VERSION)

image: onnxruntime build ## writes a container image, without a daemon
	cd tools && $(GO) run ./image $(IMAGE) -out $(CURDIR)/dist/pynomaly-runtime.tar

# Writes the digests of the Dockerfile's base images into it, as their registries tell them;
# a release is built from such a file. `make image` takes no base image.
base-images:
	cd tools && $(GO) run ./pin $(CURDIR)/Dockerfile

image-debug: onnxruntime build ## the same with a shell
	cd tools && $(GO) run ./image $(IMAGE) -debug -out $(CURDIR)/dist/pynomaly-runtime-debug.tar

clean: ## removes what was built and fetched
	rm -rf $(BIN) dist .python .python-plugin .python-differential .cross

# Rollouts on a real cluster, under load. Without KUBECONFIG a node is brought up in a
# network namespace of its own, which takes root; with it, that cluster is used: the image
# must be there, and E2E_GATEWAY say where its Gateway answers.
IMAGE_E2E = $(subst $(abspath $(MODELS)),$(CURDIR)/$(BIN)/e2e-models,$(IMAGE)) -version e2e
# The scenarios that every change must pass; the others are e2e-full's.
E2E_RUN   ?= TestRollouts|TestAdmission|TestVerbs|TestRestoreKilled
E2E_TIMEOUT ?= 40m

e2e: onnxruntime build ## rolls versions out on a real Kubernetes node (root)
	e2e/models.sh $(BIN)/e2e-models
	$(GO) test -c -tags e2e -o $(BIN)/e2e.test ./e2e
	@if [ -n "$$KUBECONFIG" ]; then \
		cd e2e && ../$(BIN)/e2e.test -test.v -test.run '$(E2E_RUN)' -test.timeout $(E2E_TIMEOUT); \
	else \
		(cd tools && $(GO) run ./image $(IMAGE_E2E) -out $(CURDIR)/dist/pynomaly-runtime-e2e.tar) && \
		e2e/cluster.sh tools $(E2E_TOOLS) && e2e/cluster.sh up && e2e/cluster.sh load dist/pynomaly-runtime-e2e.tar pynomaly-runtime:e2e registry.example.com/pynomaly-runtime:0.1.0 && \
		(cd e2e && ./cluster.sh exec ../$(BIN)/e2e.test -test.v -test.run '$(E2E_RUN)' -test.timeout $(E2E_TIMEOUT)); code=$$?; \
		[ -n "$(E2E_KEEP)" ] || e2e/cluster.sh down; exit $$code; \
	fi

# Everything that a cluster of one node can show, and the table that is checked in.
RESULTS := $(CURDIR)/e2e/RESULTS.md

e2e-full: ## everything that one node can show, and its table
	printf '# Rollouts on a real cluster\n\n`make e2e-full` of %s, commit %s. Figures in REQUESTS and NON-2XX are of the load through the gateway.\n\n```\n' "$$(date -u +%Y-%m-%d)" "$$(git rev-parse --short HEAD)" > $(RESULTS).new
	E2E_TABLE=$(RESULTS).new $(MAKE) e2e E2E_RUN=Test E2E_TOOLS='registry prometheus' E2E_TIMEOUT=90m; code=$$?; \
	printf '```\n' >> $(RESULTS).new; cat e2e/notes.md >> $(RESULTS).new; mv $(RESULTS).new $(RESULTS); exit $$code

# Simulated rollouts of good and bad versions: how often gates err, and what bad ones cost.
simulate: ## 20,000 rollouts without a cluster
	$(GO) run ./deployer/simulate/report

# The deployer's resource definitions and deep copies, from its types.
crds: ## generates the resource definitions
	$(GO) tool -modfile=$(CURDIR)/tools/kubernetes/go.mod controller-gen object crd paths=./deployer/v1alpha1 output:crd:dir=deployer/v1alpha1/crds
