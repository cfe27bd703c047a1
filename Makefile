# One command for everything a newcomer does. CI calls the same ones.
# Wanted on the machine: git, make, Python 3.11 or newer with its venv module. The rest goes into .venv.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test test-all servers crash check format bench docs lock clean
.NOTPARALLEL:

VENV := .venv
BIN := $(VENV)/bin
# The venv is made anew when what it is made from changes, and never otherwise.
INSTALLED := $(VENV)/.installed-$(shell cat pyproject.toml requirements-dev.lock | cksum | cut -d' ' -f1)

# Two test processes: the machine FLO is built for has two cores. PYTEST_WORKERS=0 runs in one.
PYTEST_WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -q -n $(PYTEST_WORKERS)
FLO_DEMO_SECONDS ?= 60
FLO_CRASH_RUNS ?= 1000

help:  ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: $(INSTALLED)  ## Run the payments example for a minute: traffic, decisions, a retraining, a report
	$(BIN)/flo demo --seconds $(FLO_DEMO_SECONDS) $(DEMO_ARGUMENTS)

test: $(INSTALLED)  ## Run the tests; kills and power cuts in a sample (about five minutes)
	$(PYTEST) -m "not servers and not scenario"

test-all: $(INSTALLED) servers  ## Run the tests, the long scenarios, and those that need other people's servers and tools
	$(PYTEST)

servers:  ## Get the servers and tools that some tests need into .servers
	@tests/servers/install || echo "make: not all could be had; tests that need them are skipped, and say so"

crash: $(INSTALLED)  ## Kill FLO and cut its power FLO_CRASH_RUNS (1000) times, and check what is left
	FLO_CRASH_RUNS=$(FLO_CRASH_RUNS) $(PYTEST) -m crash

check: $(INSTALLED)  ## Lint, formatting, types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict src/flo

format: $(INSTALLED)  ## Format the code, and mend what the linter can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(INSTALLED)  ## Measure this FLO on this machine, beside the same work written by hand
	$(BIN)/python -m bench $(BENCH_ARGUMENTS)

docs: $(INSTALLED)  ## Write the generated reference pages anew, and run what the documentation shows
	FLO_UPDATE_DOCS=1 $(BIN)/python -m pytest -q tests/core/bundle/test_reference.py tests/faces/test_reference.py tests/docs

lock: $(INSTALLED)  ## Write requirements-dev.lock from what is installed
	{ sed -n '/^#/p' requirements-dev.lock; $(BIN)/pip freeze --exclude-editable; } > requirements-dev.lock.new
	mv requirements-dev.lock.new requirements-dev.lock

clean:  ## Remove .venv, caches and what the demo left
	rm -rf $(VENV) .servers .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist demo-data
	find src tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

# PYTHON=/path/to/python chooses another one. A shim that names no Python answers nothing, so each is asked.
$(INSTALLED): pyproject.toml requirements-dev.lock
	@python=$$(for name in $(PYTHON) python3.11 python3 python3.12 python3.13 python3.14; do \
	    "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$name"; break; }; \
	  done); \
	if [ -z "$$python" ]; then \
	  echo "make: FLO needs Python 3.11 or newer and found none: apt install python3 python3-venv" >&2; exit 1; fi; \
	if ! "$$python" -c 'import venv, ensurepip' 2>/dev/null; then \
	  root=$$([ "$$(id -u)" = 0 ] || echo "sudo -n"); \
	  echo "make: $$("$$python" --version) has no venv module, which Debian keeps in python3-venv: installing that"; \
	  if ! { $$root apt-get -qq update && $$root apt-get -qq install -y python3-venv; } >/dev/null 2>&1 \
	      || ! "$$python" -c 'import venv, ensurepip' 2>/dev/null; then \
	    echo "make: that could not be installed from here: apt install python3-venv" >&2; exit 1; fi; fi; \
	set -e; \
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then "$$python" -m venv --clear $(VENV); fi; \
	echo "installing FLO and its development tools into $(VENV)"; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements-dev.lock -e '.[dev]'; \
	rm -f $(VENV)/.installed-*; \
	touch $@
