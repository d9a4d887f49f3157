# Two commands matter: `make quickstart` and `make test`. Everything they need is installed into .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CHECKPOINT ?=

.PHONY: quickstart test lint demo clean

quickstart: $(VENV)/user.stamp
	$(BIN)/python train_scripts/quickstart.py

test: lint
	$(BIN)/python -m pytest

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

demo: $(VENV)/user.stamp
	$(BIN)/python spaces/speech_recognition/app.py $(CHECKPOINT)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Torch goes first and alone: packages that build against it then find the pinned one instead of pulling another.
$(VENV)/torch.stamp: constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip setuptools
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	touch $@

$(VENV)/user.stamp: pyproject.toml constraints.txt $(VENV)/torch.stamp
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[synthesis,spaces]'
	touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt $(VENV)/torch.stamp
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@ $(VENV)/user.stamp
