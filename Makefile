# tdscaler: build, test and look after the project. Needs Go, make and git; the
# race detector also needs a C compiler, and is left out, loudly, without one.
#
# GOTMPDIR and GOFLAGS are passed through from the environment.

GO       ?= go
BIN      := bin
TOOLS    := $(BIN)/tools
TIMEOUT  ?= 15m

SEEDS  ?= 200
DAYS   ?= 2
FROM   ?= 1
CYCLES ?= 200000
SOAK_REAL_CYCLES ?= 5000

FUZZTIME  ?= 30s
DURATION  ?= 10m

AUCTION      ?= 20
AUCTION_FROM ?= 11
AUCTION_DAYS ?= 2
BENCHTIME ?= 1s

# Stamp the version only where git can be asked.
BUILDVCS := $(shell git rev-parse HEAD >/dev/null 2>&1 && echo auto || echo false)
RACE     := $(if $(shell command -v $${CC:-cc} 2>/dev/null),-race,)

.DEFAULT_GOAL := help
.PHONY: help build demo test sim sim-crash soak bench bench-buying bench-auction lint fuzz chaos soak-real vulncheck check clean mutants test-web test-prometheus test-monitoring test-dashboards test-systemd

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/tdscaler, static; the version comes from git
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=$(BUILDVCS) -ldflags='-s -w' -o $(BIN)/tdscaler ./cmd/tdscaler

demo: build ## watch a week of a simulated market; no account needed
	@$(BIN)/tdscaler demo

test: ## go vet, and every test under the race detector; those of the documents' site and the compose files, too
	$(GO) vet ./...
	@test -n '$(RACE)' || echo 'WARNING: no C compiler found: testing WITHOUT the race detector'
	$(GO) test $(RACE) -timeout $(TIMEOUT) ./...
	cd internal/monitoring && $(GO) vet . && $(GO) test .
	cd internal/browser && $(GO) vet .
	for module in site compose; do $(GO) -C tools/$$module vet ./... && $(GO) -C tools/$$module test ./... || exit 1; done

# The simulation of docs/testing.md: its output is that of the tests themselves, and
# a collector in less of a hurry makes it a third faster.
CAMPAIGN = cd internal/campaign && env GOGC=400 $(1) $(CURDIR)/$(BIN)/campaign.test -test.timeout 0 -test.run

sim: $(BIN)/campaign.test ## the simulation: SEEDS=200 seeds FROM=1, DAYS=2 days each; a failing seed is printed
	@$(call CAMPAIGN,TDSCALER_CAMPAIGN_SEEDS=$(SEEDS) TDSCALER_CAMPAIGN_FROM=$(FROM) TDSCALER_CAMPAIGN_DAYS=$(DAYS)) '^TestSimulation$$' $(if $(filter 1,$(SEEDS)),-test.v)

sim-crash: $(BIN)/campaign.test ## kill the daemon at every point of every scene
	@$(call CAMPAIGN,TDSCALER_CAMPAIGN_STRIDE=1) '^TestKilledAnywhere'

soak: $(BIN)/campaign.test ## CYCLES=200000 cycles in one process: memory, goroutines, ledger
	@$(call CAMPAIGN,GOGC=100 TDSCALER_CAMPAIGN_CYCLES=$(CYCLES)) '^TestASoak'

.PHONY: $(BIN)/campaign.test
$(BIN)/campaign.test:
	@mkdir -p $(BIN)
	@$(GO) test -c -o $@ ./internal/campaign

# One package at a time, so that benchmarks do not compete for the processors.
bench: ## every benchmark, among them the figures that the project promises
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) -timeout $(TIMEOUT) -p 1 \
		$$(grep -rl --include='*_test.go' '^func Benchmark' cmd internal | xargs -n 1 dirname | sort -u | sed 's|^|./|')

BUYING ?= 3
TRACES ?= $(TDSCALER_TRACES)

# What it prints is what docs/benchmarks.md shows.
bench-buying: ## the daemon's buying against the optimum and published policies: TRACES=folder, BUYING=3 seeds
	TDSCALER_BENCH_BUYING=$(BUYING) TDSCALER_TRACES=$(TRACES) $(GO) test ./internal/backtest -run '^TestBenchBuying$$' -count 1 -timeout 0 -v

