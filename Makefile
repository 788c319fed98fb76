# `make` lists the targets.

MODULES := main-app log-sidecar

# App and sidecar are released independently: each has its own version.
APP_VERSION     := $(shell cat main-app/VERSION)
SIDECAR_VERSION := $(shell cat log-sidecar/VERSION)

# REGISTRY=ghcr.io/me names the images ghcr.io/me/main-app:0.2.0 and so on.
REGISTRY ?=
APP_IMAGE     := $(REGISTRY:%=%/)main-app:$(APP_VERSION)
SIDECAR_IMAGE := $(REGISTRY:%=%/)log-sidecar:$(SIDECAR_VERSION)

KIND_CLUSTER ?= kind
PORT         ?= 8080
FUZZTIME     ?= 30s
SEQUENCES    ?= 10000
COUNT        ?= 3
BENCH        ?= .
BENCHFLAGS   ?=
COMPARE      ?= .

# Some distributions set it to local; then an older Go would refuse this code instead of
# fetching the one that go.mod names.
export GOTOOLCHAIN ?= auto

# As in the Dockerfiles, so that what is tried here is what runs there.
GO_BUILD := GOWORK=off CGO_ENABLED=0 go build -trimpath -tags nethttpomithttp2

# Pinned, and built by Go: nothing to install.
GOVULNCHECK := go run golang.org/x/vuln/cmd/govulncheck@v1.9.0
OCB         := go run go.opentelemetry.io/collector/cmd/builder@v0.165.0

SHELL := bash
.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: build ## run both on this machine; APP_ADDR, SIDECAR_ADDR and LOG_DIR can be set
	@deploy/run.sh

.PHONY: build
build: ## build bin/main-app and bin/log-sidecar
	@echo 'building bin/main-app $(APP_VERSION) and bin/log-sidecar $(SIDECAR_VERSION)'
	@cd main-app && $(GO_BUILD) -ldflags '-s -w -X main.version=$(APP_VERSION)' -o ../bin/main-app .
	@cd log-sidecar && $(GO_BUILD) -ldflags '-s -w -X main.version=$(SIDECAR_VERSION)' -o ../bin/log-sidecar .

# Each module on its own first, as its image is built: a workspace can hide that a
# module's go.mod is broken. What was tested so is cached for the second round.
.PHONY: test
test: build ## test both modules under the race detector, each alone and in the workspace
	@set -eo pipefail; { for work in off "$(CURDIR)/go.work"; do for module in $(MODULES); do \
		echo "== go test -race: $$module, GOWORK=$$work"; \
		(cd $$module && GOWORK=$$work go test -race -json ./...); \
	done; done; \
	echo '== make run'; deploy/run_test.sh; } | go run .github/testreport.go

.PHONY: lint
lint: ## check the code, the scripts, the manifests, the workflows, the READMEs
	@.github/lint.sh

.PHONY: vuln
vuln: ## look for known vulnerabilities in what the code calls; asks vuln.go.dev
	@set -e; for module in $(MODULES); do echo "== govulncheck: $$module"; cd $(CURDIR)/$$module; $(GOVULNCHECK) ./...; done

.PHONY: model
model: ## play all that can happen to a log at random, SEQUENCES (10000) times
	@cd log-sidecar && go test -run Model -timeout 0 ./internal/tail -sequences $(SEQUENCES)

