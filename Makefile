# Two commands on a fresh machine: `make demo` and `make test`. Only Python 3.11 and make are assumed.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ORDERS ?= 10000
TESTS ?= quick

# Without byte code every process recompiles its imports, which costs seconds per start.
unexport PYTHONDONTWRITEBYTECODE
unexport PYTHONPATH
export UV_COMPILE_BYTECODE := 1
export MEDALLION_HOME ?= $(CURDIR)/.medallion

.PHONY: help setup demo test ui bench lint format lock browser postgres objectstore compose spark clean

help: ## Show the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(STAMP) ## Make .venv and install the hash-pinned lock

$(STAMP): requirements.lock pyproject.toml
	@bash scripts/setup.sh "$(PYTHON)" "$(VENV)"
	@touch $@

demo: setup ## Make up an Olist landing zone and a Pagila database, and run bronze to gold on both
	@$(BIN)/medallion generate olist --orders $(ORDERS) --seed 1
	@$(BIN)/medallion generate pagila --seed 1
	@$(BIN)/medallion run

ui: setup ## Serve Dagster's UI and daemon on 127.0.0.1:3000
	@exec $(BIN)/medallion ui

lint: setup ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: setup ## Apply the style
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

test: lint browser postgres objectstore compose spark ## Run every check and test, with coverage; TESTS=all adds the slow ones
	@$(BIN)/python -m pytest $(if $(filter all,$(TESTS)),-m "") -n 2 --dist loadfile --cov --cov-report=term:skip-covered --cov-fail-under=90

postgres:
	@bash scripts/postgres.sh

objectstore:
	@bash scripts/object_store.sh

compose:
	@bash scripts/compose.sh

spark: setup
	@bash scripts/spark.sh

browser: setup
	@bash scripts/browser.sh

bench: setup ## Measure against the baselines and write .benchmarks/*.json
	@$(BIN)/python -m benchmarks

lock: ## Resolve the pins of pyproject.toml again
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --no-annotate pyproject.toml --extra dev -o requirements.lock

clean: ## Remove the environment and the local lake
	rm -rf $(VENV) .medallion
