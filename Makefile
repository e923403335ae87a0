# make demo and make test set everything up by themselves, in .venv; make help lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ONLY ?=
# One worker more than cores: many tests wait for other processes.
WORKERS ?= $(shell $(PYTHON) -c "import os; print(os.cpu_count() + 1)")
export MLFLOW_DISABLE_TELEMETRY := true
# Hundreds of processes import this package in a test run: compiled once, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(BIN)/python -m pip install --disable-pip-version-check

# PyPI's torch brings several GB of CUDA on Linux. TORCH=cpu installs PyTorch's CPU build instead, and everything else from PyPI.
ifeq ($(TORCH),cpu)
export TORCH_INDEX := https://download.pytorch.org/whl/cpu
CPU_TORCH := $(PIP) --no-deps --index-url $(TORCH_INDEX) torch==$(shell sed -n 's/^torch==//p' constraints.txt) &&
endif

.PHONY: demo test test-fast lint docs readme wheel bench bench-faults bench-gpu help

demo: $(READY) ## the three tasks on built-in corpora: three trained, scored, reported runs in minutes
	@$(BIN)/lslm demo

test: $(READY) ## the test suite (LSLM_DATA=folder adds the tests on real corpora)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations 10

test-fast: $(READY) ## the unit tests: no processes, no browser, no training
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --dist worksteal -m "not slow and not distributed and not browser"

lint: $(READY) ## ruff check, ruff format and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/python -m mypy

docs: $(READY) ## the documentation site in English and Chinese, in docs/_build; a warning is an error
	@$(BIN)/python -m docs

wheel: $(READY) ## the wheel, installed in a fresh environment and used in an empty folder; minutes
	@$(BIN)/python -m tests.wheel

readme: $(READY) ## screenshots, transcript and tables of both READMEs, from runs of a few minutes (needs chromium)
	@$(BIN)/python -m docs.readme

bench: $(READY) ## quality and speed against other implementations, hours (ONLY=name for one; needs LSLM_DATA)
	@$(BIN)/python -m tests.benchmarks $(ONLY)

bench-faults: $(READY) ## runs that are killed at random moments, and a server that is down for a minute
	@$(BIN)/python -m tests.benchmarks faults

bench-gpu: $(READY) ## the benchmarks that need a GPU
	@$(BIN)/python -m tests.benchmarks --gpu $(ONLY)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	@echo "setting up $(VENV) (a few minutes, once; log in $(VENV)/setup.log)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lslm-lightning needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; make PYTHON=python3.12 demo names another")'
	@$(PYTHON) -m venv $(VENV)
	@( $(CPU_TORCH) $(PIP) --constraint constraints.txt --editable '.[dev,docs,notebooks]' ) \
	  > $(VENV)/setup.log 2>&1 || { tail -n 5 $(VENV)/setup.log; echo "set-up failed; the whole log is $(VENV)/setup.log"; exit 1; }
	@touch $@
	@echo "ready: $(BIN)/lslm --help"