.PHONY: fuzz
fuzz: ## run every fuzz test for FUZZTIME (30s)
	@set -e; for module in $(MODULES); do cd $(CURDIR)/$$module; for package in $$(go list ./...); do \
		for test in $$(go test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "== $$package $$test"; go test -run '^$$' -fuzz "^$$test\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s $$package; \
		done; done; done

.PHONY: bench
bench: ## measure the sidecar beside other programs, BENCH (.) of it, COUNT (3) times
	@cd log-sidecar && go test -run '^$$' -bench '$(BENCH)' -skip Compare -benchtime 1x -count $(COUNT) -timeout 0 . $(BENCHFLAGS)

PLAY_SCENARIOS := go test -run '^$$' -bench '^BenchmarkCompare$$/($(COMPARE))' -benchtime 1x -timeout 30m .

.PHONY: compare
compare: ## see what the sidecar and other tailers lose, in the scenarios COMPARE (.)
	@set -o pipefail; cd log-sidecar && $(PLAY_SCENARIOS) | go run ./internal/figures

# The Markdown files say with markers which figures they want; see log-sidecar/internal/figures.
.PHONY: figures
figures: ## run bench and compare, and put their figures into the Markdown files
	@set -o pipefail; files=$$(grep -ls '^<!-- figures:' $(CURDIR)/README.md $(CURDIR)/log-sidecar/README.md); \
		cd log-sidecar && { $(MAKE) -s -C .. bench && $(PLAY_SCENARIOS); } | go run ./internal/figures $$files

.PHONY: bench-app
bench-app: ## measure what its access log costs main-app, COUNT (3) times
	@cd main-app && go test -run '^$$' -bench Server -count $(COUNT) .

# Always run: go test does not see when a file outside the module has changed.
.PHONY: collectors
collectors: ## build an OpenTelemetry Collector; test what deploy/collectors makes of records
	@echo 'building bin/otelcol/otelcol; the first time takes minutes'
	@GOWORK=off $(OCB) --config deploy/collectors/builder.yaml
	@cd log-sidecar && OTELCOL=$(CURDIR)/bin/otelcol/otelcol GOWORK=off \
		go test -race -count=1 -v -run '^TestOpenTelemetryCollectorMakesFields$$' .

.PHONY: docker-build
docker-build: ## build both images; REGISTRY= prefixes their names
	DOCKER_BUILDKIT=1 docker build -t $(APP_IMAGE) main-app
	DOCKER_BUILDKIT=1 docker build -t $(SIDECAR_IMAGE) log-sidecar

.PHONY: docker-test
docker-test: ## check what is in both images, and that they run read-only
	@deploy/images_test.sh $(APP_IMAGE) $(SIDECAR_IMAGE)

.PHONY: docker-push
docker-push: ## push both images to REGISTRY
	$(if $(REGISTRY),,$(error say where to: REGISTRY=ghcr.io/me))
	docker push $(APP_IMAGE)
	docker push $(SIDECAR_IMAGE)

.PHONY: kind-load
kind-load: ## copy both images into the kind cluster KIND_CLUSTER
	kind load docker-image --name $(KIND_CLUSTER) $(APP_IMAGE) $(SIDECAR_IMAGE)

# The manifests name the images without a registry. `kubectl set image --local`
# changes the names on the way to the cluster and leaves the files as they are.
define apply
	kubectl apply -f deploy/service.yaml
	$(if $(REGISTRY),kubectl set image --local -f $(1) -o yaml main-app=$(APP_IMAGE) log-sidecar=$(SIDECAR_IMAGE) | \
		kubectl apply -f -,kubectl apply -f $(1))
	kubectl rollout status deployment/app-with-sidecar --timeout=2m
endef

.PHONY: deploy
deploy: ## deploy the plain variant, with the images of REGISTRY
	$(call apply,deploy/deployment.yaml)

.PHONY: deploy-native
deploy-native: ## deploy the native sidecar (Kubernetes 1.29 and later)
	$(call apply,deploy/native-sidecar/deployment.yaml)

.PHONY: undeploy
undeploy: ## delete what deploy or deploy-native has made
	kubectl delete --ignore-not-found -f deploy/

.PHONY: port-forward
port-forward: ## make the Service reachable at localhost:PORT (8080)
	kubectl port-forward svc/app-with-sidecar $(PORT):80

.PHONY: logs
logs: ## follow what the sidecars of all Pods print
	kubectl logs -f -l app.kubernetes.io/name=app-with-sidecar -c log-sidecar --tail=-1 --max-log-requests=20

.PHONY: e2e
e2e: ## test both variants on the cluster that kubectl points at
	@REGISTRY=$(REGISTRY) deploy/e2e.sh

.PHONY: clean
clean: ## remove bin/
	rm -rf bin
