# make test   sets up, then linter, formatter check, type checker, tests
# make test-slow   the tests that take minutes; make test-busy   the usual ones while other processes keep all cores busy
# make demo   sets up, trains on the built-in pictures, evaluates, classifies; WEIGHTS=none trains from scratch
# make docs   writes anew what is generated in README.md, docs/ and src/paretina/verbs/outline.json

PYTHON ?= python3
WEIGHTS ?= auto

# what the demo trains: fine-tuned from real weights, or from scratch; as many epochs as fit into the time
ifeq ($(WEIGHTS),none)
DEMO_MODEL ?= resnet18
DEMO_OPTIONS ?= --time-limit 120s model.stem.pool=false edits.Scale=on edits.Scale.width=0.25 size=48
else
DEMO_MODEL ?= efficientnet_lite0
DEMO_OPTIONS ?= --time-limit 120s size=128
endif

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check

.PHONY: test test-slow test-busy demo docs

test: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2

test-slow: $(VENV)/.installed-dev
	timeout 3600 $(BIN)/pytest -m "slow and not large" -n 2

test-busy: $(VENV)/.installed-dev
	$(BIN)/pytest -m busy

demo: $(VENV)/.installed-plain
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/demo.sh $(DEMO_MODEL) $(WEIGHTS) $(DEMO_OPTIONS)

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
