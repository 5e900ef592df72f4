# make test   sets up, then linter, formatter check, type checker, tests: up to 8 minutes on two cores
# make test-slow   the tests that are marked slow, what takes seconds or is the rest of a full cross (tests/covering.py): up to 45
# make test-busy   the usual tests while other processes keep all cores busy
# make test-gpu   the tests of tests/gpu on a CUDA device, with what is installed; the others rehearse them on the CPU
# make demo   sets up, trains on the built-in pictures, evaluates, classifies; WEIGHTS=none trains from scratch
# make docs   writes anew what is generated in README.md, docs/ and src/paretina/verbs/outline.json

PYTHON ?= python3
WEIGHTS ?= auto

DEMO_OPTIONS ?= --time-limit 120s

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check

# neighbours stay in one process, which makes what a file shares once; what is compiled for the tests is kept for the next time
BOTH_CORES := -n 2 --dist worksteal
test test-slow test-busy: export PYTHONDONTWRITEBYTECODE =

.PHONY: test test-slow test-busy test-gpu demo docs

test: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest $(BOTH_CORES)

test-slow: $(VENV)/.installed-dev
	timeout 3600 $(BIN)/pytest -m "slow and not large" $(BOTH_CORES)

test-busy: $(VENV)/.installed-dev
	$(BIN)/pytest -m busy

# PYTHON, not the environment of the other tests: a machine with a GPU has a torch that fits its driver
test-gpu:
	PYTHONPATH=src $(PYTHON) -m pytest -m gpu -W default -n 0 -rs tests/gpu

demo: $(VENV)/.installed-plain
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/demo.sh $(WEIGHTS) $(DEMO_OPTIONS)

docs: $(VENV)/.installed-dev
	$(BIN)/python scripts/outline.py
	$(BIN)/python scripts/reference.py
	$(BIN)/python scripts/pages.py

# a stamp says that what pyproject.toml asks for is installed; the one of dev covers the others

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/pip
	$(INSTALL) -e '.[dev]'
	touch $@ $(VENV)/.installed-plain

$(VENV)/.installed-plain: pyproject.toml | $(BIN)/pip
	$(INSTALL) -e .
	touch $@

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " \
	    + sys.version.split()[0] + "; name another one: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
