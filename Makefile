# Everything a developer and CI need; each target installs what it lacks and does nothing twice.
SHELL := /bin/bash
.DEFAULT_GOAL := help
CARGO ?= cargo
DESCRIPTORS := target/descriptors/flyteidl-1.16.8.binpb

DIST ?= amd64 arm64
SOAK_PROFILE ?= dev
SOAK_DIRECTORY = target/$(patsubst dev,debug,$(SOAK_PROFILE))

.PHONY: help demo demo-stay soak test unit e2e test-idp test-deploy test-helm test-kustomize test-image test-upgrade test-prometheus test-dist dist floods policies conformance lint fmt doc bench descriptors clean-demo bench-micro supply mutants test-oracle fuzz-smoke fuzz miri

help: ## List the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: descriptors ## Show the proxy at work: allowed and refused calls, a hot reload; ends by itself
	@$(CARGO) build --quiet --locked --features demo
	@target/debug/flyte-authz-proxy demo </dev/null

demo-stay: descriptors ## The same, and stay for calls by hand until Ctrl-C
	@$(CARGO) build --quiet --locked --features demo
	@target/debug/flyte-authz-proxy demo --stay

test: unit policies e2e ## Every test: unit, integration, decision tests, real clients

unit: descriptors ## Unit and integration tests
	@scripts/balancers.sh
	$(CARGO) test --locked --features demo

test-upgrade: descriptors ## Two proxies behind HAProxy restarted in turn under load: no request is lost
	scripts/upgrade.sh

soak: descriptors ## Random faults and policy changes under load, every request reckoned up (SOAK_SECONDS, default 60; SOAK_SEED; SOAK_PROFILE)
	@$(CARGO) build --quiet --locked --profile $(SOAK_PROFILE) --features demo --bin flyte-authz-proxy --example soak
	$(SOAK_DIRECTORY)/examples/soak $(SOAK_DIRECTORY)/flyte-authz-proxy $(DESCRIPTORS)

floods: descriptors ## What attacks cost the proxy and a well-behaved client beside them: a table (FLOODS_SECONDS=5 each)
	scripts/floods.sh

policies: ## The decision tests of the sample policies
	$(CARGO) run --quiet --locked -- test policies

e2e: descriptors ## Real flytekit, gRPC and REST clients through the proxy
	scripts/e2e.sh

test-idp: descriptors ## The proxy with a real Keycloak, which it fetches; not part of `test`
	scripts/idp.sh

test-deploy: test-helm test-kustomize test-image test-prometheus test-upgrade ## What is in deploy/, with the tools that deploy it

test-helm: ## The Helm chart: rendered by helm, validated by kubeconform, its configuration by the proxy
	scripts/deploy-test.sh helm

test-kustomize: ## The Kustomize overlays
	scripts/deploy-test.sh kustomize

test-image: ## The Dockerfile
	scripts/deploy-test.sh image

test-prometheus: descriptors ## Alerts and dashboard with a real Prometheus, which it fetches
	scripts/prometheus-test.sh

conformance: ## HTTP/2, gRPC and TLS by the suites of others: h2spec, Connect's conformance suite, every cipher suite there is
	scripts/conformance.sh

test-oracle: descriptors ## FlyteAdmin's own gateway behind the proxy: what arrives is what was judged (ORACLE_REQUESTS, ORACLE_SEED)
	$(CARGO) build --quiet --locked --features demo
	scripts/oracle.sh

dist: ## Static binaries for amd64 and arm64 (DIST=amd64 for one), bill of materials, checksums
	scripts/dist.sh $(DIST)

test-dist: dist ## What `dist` has made; not part of `test-deploy`
	scripts/deploy-test.sh dist

lint: ## Formatting, clippy and documentation, without warnings
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	$(CARGO) clippy --locked --all-targets --features demo -- -D warnings
	$(CARGO) clippy --locked -- -D warnings
	$(CARGO) clippy --quiet --locked --manifest-path fuzz/Cargo.toml --target-dir target --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --quiet --locked --no-deps --features demo

fmt: ## Format
	$(CARGO) fmt

bench: ## Compare CPU, latency and memory with a bare pass-through, HAProxy, nginx and Envoy
	scripts/bench.sh

bench-micro: descriptors ## What the engines cost by themselves, with allocations (MICRO=decide for some)
	$(CARGO) bench --locked --features demo --bench micro -- $(MICRO)

supply: ## Licences, sources, bans and known vulnerabilities of the crates, with cargo-deny and cargo-audit, which it builds
	scripts/supply.sh

MUTANTS_SECONDS ?= 1800

mutants: ## Mutation testing of what decides, for half an hour (MUTANTS_SECONDS); goes on where it stopped
	scripts/mutants.py $(MUTANTS_SECONDS)

descriptors: $(DESCRIPTORS) ## The published descriptors of Flyte's API

$(DESCRIPTORS): scripts/descriptors.sh scripts/descriptors.py scripts/descriptors.txt
	scripts/descriptors.sh
	@touch $@

fuzz-smoke: descriptors ## Every fuzz target for FUZZ_SECONDS (10) each
	$(CARGO) test --quiet --locked --manifest-path fuzz/Cargo.toml --target-dir target
	scripts/fuzz.sh smoke

fuzz: descriptors ## One fuzz target (TARGET=) for FUZZ_SECONDS (1200)
	scripts/fuzz.sh run $(TARGET)

miri: ## The unit tests of the engines in an interpreter that notices undefined behaviour
	scripts/miri.sh
