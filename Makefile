# Two commands do everything on a machine that has Python 3.11+ and make:
#   make run     the environment, then the reference pipeline to its end
#   make test    the environment, then every check and test
# `uv` is used where it is installed, plain venv and pip where not; both install requirements.lock.

VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The newest Python that the project supports, unless PYTHON says which.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
	2>/dev/null && { echo $$p; break; }; done)
UV := $(shell command -v uv 2>/dev/null)
NOTEBOOK ?= notebooks/housing.ipynb
WAY ?= kind

.DEFAULT_GOAL := help
.PHONY: help environment run test lint check unit notebooks compile bench docs site cluster test-cluster lock clean

help: ## these targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile

environment: $(READY) ## .venv, from the lock

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)$(UV)" || { echo "Kaleyard needs Python 3.11, 3.12 or 3.13; install one, or say PYTHON=..."; exit 4; }
ifneq ($(UV),)
	uv venv --quiet --allow-existing $(if $(PYTHON),--python $(PYTHON),--python 3.12) $(VENV)
	uv pip sync --quiet --compile-bytecode --python $(BIN)/python requirements.lock
	uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
else
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
endif
	@touch $@

run: $(READY) ## the environment, then the reference pipeline
	$(BIN)/kaleyard run $(NOTEBOOK) $(ARGS)

test: lint check unit notebooks ## every check and test

lint: $(READY) ## style, types, direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: $(READY) ## the rules over the notebooks, and whether components/ is what they say
	$(BIN)/kaleyard check
	$(BIN)/kaleyard compile --check

unit: $(READY) ## the tests
	$(BIN)/pytest -q -n 2 --dist worksteal $(or $(ARGS),tests)

notebooks: $(READY) ## the notebooks' outputs against what is stored
	$(BIN)/kaleyard test $(ARGS)

compile: $(READY) ## components/ from the notebooks
	$(BIN)/kaleyard compile

bench: $(READY) ## Kaleyard and its peers on the same work; ARGS="--help" tells more
	$(BIN)/python -m benchmarks $(ARGS)

cluster: $(READY) ## a cluster with Kubeflow Pipelines; WAY=kind, minikube, k3d or microk8s, ARGS=down undoes it
	templates/cluster/$(WAY).sh $(or $(ARGS),up)

test-cluster: $(READY) ## what only a live cluster can prove; KALEYARD_KUBE_CONTEXT and KALEYARD_KFP_HOST say which
	$(BIN)/pytest -q -m cluster tests/cluster $(ARGS)

lock: $(READY) ## new versions into requirements.lock, new digests of base images into images.lock
	$(or $(UV),$(BIN)/uv) pip compile --quiet --universal --python-version 3.11 --generate-hashes --all-extras --no-header \
	  --upgrade pyproject.toml -o requirements.lock
	$(BIN)/python templates/project_lock.py
	$(BIN)/kaleyard lock

clean: ## everything that was made
	rm -rf $(VENV) benchmarks/.environments .kaleyard runs build .mypy_cache .ruff_cache .pytest_cache

docs: $(READY) ## the pages that are written from the code
	$(BIN)/python -m kaleyard.rules.rules_reference > docs/rules.md
	$(BIN)/python docs/formats.py > docs/formats.md
	$(BIN)/python docs/architecture.py > docs/architecture.md
	$(BIN)/python docs/compatibility.py > docs/how-to/what-fits.md

site: $(READY) ## the docs as a site, in build/site
	$(BIN)/mkdocs build --quiet
