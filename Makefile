# Kontiki. Two commands do everything: `make run` and `make test`.
#
# Needs: a Rust toolchain (rustup reads rust-toolchain.toml). What else is missing is installed by
# name with apt-get by scripts/prepare, which says so.

# Build products live outside of the clone, so that a second clone doesn't compile RocksDB again.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/kontiki/target
# A RUSTFLAGS variable replaces the flags in .cargo/config.toml, so it must not reach cargo.
unexport RUSTFLAGS

# One profile for everything: RocksDB costs half an hour of CPU per profile it is compiled in.
CARGO := cargo
RELEASE := --release --locked
KONTIKI := $(CARGO_TARGET_DIR)/release/kontiki
export KONTIKI_BIN := $(KONTIKI)

# Where `make run` and `make demo` keep their data.
DATA ?= data
NODES ?= 3

# What `make sim` runs: so many seeds, or new ones for so many MINUTES.
SEEDS ?= 300
PROFILE ?= swarm
MINUTES ?=
SIM := $(abspath $(CARGO_TARGET_DIR))/simulation/kontiki-sim

.PHONY: help
help: ## What there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: prepare
prepare: ## Install the system packages that the build needs
	@scripts/prepare

.PHONY: build
build: prepare ## Compile the binary
	$(CARGO) build $(RELEASE) -p kontiki

.PHONY: run
run: build ## A cluster of three nodes on this machine, data in ./data
	$(KONTIKI) dev --nodes $(NODES) --data-dir $(DATA)

.PHONY: test
test: prepare ## Format, lints, unit tests, integration tests with real processes
	@scripts/test

.PHONY: lint
lint: prepare ## Format and lints only
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(RELEASE) --workspace --exclude kontiki-simulation --all-targets -- -D warnings
	$(CARGO) clippy $(RELEASE) -p kontiki-peers --features clients --all-targets -- -D warnings
	$(CARGO) clippy --profile simulation --locked -p kontiki-simulation --all-targets -- -D warnings

.PHONY: bench
bench: build ## A short version of each benchmark, one table; README=yes puts it into README.md
	@scripts/bench $(if $(README),--readme)

.PHONY: demo
demo: build ## A file through a cluster while its leader is killed; both ends compared
	@scripts/demo

# The link is for `kontiki sim`, which looks beside itself.
.PHONY: sim
sim: prepare ## Hundreds of seeds of a simulated cluster; SEEDS=300 PROFILE=swarm, or MINUTES=10
	$(CARGO) build --profile simulation --locked -p kontiki-simulation
	@mkdir -p $(dir $(KONTIKI))
	@ln -sf $(SIM) $(dir $(KONTIKI))kontiki-sim
	$(SIM) run $(if $(MINUTES),--minutes $(MINUTES),--seeds $(SEEDS)) --profile $(PROFILE)
