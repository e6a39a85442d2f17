# Each target works alone on a machine with Python 3.11, gcc and make; the second set-up is a no-op.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXTRAS := $(VENV)/.extras

.PHONY: setup reproduce test test-all test-faults docs bench lint
setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

# Others' packages that tests and benchmarks compare with, and the clusters' clients. A torchvision that came with them and
# does not fit this torch goes again: transformers and Lightning fail to import beside it, and nothing here needs it.
$(EXTRAS): $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,bench,integrations,ray,slurm,export]'
	$(BIN)/python -c 'import torchvision' 2>/dev/null || $(BIN)/python -m pip uninstall --quiet --yes torchvision
	@touch $@

reproduce: $(READY)
	$(BIN)/python -m figures reproduce --out results/reproduce

test: $(READY)
	$(BIN)/python -m pytest -n 2

test-all: $(EXTRAS)
	$(BIN)/python -m pytest -n 2 -m 'not faults' -rs  # names what is skipped, and why

test-faults: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m faults tests/faults

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,docs]'
	NO_MKDOCS_2_WARNING=1 MPLBACKEND=Agg $(BIN)/python -m mkdocs build --quiet

bench: $(EXTRAS)
	$(BIN)/python -m benchmarks --out results
