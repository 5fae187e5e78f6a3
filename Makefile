# make venv | browser | test | test-slow | test-machines | benchmark | benchmark-scf | experiment | tutorials | lint | docs | format | upstream-check | gpaw | gpaw-data | clean
# Everything happens in .venv/, made by the first target that needs it and re-used afterwards;
# except that .ci/setup-gpaw, for GPAW's libraries, and `make browser` call apt-get as root or
# through sudo -n.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell .ci/find-python)
TORCH := torch==2.13.0
# Arguments passed on, e.g. make benchmark ARGS="--quick", make test ARGS="-k silicon".
ARGS ?=

# Parallelism is over tests and systems, not inside a linear-algebra call.
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help venv browser test test-slow test-machines benchmark benchmark-scf experiment tutorials lint docs format upstream-check gpaw gpaw-data clean

help:
	@sed -n '1,4s/^# //p' Makefile

venv: $(VENV)/.gpaw

# An existing .venv is kept and brought up to date; torch goes first, by name, so that a build
# for this machine that is already there (CPU or CUDA) is not replaced by another.
$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	@.ci/make-venv "$(PYTHON)" $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt "$(TORCH)"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev,docs,paw,tutorials]"
	@touch $@

# GPAW is optional: without it the tests and comparisons that need it are left out.
$(VENV)/.gpaw: $(VENV)/.installed .ci/setup-gpaw
	@.ci/setup-gpaw $(BIN)/python || echo "Continuing without GPAW; 'make gpaw' tries again."
	@touch $@

gpaw: $(VENV)/.installed
	@.ci/setup-gpaw $(BIN)/python
	@touch $(VENV)/.gpaw

# Chromium, in which a test opens the HTML report; optional too.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
	    .ci/apt-install chromium || echo "Continuing without Chromium: its test is skipped."

test: venv
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile -q $(ARGS)

test-slow: venv
	$(BIN)/python -m pytest -m slow $(ARGS)

# The quick tests, or ARGS, with the arithmetic of other machines.
test-machines: venv
	.ci/test-machines $(BIN)/python $(ARGS)

benchmark: venv
	$(BIN)/deepchem-xc benchmark $(ARGS)

benchmark-scf: venv
	$(BIN)/python benchmarks/scf.py $(ARGS)

experiment: venv
	$(BIN)/python benchmarks/experiment.py $(ARGS)

# Execute the notebooks, or those whose names begin with ARGS, and write their outputs back.
tutorials: venv
	$(BIN)/python tutorials/execute.py $(ARGS)

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Pages and the reference of every public room: build/docs/index.html. A warning is an error.
docs: venv
	$(BIN)/python -m sphinx -W --keep-going -q -c docs -d build/doctrees . build/docs $(ARGS)
	@echo "build/docs/index.html"

format: venv
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What goes to DeepChem, in a copy of its development release: an environment of its own.
UPSTREAM_PYTHON ?=
upstream-check:
	@.ci/upstream-check $(UPSTREAM_PYTHON)

gpaw-data: venv
	$(BIN)/python data/gpaw_eos.py $(ARGS)

clean:
	rm -rf $(VENV) build dist docs/api *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
