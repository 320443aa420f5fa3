# Marketday's tasks. Each sets up what is missing and repeats nothing that is there.
RETAILER ?= simulated
DAY ?=
PYTHON ?= $(firstword $(foreach p,python3.13 python3.12 python3.11 python3,$(if $(shell $(p) -c 'import sys, venv, ensurepip; print(3, 11) if (3, 11) <= sys.version_info[:2] <= (3, 13) else None' 2>/dev/null | grep 3),$(p))))
BIN := .venv/bin
READY := .venv/.ready
# Images and CI machines may forbid bytecode; the environment is compiled once instead of at each of many process starts.
export PYTHONDONTWRITEBYTECODE :=
export VIRTUAL_ENV :=

.PHONY: help setup run up test test-e2e test-slow check format lock image clean bench-features bench-forecast bench-steps bench-stockouts bench-warehouse
help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

setup: $(READY) ## make .venv from requirements.lock
$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Marketday needs Python 3.11, 3.12 or 3.13 with venv on PATH (Debian: apt install python3-venv), or make PYTHON=/path/to/python"; exit 1; }
	@echo "Setting up .venv with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv .venv
	@awk '/^[^ #]/ {keep = /^uv==/} keep' requirements.lock > .venv/uv.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r .venv/uv.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q include operators dags
	@$(BIN)/python -c 'import lightgbm' 2> .venv/error.txt || { cat .venv/error.txt; echo "LightGBM does not load; if libgomp.so.1 is missing: apt install libgomp1 (dnf install libgomp)"; exit 1; }
	@touch $(READY)

run: $(READY) ## one morning, delivery to order proposals: make run [RETAILER=simulated] [DAY=YYYY-MM-DD]
	@$(BIN)/marketday run $(RETAILER) $(if $(DAY),--day $(DAY)) --embedded

up: $(READY) ## keep Airflow and the step service running; Ctrl-C stops both
	@$(BIN)/marketday up

test: $(READY) ## every test that needs nothing else
	@$(BIN)/python -m pytest -m "not slow" --cov --cov-report=term -n auto --dist loadfile

test-e2e: $(READY) ## the tests that start a real Airflow, with the failure matrix: 20 minutes at most
	@$(BIN)/python -m pytest tests/e2e tests/marketday/test_docs.py -m e2e -n 2 --dist loadscope --durations=0 --durations-min=1

test-slow: $(READY) ## 200 kills of writers and services, a month of corrections, 2,000 made-up requests: a quarter of an hour
	@$(BIN)/python -m pytest tests -m "slow and not e2e" -n 2 --dist loadfile --durations=0 --durations-min=1

check: $(READY) ## lint, format, types, layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY) ## let ruff put the code in order
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: $(READY) ## recompile requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet --output-file requirements.lock

bench-features: $(READY) ## features of M5 beside mlforecast, polars and the floor (MARKETDAY_DATA)
	@$(BIN)/python benchmarks/features.py

bench-forecast: $(READY) ## the forecast of M5 beside mlforecast's, then ten times as large (MARKETDAY_DATA)
	@$(BIN)/python benchmarks/forecast.py

bench-steps: $(READY) ## what a step costs as a task, what waiting costs, how fast a submission is answered
	@$(BIN)/python benchmarks/steps.py

bench-stockouts: $(READY) ## demand where stock ran out, beside LightGBM's and the simulator's truth (MARKETDAY_DATA)
	@$(BIN)/python benchmarks/stockouts.py

bench-warehouse: $(READY) ## 30 million rows through the API into the warehouse, a chain's morning, many versions (MARKETDAY_DATA)
	@$(BIN)/python benchmarks/warehouse.py

image: ## build the container image with docker, podman or buildah
	@scripts/image

clean: ## remove the environment and everything that runs have left in var/
	rm -rf .venv var .mypy_cache .ruff_cache .pytest_cache
