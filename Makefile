# Two commands do everything on a machine that has Python 3.11 or newer: `make demo` and `make test`.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_VENV := benchmarks/.venv
BENCH_STAMP := $(BENCH_VENV)/.installed
# The oldest PyTorch is the bound itself: 'torch>=2.9.1' is tried with 2.9.1. The newest is what the registry has today.
OLDEST := $(shell sed -n 's/^ *"torch>=\([0-9.]*\)",$$/\1/p' pyproject.toml)

.PHONY: demo test test-slow test-oldest test-newest lint types docs check bench results clean help

help: ## Show this help
	@grep -E '^[a-z-]+:.*## ' Makefile | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

demo: $(STAMP) ## Meta-train on embedded data, evaluate on writing systems never seen, write a report (under ten minutes)
	$(BIN)/quickstudy demo

# Each test uses one thread, so as many run at once as there are cores.
PYTEST := python -m pytest -n auto --maxprocesses 8 --dist worksteal

test: $(STAMP) ## Run the tests
	$(BIN)/$(PYTEST)

test-slow: $(STAMP) ## Run the tests that take minutes, too
	$(BIN)/$(PYTEST) -m "slow or not slow"

test-oldest: .venv-oldest/.installed ## Run the tests on the oldest PyTorch that pyproject.toml allows (6 GB to install)
	.venv-oldest/bin/$(PYTEST)

test-newest: .venv-newest/.installed ## Run the tests on the newest PyTorch that there is (6 GB to install)
	.venv-newest/bin/$(PYTEST)

lint: $(STAMP) ## Check style, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP) ## Check types
	$(BIN)/mypy

docs: $(STAMP) ## Run every example of README and docs, and check that generated pages are current
	$(BIN)/python docs/build.py --check
	$(BIN)/python -m pytest -q tests/test_docs.py

check: test lint types docs ## Everything that CI checks

bench: $(BENCH_STAMP) ## Measure against other libraries; BENCH='--quick' takes minutes (docs/benchmarks.md)
	$(BENCH_VENV)/bin/python -m benchmarks $(BENCH)

results: $(STAMP) ## Measure a row of docs/results.md anew, say ROW=omniglot-protonet-5w1s; QUICK=--quick takes minutes; SEEDS=1
	@test -n "$(ROW)" || { echo "say which: make results ROW=NAME; '$(BIN)/quickstudy reproduce' lists them" >&2; exit 2; }
	$(BIN)/quickstudy reproduce $(ROW) $(QUICK) $(if $(SEEDS),--seeds $(SEEDS))
	mkdir -p docs/results/rows
	cp runs/$(ROW)/row.json docs/results/rows/$(ROW)$(QUICK).json
	$(BIN)/python docs/build.py

$(BENCH_STAMP): pyproject.toml constraints.txt benchmarks/requirements.txt
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --requirement benchmarks/requirements.txt --editable .
	@touch $@

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Quickstudy needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

# With neither's pinned versions: whatever goes with that PyTorch today.
.venv-oldest/.installed: pyproject.toml
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check 'torch==$(OLDEST)' --editable '.[dev]'
	@touch $@

.venv-newest/.installed: pyproject.toml
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check --upgrade torch --editable '.[dev]'
	@touch $@

clean: ## Remove environments and runs
	rm -rf $(VENV) .venv-oldest .venv-newest $(BENCH_VENV) runs build dist src/*.egg-info
