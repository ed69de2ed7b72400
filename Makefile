# Main targets: make demo, make test. The first use sets up .venv.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url

.PHONY: demo test test-cluster test-dist test-lowest dist check bench setup setup-dev lock test-train format clean images images-import

## Simulate a scan and reconstruct it live; writes the image to out/demo.
demo: $(STAMP)
	$(BIN)/charonctl demo

## Run the tests.
test: $(STAMP)-dev
	$(BIN)/pytest -q -n 2 --dist loadfile --ignore tests/train --ignore tests/cluster --ignore tests/distribution

## Run the tests on Kubernetes: on a test cluster, or on the cluster of CHARON_TEST_KUBECONFIG.
test-cluster: $(STAMP)-dev
	$(BIN)/python tests/cluster/prepare.py
	$(BIN)/pytest -q tests/cluster

## Build the sdist and the wheel in dist/.
dist: $(STAMP)-dev
	$(BIN)/hatchling build -t sdist -t wheel -d dist

## Install the wheel in an empty environment outside the checkout and run the demo there.
test-dist: $(STAMP)-dev
	$(BIN)/pytest -q tests/distribution

## Run the unit tests with the lowest versions that pyproject.toml allows.
test-lowest: $(STAMP)-dev
	rm -rf build/lowest
	$(BIN)/uv venv --quiet --python $(BIN)/python build/lowest
	$(BIN)/uv pip install --quiet --python build/lowest/bin/python --resolution lowest-direct \
	  --group test --editable '.[numaflow]'
	build/lowest/bin/python -m pytest -q -n 2 --dist loadfile tests/unit

## Check lint, formatting, types and layers; CI runs this first.
check: $(STAMP)-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/pyright -p tests
	$(BIN)/lint-imports

## Measure rates, latencies, bursts, memory and quality; writes out/bench.json.
bench: $(STAMP)-dev
	$(BIN)/python benchmarks/run.py

## Run the tests of training; installs PyTorch (5 GB).
test-train: $(STAMP)-dev
	$(BIN)/pip install --quiet --require-hashes -r requirements/train.txt
	$(BIN)/pytest -q -m train tests

## Build the container image with docker or buildah: charon:latest, or charon:latest-cuda with VARIANT=cuda.
images:
	images/build.sh

## Import the built image into containerd of K3s or of another Kubernetes.
images-import:
	images/import.sh

setup: $(STAMP)
setup-dev: $(STAMP)-dev

$(STAMP): requirements/run.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Charon needs Python 3.11 or later; set PYTHON=/path/to/python3.11"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV) (once)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(STAMP)-dev: $(STAMP) requirements/dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

## Regenerate the lock files from pyproject.toml.
lock:
	$(COMPILE) pyproject.toml requirements/build.in --extra numaflow --group test --group lint -o requirements/dev.txt
	$(COMPILE) -c requirements/dev.txt --extra parquet pyproject.toml requirements/build.in -o requirements/run.txt
	$(COMPILE) -c requirements/dev.txt --extra numaflow pyproject.toml requirements/build.in -o requirements/image.txt
	$(COMPILE) -c requirements/dev.txt --extra numaflow --extra gpu pyproject.toml requirements/build.in -o requirements/image-cuda.txt
	$(COMPILE) -c requirements/dev.txt --extra train pyproject.toml -o requirements/train.txt

format: $(STAMP)-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) out .pytest_cache .ruff_cache .hypothesis .import_linter_cache
