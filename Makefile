# Thin targets onto the tasks. Each makes the virtual environment by itself: git, make and Python 3.11 are enough.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
KIRO := $(PY) -m kiro_invoke.cli
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help warm-cache show-cache clean-cache refresh-cache build up down logs watch setup config classify replay-history test-build-performance report doctor test test-unit test-loop test-docker test-long lint clean

help: ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r name text; do printf '%-22s %s\n' "$$name" "$$text"; done

# The stamp is newer than what the environment was made from, or the environment is made again.
$(VENV)/.installed: setup.cfg pyproject.toml kiro_invoke/version.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 ..." >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is needed (on Debian: apt-get install python3-venv)" >&2; exit 2; }
	@echo "installing kiro_invoke into $(VENV) ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

warm-cache: $(VENV)/.installed ## Build every stage of every image; sets up a Docker engine where there is none
	@$(KIRO) warm-cache --setup $(ARGS)

refresh-cache: $(VENV)/.installed ## Make the caches anew, then remove what that replaced
	@$(KIRO) refresh-cache $(ARGS)

build: $(VENV)/.installed ## Build the development images (ARGS=--prod: the production ones)
	@$(KIRO) build $(ARGS)

up: $(VENV)/.installed ## Build what changed and start the services
	@$(KIRO) up $(ARGS)

down: $(VENV)/.installed ## Stop the services
	@$(KIRO) down $(ARGS)

watch: $(VENV)/.installed ## Keep what the services serve equal to what is saved (ARGS="--service backend")
	@$(KIRO) watch $(ARGS)

logs: $(VENV)/.installed ## Show the services' logs
	@$(KIRO) logs $(ARGS)

setup: $(VENV)/.installed ## Make sure of a Docker engine
	@$(KIRO) setup $(ARGS)

config: $(VENV)/.installed ## Print every setting, its value and where it came from
	@$(KIRO) config $(ARGS)

classify: $(VENV)/.installed ## Tell what changed since the last build, and what it means
	@$(KIRO) classify $(ARGS)

replay-history: $(VENV)/.installed ## Tell which past commits changed dependencies (ARGS="--root backend")
	@$(KIRO) replay-history $(ARGS)

show-cache: $(VENV)/.installed ## Show what the Docker engine holds of this project (ARGS="--service backend")
	@$(KIRO) show-cache $(ARGS)

clean-cache: $(VENV)/.installed ## Remove this project's layers, mounts and images (ARGS=--dry-run: list them)
	@$(KIRO) clean-cache --yes $(ARGS)

test-build-performance: $(VENV)/.installed ## Measure how fast images are built, and judge it (ARGS=--quick: a few minutes)
	@$(KIRO) test-build-performance $(ARGS)

report: $(VENV)/.installed ## Tell what the recorded builds come to (ARGS="--output report.html")
	@$(KIRO) report $(ARGS)

doctor: $(VENV)/.installed ## Find what makes builds slow (ARGS=--fix: mend what can be)
	@$(KIRO) doctor $(ARGS)

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