bench-auction: ## bids against rivals, fixed margins and all-knowing buyers: AUCTION=20 seeds from AUCTION_FROM=11, AUCTION_DAYS=2, AUCTION_ONLY=market; TRACES=folder
	TDSCALER_BENCH_AUCTION=$(AUCTION) TDSCALER_BENCH_AUCTION_FROM=$(AUCTION_FROM) TDSCALER_BENCH_AUCTION_DAYS=$(AUCTION_DAYS) TDSCALER_BENCH_AUCTION_ONLY="$(AUCTION_ONLY)" TDSCALER_TRACES=$(TRACES) \
		$(GO) test ./internal/bench -run '^TestBenchAuction$$' -count 1 -timeout 0 -v

lint: $(TOOLS)/.installed ## go vet, staticcheck, gofumpt
	$(GO) vet ./...
	$(TOOLS)/staticcheck ./...
	cd internal/monitoring && $(CURDIR)/$(TOOLS)/staticcheck .
	cd internal/browser && $(CURDIR)/$(TOOLS)/staticcheck .
	@bad=$$($(TOOLS)/gofumpt -l cmd internal); test -z "$$bad" || { echo "run $(TOOLS)/gofumpt -w on:"; echo "$$bad"; exit 1; }

mutants: ## break each rule on purpose: its test must fail
	TDSCALER_MUTANTS=1 $(GO) test ./internal/mutants -run TestEveryMutantIsFound -v -timeout 60m

# The tools have a go.mod of their own, so that the product's stays free of them.
$(TOOLS)/.installed: tools/go.mod tools/go.sum
	GOBIN=$(CURDIR)/$(TOOLS) $(GO) -C tools install tool
	@touch $@

fuzz: ## every fuzz target in turn, FUZZTIME=30s each
	@grep -ro --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' cmd internal | sort | while IFS=: read -r file func; do \
		echo "== $$(dirname $$file) $${func#func }"; \
		$(GO) test -run '^$$' -fuzz "^$${func#func }\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s "./$$(dirname $$file)" || exit 1; \
	done

chaos: ## kill -9 and a broken network around the built program, each and both, for DURATION=10m
	TDSCALER_CHAOS=$(DURATION) $(GO) test ./internal/process -run '^TestTheRealProgramNeverBuysTwiceNorLeaks$$' -count 1 -parallel 3 -timeout 0 -v

AXE := $(TOOLS)/axe/node_modules/axe-core/axe.min.js

# As root on Debian or one of its children it installs Chromium; PICTURES=docs/images takes
# the screenshots of the docs again. axe-core is left out, loudly, without npm.
test-web: ## the pages in a real Chromium: complaints, following, filters, accessibility, a phone, no script
	@command -v chromium chromium-browser google-chrome >/dev/null || { apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; }
	@test -e $(AXE) || npm install --silent --no-audit --no-fund --prefix $(TOOLS)/axe axe-core@4.11.0 || echo 'WARNING: no npm: testing WITHOUT axe-core'
	cd internal/browser && TDSCALER_CHROMIUM_REQUIRED=1 TDSCALER_AXE=$(if $(shell command -v npm),$(CURDIR)/$(AXE)) TDSCALER_PICTURES=$(if $(PICTURES),$(abspath $(PICTURES))) \
		$(GO) test -count 1 -v -timeout $(TIMEOUT) .

test-prometheus: $(TOOLS)/prometheus ## the signals of targets against a real Prometheus server
	TDSCALER_PROMETHEUS_REQUIRED=1 $(GO) test ./internal/signals -count 1 -v -run 'Prometheus'

test-monitoring: $(addprefix $(TOOLS)/,prometheus promtool prometheus-alertmanager amtool) ## rules, alerts and dashboards against a real Prometheus with a day of the simulated market
	cd internal/monitoring && TDSCALER_MONITORING=1 $(GO) test -count 1 -v -timeout $(TIMEOUT) .

