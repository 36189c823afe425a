# Everything is built with --release: DuckDB takes about half an hour to compile per profile.
CARGO ?= cargo
PYTHON ?= python3
VENV ?= .venv
TARGET := $(or $(CARGO_TARGET_DIR),target)
BIN := $(abspath $(TARGET))/release/pintail
STAMP := $(VENV)/.requirements

# Rounds of kill -9 of `make crash`; `cargo test` has a few.
ROUNDS ?= 200
# Seconds that everybody meets in `make meet`; `cargo test` has 60.
SECONDS ?= 600
# Messages that `make mutate` damages; `cargo test` has 3,000.
MESSAGES ?= 100000

.PHONY: build test test-rust test-python lint deny crash meet mutate recovery bench bench-peers bench-point bench-small bench-adbc bench-index bench-load \
	bench-criterion bench-security bench-tune bench-fastapi profile-read transport wheel wheel-check man deb

build:
	$(CARGO) build --release --bins --examples

test: test-rust test-python

test-rust:
	$(CARGO) test --release --workspace

test-python: build $(STAMP)
	PINTAIL_BIN=$(BIN) $(VENV)/bin/python -m pytest -q tests/python

# The lock file is what Cargo.toml says, spelling is right (typos.toml), and rustfmt and clippy have nothing to say.
lint: $(STAMP)
	$(CARGO) metadata --locked --format-version 1 > /dev/null
	$(VENV)/bin/typos --format brief
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings

# Advisories, licences, sources and kinds of dependencies (deny.toml); needs `cargo install --locked cargo-deny`. Advisories are a repository on
# GitHub; CHECKS="bans licenses sources" goes without.
deny:
	$(CARGO) deny check $(CHECKS)

# kill -9 at random moments, with four producers and transactions: nothing acknowledged is lost, nothing doubles.
crash:
	PINTAIL_CRASH_ROUNDS=$(ROUNDS) $(CARGO) test --release --test crash -- --nocapture

# Every kind of client at once over one server: what was acknowledged is stored, value for value.
meet:
	PINTAIL_MEET_SECONDS=$(SECONDS) $(CARGO) test --release --test meet -- --nocapture everybody

# 100,000 damaged messages and as many damaged calls against the real program: each ends in a status, and the server goes on.
mutate:
	PINTAIL_MUTATE_MESSAGES=$(MESSAGES) $(CARGO) test --release --test mutate -- --nocapture --test-threads 1

# How long a start after kill -9 takes, by the size of the log.
recovery:
	$(CARGO) test --release --test crash -- --nocapture --ignored recovery_time

# End to end, with real clients, beside DuckDB in process and a pyarrow.flight server: writes bench-out/results.md and plots.
# BENCH="--quick" for a short look, "--only reads" for a part; bench/run.py says the rest.
bench: build $(STAMP) transport
	PINTAIL_BIN=$(BIN) $(VENV)/bin/python bench/run.py --out bench-out $(BENCH)

# The same beside Quack, roapi and Sail as well, each installed into an environment of its own.
bench-peers: build $(STAMP) transport
	PINTAIL_BIN=$(BIN) $(VENV)/bin/python bench/run.py --out bench-out --peers $(BENCH)

# Point queries alone: by DoGet, and through ADBC as text and prepared.
bench-point: build $(STAMP)
	PINTAIL_BIN=$(BIN) $(VENV)/bin/python bench/run.py --out bench-out --only points $(BENCH)

# The servers with nothing behind them that bench/run.py starts.
transport:
	$(CARGO) build --release --bench transport

# Connecting and first calls, catalogs of 10,000 tables, small puts.
bench-small: build $(STAMP)
	PINTAIL_BIN=$(BIN) $(VENV)/bin/python bench/run.py --out bench-out --only starts --only small $(BENCH)

# Large results through ADBC against a Flight SQL server in C++ around DuckDB.
bench-adbc: build $(STAMP)
	PINTAIL_BIN=$(BIN) $(VENV)/bin/python bench/run.py --out bench-out --only reads --sides "pintail,adbc,adbc base,adbc peer" $(BENCH)

# What TLS costs, and what grants and masks cost a statement that they do not touch.
bench-security: build $(STAMP)
	PINTAIL_BIN=$(BIN) $(VENV)/bin/python bench/run.py --out bench-out --only security --table lineitem --table wells $(BENCH)

# A declared index: point lookups with and without it, and what it costs on ingest.
bench-index: build $(STAMP)
	PINTAIL_BIN=$(BIN) $(VENV)/bin/python bench/index.py $(BENCH)

# pintail load against COPY FROM of in-process DuckDB, and many small files. BENCH="--base PATH" adds an earlier build.
bench-load: build $(STAMP)
	PINTAIL_BIN=$(BIN) $(VENV)/bin/python bench/load.py $(BENCH)

# Where the time of a read goes, beside a pyarrow.flight server around DuckDB; with perf at hand, by part.
profile-read: build $(STAMP)
	PINTAIL_BIN=$(BIN) $(VENV)/bin/python bench/profile_read.py $(BENCH)

# The sweep that the defaults of reads and loads come from.
bench-tune: build $(STAMP)
	PINTAIL_BIN=$(BIN) $(VENV)/bin/python bench/tune.py $(BENCH)

# Stage by stage: decode, conform, append, query, encode.
bench-criterion:
	$(CARGO) bench

# Beside the FastAPI service over DuckDB that people write themselves; it gets an environment of its own.
bench-fastapi: build $(STAMP)
	PINTAIL_BIN=$(BIN) $(VENV)/bin/python bench/from_fastapi.py $(BENCH)

# A wheel with the program inside, in dist/. maturin says which glibc it needs. Debug information goes, the symbol table stays:
# `pintail profile` names functions by it. The build is cargo's own, with its flags and features, so nothing is compiled twice.
wheel: $(STAMP)
	cd python && CARGO_TARGET_DIR=$(abspath $(TARGET)) $(abspath $(VENV))/bin/maturin build --release --out ../dist -- -C strip=debuginfo

# From an empty virtual environment to the first row read, and the start of program and module, on every Python at hand.
wheel-check:
	$(PYTHON) tests/wheel.py dist/*.whl

# Manual pages and completions, in dist/, made by the program of its own help.
man: build
	rm -rf dist/man && $(BIN) man dist/man
	mkdir -p dist/completions && $(BIN) completions bash > dist/completions/pintail.bash

# A Debian package, in dist/; needs `cargo install cargo-deb`. The symbol table stays, as in the wheel.
deb: man
	strip --strip-debug -o dist/pintail $(BIN)
	$(CARGO) deb --no-build --no-strip --output dist/

$(STAMP): tests/python/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q -r tests/python/requirements.txt
	touch $@
