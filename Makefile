# run test lint fmt bench console clean help: the verbs of this project; .ci/run uses the same ones.
#
# Needs Python 3.11, 3.12 or 3.13 and make. With uv on the PATH the environment comes from uv.lock; without it from
# pip and .ci/constraints.txt, which is the same lock exported (`make lock` writes both, a test compares them): pip cannot read
# uv.lock, and only pip knows the mirror that a machine's pip.conf names.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# A name or a path; a version alone (make test PYTHON=3.13) has an environment of its own beside the usual one.
PYTHON ?= python3
ifneq (,$(filter 3.%,$(PYTHON)))
override PYTHON := python$(PYTHON)
VENV ?= .venv-$(PYTHON)
endif
VENV ?= .venv
UV := $(shell command -v uv 2>/dev/null)
BIN := $(VENV)/bin
# The console: sources of ours, packages of its lock, and the bundle that the server serves.
CONSOLE := static/console
# Node and npm come with a Python package.
npm = $(BIN)/python $(CONSOLE)/npm.py
BUNDLE := $(CONSOLE)/dist/manifest.json
MODULES := $(CONSOLE)/node_modules/.package-lock.json
CONSTRAINTS := .ci/constraints.txt
# Everything that decides what is installed; a newer one of these makes the environment anew.
LOCK := pyproject.toml uv.lock $(CONSTRAINTS)

# Further words for the server, the tests or the benchmarks: make run ARGS="--port 9000".
ARGS ?=
# Workers of the test run: two keep two cores busy without starving the time limits; three save a minute of twelve.
JOBS ?= 2

.PHONY: run test lint fmt bench console docs lock clean help

help:  ## List the verbs
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

run: $(VENV)/.run $(BUNDLE)  ## Start the server on 127.0.0.1:8080 with the reference plugin (ARGS="--port 9000" …)
	@$(compiled)
	@exec $(BIN)/mldb serve --plugin-directory plugins $(ARGS)

test: $(VENV)/.test $(BUNDLE)  ## Run the tests (ARGS="tests/sql -k join" …)
	@$(compiled)
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

lint: $(VENV)/.test $(MODULES)  ## Check format, style and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(npm) run --silent check

fmt: $(VENV)/.test $(MODULES)  ## Format the sources and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .
	@$(npm) run --silent format

bench: $(VENV)/.bench  ## Run the benchmarks and print their tables (ARGS="routes sql" for some)
	@$(BIN)/python -m benchmarks $(ARGS)

console: $(BUNDLE)  ## Bundle the console, when it is older than its sources

docs: $(VENV)/.run  ## Write the generated pages again, and the site into build/site
	@$(BIN)/python docs/generate.py

lock:  ## Resolve the dependencies again (needs uv)
	@uv lock
	@uv export --locked --all-extras --all-groups --no-hashes --no-emit-project --no-annotate --no-header -q -o $(CONSTRAINTS)

clean:  ## Remove the environments and what tools left; the data root stays
	@rm -rf $(VENV) .venv-python3.* $(CONSOLE)/node_modules $(CONSOLE)/dist build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Every server and every process that it starts reads our modules compiled, even where Python may not write them itself.
compiled = $(BIN)/python -m compileall -q server runtime

ifdef UV
install = $(UV) sync --locked --inexact --quiet --compile-bytecode --python $(PYTHON) --extra tensorflow --no-default-groups $(addprefix --group ,$(1))
export UV_PROJECT_ENVIRONMENT := $(VENV)
else
install = $(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[tensorflow]' $(addprefix --group ,$(1))
endif

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Python 3.11, 3.12 or 3.13 is needed (TensorFlow has no wheels for others); name one with make PYTHON=…")'
	@echo "Creating $(VENV) (once; a minute or two)"
ifdef UV
	@$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
else
	@$(PYTHON) -m venv $(VENV)
# Dependency groups need pip 25.1.
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
endif

$(VENV)/.run: $(LOCK) | $(BIN)/python
	@echo "Installing what the server needs"
	@$(call install,console)
	@touch $@

$(VENV)/.test: $(VENV)/.run
	@echo "Installing what tests and linters need"
	@$(call install,console test lint)
	@touch $@

$(VENV)/.bench: $(VENV)/.test
	@echo "Installing what is measured against"
	@$(call install,console test lint bench)
	@touch $@

$(MODULES): $(CONSOLE)/package-lock.json $(CONSOLE)/package.json | $(VENV)/.run
	@echo "Installing what the console is made with"
	@$(npm) ci --silent
	@touch $@

$(BUNDLE): $(MODULES) $(CONSOLE)/build.mjs static/tokens.css $(shell find $(CONSOLE)/src -type f)
	@echo "Bundling the console"
	@$(npm) run --silent build
