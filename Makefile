# The tasks as targets (kiro_invoke/kiro.mk), and what is about this repository alone. Each makes the virtual environment
# by itself: git, make and Python 3.11 are enough.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help test test-unit test-loop test-docker test-long lint clean

KIRO := $(PY) -m kiro_invoke.cli
KIRO_NEEDS := $(VENV)/.installed
KIRO_TARGETS := warm-cache refresh-cache build up down watch logs setup config classify affected replay-history show-cache \
	clean-cache test-build-performance report doctor pin-images
# here, an engine is brought where there is none, and nobody is asked
KIRO_ARGS_warm-cache := --setup
KIRO_ARGS_clean-cache := --yes
include kiro_invoke/kiro.mk

help: kiro-help ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r name text; do printf '%-24s %s\n' "$$name" "$$text"; done

# The stamp is newer than what the environment was made from, or the environment is made again.
$(VENV)/.installed: setup.cfg pyproject.toml kiro_invoke/version.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 ..." >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is needed (on Debian: apt-get install python3-venv)" >&2; exit 2; }
	@echo "installing kiro_invoke into $(VENV) ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

lint: $(VENV)/.installed ## Style, types, import contract
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports

test-unit: $(VENV)/.installed ## The quick tests: no engine, under 20 s
	@$(PY) -m pytest tests/unit $(ARGS)

test-docker: $(VENV)/.installed ## The tests on a real engine and in a real browser
	@[ "$$KIRO_TEST_DOCKER" = 0 ] || $(KIRO) setup
	@$(PY) -m pytest -m 'not long' tests/docker tests/browser $(ARGS)

test-loop: $(VENV)/.installed ## The loop with real files, processes and waits: no engine
	@$(PY) -m pytest tests/loop $(ARGS)

test: lint test-unit test-loop test-docker ## Everything but the long suites

test-long: $(VENV)/.installed ## Fault, random-sequence and truth suites
	@[ "$$KIRO_TEST_DOCKER" = 0 ] || $(KIRO) setup
	@$(PY) -m pytest -m long tests/docker tests/long $(ARGS)

clean: ## Remove the virtual environment and tool caches (not the Docker caches)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
