# Everything that is done with this project. Needs make, Python 3.11 or later, and a package registry;
# the first target that needs it creates the environment in .venv.

BIN := .venv/bin
READY := .venv/.ready
PYTHONS ?= 3.11 3.12 3.13
FREE_THREADED ?= 3.13t
# PyTorch for the CPU alone; what PyPI has for Linux brings gigabytes for graphics cards.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# Two test processes: many tests start two workers of their own.
PYTEST_FLAGS ?= -n 2 --dist worksteal
PIP_FLAGS := --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-slow test-pythons storm test-torch bench lint format types docs build clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

demo: $(READY) ## the main job on real data: 60 fits, twice; the second run comes from the cache
	@$(BIN)/python examples/digits_search.py

test: lint types ## what CI runs: lint, types, import contracts, tests
	@$(BIN)/pytest $(PYTEST_FLAGS) -m "not slow"

test-slow: $(READY) ## the tests that take too long for `make test`
	@$(BIN)/pytest $(PYTEST_FLAGS) -m slow

storm: $(READY) ## 10,000 tasks while a worker is killed every 50 ms: all results right, blame exact
	@$(BIN)/pytest -m slow -q tests/faults/test_storm.py

# Each version has an environment of its own in build/; a version that is not here fails the target, one without the
# interpreter's lock (a build of one's own, on PATH) is left out loudly.
test-pythons: ## the tests on each Python in PYTHONS (3.11 3.12 3.13); one that is missing is an error
	@.ci/test-pythons $(PYTHONS) --if-found $(FREE_THREADED)

test-torch: build/torch/.ready ## the tests of tensors, with PyTorch, in an environment of their own
	@build/torch/bin/python -c "import torch"
	@build/torch/bin/python -m pytest -n 2 -p no:cacheprovider tests/persist/test_libraries.py \
	    tests/faults/test_families.py

bench: $(READY) ## measure beside joblib (AREA=foundation, BENCH_FLAGS="--check --json out.json")
	@$(BIN)/python -m bench $(if $(AREA),--area $(AREA)) $(BENCH_FLAGS)

lint: $(READY) ## ruff and the import contracts
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/lint-imports

format: $(READY) ## rewrite the files as ruff would have them
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format --quiet .

types: $(READY) ## mypy, strict
	@$(BIN)/mypy
	@$(BIN)/mypy --platform darwin --no-warn-unreachable --cache-dir .mypy_cache/darwin src

docs: .venv/.ready-docs ## build the documentation into docs/_build
	@$(BIN)/sphinx-build -W --keep-going -q -d docs/_build/.doctrees docs docs/_build
	@echo "docs/_build/index.html"

build: $(READY) ## wheel and source archive into dist/
	@$(BIN)/hatchling build -d dist

clean: ## remove the environments and everything that was built
	rm -rf .venv build dist docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment that no longer runs (its Python was removed, say) is made again from nothing.
$(READY): requirements-dev.txt pyproject.toml
	@$(BIN)/python -c "" 2>/dev/null || { \
	    python=$$(.ci/find-python $(PYTHON)) && echo "creating .venv with $$python" && \
	    "$$python" -m venv --clear .venv; }
	@echo "installing the pinned packages"
	@$(BIN)/python -m pip install $(PIP_FLAGS) -r requirements-dev.txt
	@$(BIN)/python -m pip install $(PIP_FLAGS) --no-build-isolation --no-deps --editable .
	@touch $@

build/torch/.ready: requirements-dev.txt requirements-torch.txt pyproject.toml
	@echo "creating build/torch with PyTorch, some 200 MB"
	@python=$$(.ci/find-python $(PYTHON)) && "$$python" -m venv --clear build/torch
	@build/torch/bin/python -m pip install $(PIP_FLAGS) --extra-index-url $(TORCH_INDEX) \
	    -r requirements-dev.txt -r requirements-torch.txt
	@build/torch/bin/python -m pip install $(PIP_FLAGS) --no-build-isolation --no-deps --editable .
	@touch $@

.venv/.ready-docs: $(READY) requirements-docs.txt
	@echo "installing what builds the documentation"
	@$(BIN)/python -m pip install $(PIP_FLAGS) -r requirements-docs.txt
	@touch $@
