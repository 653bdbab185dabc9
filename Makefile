# What people run here. Each target works on a fresh Debian machine with cargo, node 20, npm and python3.

.PHONY: help run build check test test-rust test-clients deny clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: ## build everything and serve on 127.0.0.1:7117, data in ./anykey-data
	@scripts/ensure compiler
	@cargo run --release --locked --bin anykey -- serve $(ARGS)

build: ## the release binary: target/release/anykey
	@scripts/ensure compiler
	@cargo build --release --locked --bin anykey

check: ## the everyday loop: format, lints, unit tests
	@scripts/check

test: ## everything: unit tests, both databases, journeys with real clients
	@scripts/test

test-rust: ## only the tests in Rust, with a PostgreSQL of their own
	@scripts/test rust

test-clients: ## only the journeys with real clients (SDKs and coding agents)
	@scripts/test python node

deny: ## dependencies: bans, licences, sources and, where reachable, advisories
	@scripts/deny

clean: ## forget what was built and installed
	@rm -rf .venv tests/clients/node/node_modules
	@cargo clean
