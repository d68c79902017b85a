# Two commands do everything on a machine that has Python 3.11 or newer: `make demo` and `make test`.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_VENV := benchmarks/.venv
BENCH_STAMP := $(BENCH_VENV)/.installed

.PHONY: demo test test-slow lint types docs check bench results clean help

help: ## Show this help
	@grep -E '^[a-z-]+:.*## ' Makefile | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: $(STAMP) ## Meta-train on embedded data, evaluate on writing systems never seen, write a report (under ten minutes)
	$(BIN)/quickstudy demo

# Each test uses one thread, so as many run at once as there are cores.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

test: $(STAMP) ## Run the tests
	$(PYTEST)

test-slow: $(STAMP) ## Run the tests that take minutes, too
	$(PYTEST) -m "slow or not slow"

lint: $(STAMP) ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

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

clean: ## Remove environments and runs
	rm -rf $(VENV) $(BENCH_VENV) runs build dist src/*.egg-info
