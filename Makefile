# make demo and make test set up everything on a fresh machine: Python 3.11 or newer, and make.
PYTHON ?= $(firstword $(shell command -v python3.11) $(shell command -v python3) python3)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint types tests clean

demo: $(VENV)/installed
	$(BIN)/convexnn demo

test: lint types tests

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-dev
	$(BIN)/mypy

tests: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

$(BIN)/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "convexnn needs Python 3.11 or newer")'
	"$(PYTHON)" -m venv $(VENV)

# torch comes first and alone, so that no other package can pull a newer build with it.
$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into $(VENV), once; this takes a minute or a few"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@echo "installing the tools of the tests into $(VENV), once"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