SDK := $(TOOLS)/grafana-sdk

test-dashboards: $(SDK)/node_modules ## the dashboards against the types of Grafana's foundation SDK, which npm gets; needs node
	$(GO) test ./internal/dashboards
	node tools/grafana/schema.mjs $(SDK) deploy/grafana/dashboards/*.json

$(SDK)/node_modules:
	npm install --silent --no-audit --no-fund --prefix $(SDK) @grafana/grafana-foundation-sdk@0.0.21 typescript@5.9.3

# Those of the system; else Debian's packages, unpacked and not installed.
$(TOOLS)/prometheus $(TOOLS)/promtool: PACKAGE = prometheus
$(TOOLS)/prometheus-alertmanager $(TOOLS)/amtool: PACKAGE = prometheus-alertmanager
$(TOOLS)/prometheus $(TOOLS)/promtool $(TOOLS)/prometheus-alertmanager $(TOOLS)/amtool:
	@mkdir -p $(TOOLS)/debian
	@if command -v $(@F) >/dev/null; then ln -sf "$$(command -v $(@F))" $@; else \
		dir=$(CURDIR)/$(TOOLS)/debian/$(PACKAGE); \
		{ test -x $$dir/usr/bin/$(@F) || { mkdir -p $$dir && cd $$dir && apt-get download $(PACKAGE) && dpkg-deb -x $(PACKAGE)_*.deb . && rm $(PACKAGE)_*.deb; }; } && \
		ln -sf debian/$(PACKAGE)/usr/bin/$(@F) $(CURDIR)/$@ || \
		{ echo 'no $(@F): install one' >&2; test $(@F) = prometheus -a -n "$$TDSCALER_PROMETHEUS"; }; fi

# Where things are installed; DESTDIR goes before all of it. HOST is a tdscaler that runs
# here, for one of another architecture.
DESTDIR    ?=
PREFIX     ?= /usr/local
sysconfdir ?= /etc
zshdir     ?= $(PREFIX)/share/zsh/site-functions
HOST       ?= $(BIN)/tdscaler
DOCDIR      = $(DESTDIR)$(PREFIX)/share/doc/tdscaler

.PHONY: install dist dist-check docs-site test-packages test-compose test-containers
install: ## install under PREFIX=/usr/local and DESTDIR: program, unit, manual, completions, docs, and a policy file where there is none
	@test -x $(BIN)/tdscaler || $(MAKE) build
	install -D -m 0755 $(BIN)/tdscaler $(DESTDIR)$(PREFIX)/bin/tdscaler
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man5 $(DOCDIR)/examples
	sed 's|/usr/bin/tdscaler|$(PREFIX)/bin/tdscaler|' deploy/systemd/tdscaler.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/tdscaler.service
	install -m 0644 deploy/systemd/*.conf policies.example.yaml $(DOCDIR)/examples
	install -m 0644 LICENSE README.md $(DOCDIR)
	for page in docs/*.md docs/*/*.md; do install -D -m 0644 $$page $(DOCDIR)/$$page || exit 1; done
	gzip -9nc CHANGELOG.md >$(DOCDIR)/CHANGELOG.md.gz
	@for extra in $(BIN)/sbom.cdx.json.gz $(BIN)/third-party-licenses.gz; do test ! -e $$extra || install -m 0644 $$extra $(DOCDIR) || exit 1; done
	@set -e; pages=$$(mktemp -d); $(HOST) man $$pages; for page in $$pages/*; do \
		gzip -9nc $$page >$(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page##*/}.gz; done; rm -r $$pages
	@set -e; for shell in bash:$(PREFIX)/share/bash-completion/completions/tdscaler zsh:$(zshdir)/_tdscaler fish:$(PREFIX)/share/fish/vendor_completions.d/tdscaler.fish; do \
		to=$(DESTDIR)$${shell#*:}; install -d $${to%/*}; $(HOST) completion $${shell%%:*} >$$to; done
	test -e $(DESTDIR)$(sysconfdir)/tdscaler/policies.yaml || install -D -m 0644 deploy/packages/policies.yaml $(DESTDIR)$(sysconfdir)/tdscaler/policies.yaml

$(TOOLS)/nfpm: tools/packages/go.mod tools/packages/go.sum
	GOBIN=$(CURDIR)/$(TOOLS) $(GO) -C tools/packages install tool
	@touch $@

dist: $(TOOLS)/nfpm ## tarballs, .deb, .rpm, bills of materials and checksums of what is committed, in dist
	NFPM=$(TOOLS)/nfpm deploy/packages/dist.sh dist

dist-check: $(TOOLS)/nfpm ## dist twice, in two places: the same bytes
	@dir=$$(mktemp -d) && for i in 1 2; do NFPM=$(TOOLS)/nfpm deploy/packages/dist.sh $$dir/$$i >$$dir/log || exit 1; done && \
		diff -r $$dir/1 $$dir/2 && cat $$dir/1/SHA256SUMS && rm -r $$dir

# As root, on Debian or one of its children.
test-packages: $(TOOLS)/nfpm ## the .deb and the .rpm in a booted systemd: installed, run, upgraded, removed, purged
	@command -v systemd-nspawn && command -v dbus-daemon && command -v rpm >/dev/null || { apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends systemd systemd-container dbus rpm; }
	TDSCALER_PACKAGES=$(CURDIR)/$(TOOLS)/nfpm $(GO) test ./internal/deploy -run '^TestThePackage' -count 1 -timeout 20m -v

# A module of its own: the product needs nobody to render Markdown.
docs-site: ## the documents as a static site in dist/site, tested: every link leads somewhere, nothing is loaded from elsewhere
	$(GO) -C tools/site test -count 1 ./...
	$(GO) -C tools/site run . $(CURDIR) $(CURDIR)/dist/site

test-compose: ## the compose files against the schema of compose, and against what they mount
	$(GO) -C tools/compose test -count 1 ./...

# As root, on a machine with apt; elsewhere podman and runc must be there.
test-containers: test-compose $(TOOLS)/prometheus $(TOOLS)/prometheus-alertmanager ## the image, built and run for real by podman: hardened, healthy, buying, stopped; and the compose file but for Grafana
	@command -v podman && command -v runc && command -v wget >/dev/null || { apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends podman buildah runc netavark aardvark-dns iptables ca-certificates wget; }
	PATH=$(CURDIR)/$(TOOLS):$$PATH TDSCALER_CONTAINERS=1 $(GO) test ./internal/shipping -run '^TestTheImageBuys|^TestTheComposeFile' -count 1 -timeout 20m -v

test-systemd: ## the unit judged by systemd, and the program under a real one that is booted in a namespace; needs root, and Debian's packages if there is no systemd-nspawn
	@command -v systemd-nspawn >/dev/null && command -v dbus-daemon >/dev/null || { apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends systemd systemd-container dbus e2fsprogs; } || \
		{ echo 'no systemd-nspawn: install systemd, systemd-container, dbus and e2fsprogs' >&2; exit 1; }
	TDSCALER_SYSTEMD=1 $(GO) test ./internal/deploy -count 1 -v

soak-real: ## the built program for SOAK_REAL_CYCLES=5000 cycles of a second: memory, goroutines, files and ledger stay flat
	TDSCALER_SOAK_CYCLES=$(SOAK_REAL_CYCLES) $(GO) test ./internal/process -run '^TestTheRealProgramStaysFlat$$' -count 1 -timeout 0 -v

GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.8.0

vulncheck: ## known vulnerabilities in what we call; needs the network
	@$(GO) run $(GOVULNCHECK) ./... || { code=$$?; echo >&2; \
		echo 'make vulncheck: above is what was found, or why nothing could be looked up:' >&2; \
		echo 'it needs a Go module proxy for the tool and https://vuln.go.dev for its data.' >&2; exit $$code; }

# That the generated pages in docs are up to date is part of the tests.
check: lint test build ## all that must hold before a change goes in
	$(BIN)/tdscaler check policies.example.yaml

clean: ## remove what was built
	rm -rf $(BIN)
