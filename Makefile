# make demo and make test set up everything on a fresh machine: Python 3.11 or newer, and make.
PYTHON ?= $(firstword $(shell command -v python3.11) $(shell command -v python3) python3)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint types tests docs clean

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

docs: $(VENV)/installed-docs
	OMP_NUM_THREADS=1 $(BIN)/python docs/make_pictures.py
	rm -rf docs/_build/html docs/reference/generated
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -b html -d docs/_build/doctrees -W --keep-going -q docs docs/_build/html
	@echo "the site begins at docs/_build/html/index.html"

$(BIN)/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "convexnn needs Python 3.11 or newer")'
	"$(PYTHON)" -m venv $(VENV)

# Beside the base what the demonstration needs: its command, L1 by cvxpy, pictures, an .onnx file. The tests need more.
# torch comes first and alone, so that no other package can pull a newer build with it.
$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into $(VENV), once; this takes a minute or a few"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[cli,cvxpy,onnx,plots]'
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@echo "installing the tools of the tests into $(VENV), once"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

$(VENV)/installed-docs: $(VENV)/installed
	@echo "installing what the site is built with into $(VENV), once"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) demo docs/_build docs/reference/generated build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
