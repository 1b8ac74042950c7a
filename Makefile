# What there is to do with this repository. CI runs `make test`, `make instructions`, `make fuzz`, and
# `make test-full`.

.PHONY: demo test test-full lint package reference figures bench chaos fuzz heads instructions autobahn sslyze http2-frames release release-pgo setup clean

# The gateway with its registry, and three goods; a walk through what they do. ONCE=1: ends by itself.
demo:
	@tools/setup.sh demo
	cargo build --quiet --package proxy --package goods
	@tools/demo.sh target/debug

# Every test there is, with the gateway as it is by default, and what clients see with each carrier of HTTP/1, with one
# thread and with two.
test: lint
	cargo build --workspace
	RUST_TEST_THREADS=4 cargo test --workspace
	LEASEWAY_TEST_THREADS=1 cargo test --package harness --test requests -- $(AT_ONCE)
	LEASEWAY_TEST_HTTP1=pingora cargo test --package harness --test requests --test tls -- $(AT_ONCE)
	LEASEWAY_TEST_HTTP1=pingora LEASEWAY_TEST_THREADS=1 cargo test --package harness --test requests -- $(AT_ONCE)
	$(MAKE) heads
	ONCE=1 tools/demo.sh target/debug
	deploy/check.sh target/debug/proxy
	cargo run --package harness --bin figures -- --short
	cargo build --package leaseway-registry --examples
	cargo run --package harness --bin chaos -- --short
	cargo run --package bench -- --short
	$(MAKE) package

# What `make test` leaves out: what goes wrong around the gateway, too, with the other carrier and with one thread, and
# grpcio, which it installs below target/.
test-full:
	cargo build --workspace
	LEASEWAY_TEST_CUTS=10000 cargo test --package harness --test tls -- cuts
	LEASEWAY_TEST_THREADS=1 cargo test $(AROUND) -- $(AT_ONCE)
	LEASEWAY_TEST_HTTP1=pingora cargo test $(AROUND) -- $(AT_ONCE)
	LEASEWAY_TEST_HTTP1=pingora LEASEWAY_TEST_THREADS=1 cargo test $(AROUND) -- $(AT_ONCE)
	LEASEWAY_TEST_THREADS=1 cargo test --package harness --test grpc -- $(AT_ONCE)
	cargo test --package harness --test grpc -- --ignored python

# They wait for most of their time.
AT_ONCE = --test-threads 4
AROUND = --package harness --test faults --test tls --test readme --test walkthrough

lint:
	@tools/setup.sh test
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	tools/deny.sh

# Packs the crate that can be published, and builds what was packed. Without debug information, as the workspace builds
# its dependencies: most of them serve both.
package:
	CARGO_PROFILE_DEV_DEBUG=0 cargo package --quiet --package leaseway-registry --allow-dirty --offline

# conf/reference.yaml, conf/schema.json and the tables of docs/configuration.md, from the declarations of the keys.
reference:
	cargo run --quiet --package proxy --example reference

# The figures of docs/figures.md, with release builds.
figures: release
	@tools/setup.sh figures
	cargo build --release --package proxy --examples
	cargo run --release --package harness --bin figures
	cargo run --release --package embedded-registry --example beside_etcd

# What a request takes: instructions and allocations. Fails if that is more than it may be.
instructions:
	@tools/setup.sh figures
	cargo build --release --package proxy
	LEASEWAY_BIN_DIR=$(CURDIR)/target/release cargo run --package harness --bin figures -- request

# Leaseway beside other proxies (docs/benchmark.md): all of it, to bench/results, or CASES.
bench: release
	@tools/setup.sh bench
	cargo build --release --package proxy --example bare
	cargo run --release --package bench -- $(CASES)

# What etcd, the network and the data do by themselves, and what it costs: all of it, or CASES.
# An hour of random faults: make chaos CASES='storm --minutes 60'.
chaos: release
	@tools/setup.sh test
	cargo build --release --package leaseway-registry --examples
	cargo run --release --package harness --bin chaos -- $(CASES)

# What a fuzzer makes of the grammar of HTTP/1 and of PROXY headers, SECONDS for each of its targets.
SECONDS ?= 60
fuzz:
	@tools/setup.sh build
	tools/fuzz.sh $(SECONDS)

# What it takes to read a head. Fails if that is more than it was.
heads:
	@tools/setup.sh test
	cargo run --quiet --release --manifest-path fuzz/Cargo.toml --package grammar-alone --example head_instructions

# What Autobahn's suite says of WebSocket through the gateway, beside what it says without: what takes minutes, or CASES,
# such as '9.*' or '*'. It needs Python 2.7.
autobahn:
	@tools/setup.sh test
	cargo build --package proxy
	tools/autobahn.sh target/debug $(foreach case,$(CASES),'$(case)')

# What sslyze finds at the port of conf/tls.yaml, beside what docs/tls-scan.md shows.
sslyze:
	@tools/setup.sh test
	cargo build --package proxy
	cargo test --package harness --test tls -- scan

# What the gateway makes of frames that RFC 9113 does not allow, beside nginx and Envoy.
http2-frames:
	@tools/setup.sh test
	@tools/peers.sh
	cargo build --package proxy
	tools/http2-frames.sh target/debug

release:
	@tools/setup.sh build
	cargo build --release --package proxy --package goods

# The gateway, made for what it does when it serves (docs/benchmark.md): to target/pgo/release.
release-pgo:
	@tools/setup.sh pgo
	tools/pgo.sh

setup:
	@tools/setup.sh figures

clean:
	cargo clean
