# Thin: each recipe is a documented pip or command-line step, see docs/install.md.
#
#   make serve ARGS='--port 9000'     make test ARGS='-k doctor'     make setup DEVICE=cpu

VENV   ?= .venv
DEVICE ?= auto
ARGS   ?=
BIN    := $(VENV)/bin
LOCK   := src/origin_vllm/install/cpu.lock

# Whatever the machine's own Python holds stays out, and nothing goes anywhere else.
unexport PYTHONPATH PYTHONHOME PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV
export PYTHONNOUSERSITE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Named by what it was made from: another pyproject.toml asks for another stamp.
STAMP := $(VENV)/.origin-vllm-$(shell cksum < pyproject.toml | cut -d' ' -f1)

FITS := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))

.DEFAULT_GOAL := help
.PHONY: help setup dev serve test lint docs bench seam-check clean distclean
.DELETE_ON_ERROR:

help: ## Show this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

setup: $(STAMP) ## Make .venv and install vLLM (DEVICE=auto, cpu or cuda); quick when done
	@$(BIN)/python -m origin_vllm.setup --install $(DEVICE) $(if $(filter cuda,$(DEVICE)),,--upgrade)

serve: setup ## Serve the demo model on 127.0.0.1:8000 (ARGS: any flag of origin-vllm serve)
	@$(BIN)/origin-vllm serve $(ARGS)

test: dev ## Run the tests (ARGS: any flag of pytest)
	$(BIN)/python -m pytest $(ARGS)

lint: dev ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: dev ## Build the documentation into site/
	$(BIN)/mkdocs build --strict

bench: setup ## Measure against vllm serve (ARGS: any flag of tools/benchmark.py)
	$(BIN)/python tools/benchmark.py $(if $(ARGS),$(ARGS),overhead)

seam-check: dev ## Ask the wheels of many vLLM releases whether the seam fits them
	$(BIN)/python tools/seam_check.py $(ARGS)

clean: ## Remove what builds and tools left
	rm -rf build dist site htmlcov .coverage coverage.xml .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests tools examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean ## And .venv
	rm -rf $(VENV)

dev: setup
	@$(BIN)/python -m origin_vllm.setup --lock requirements/dev.lock

$(STAMP):
	@if [ -e $(BIN)/python ] && ! $(BIN)/python -c '$(FITS)'; then \
	  echo "$(VENV) has a Python that does not fit (3.11 to 3.13): make distclean, then again" >&2; exit 1; fi
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1 && \
	  ! { $(BIN)/python -m ensurepip && $(BIN)/python -m pip --version; } >/dev/null 2>&1; then \
	  for python in $(or $(PYTHON),python3 python3.11 python3.12 python3.13); do \
	    if $$python -c '$(FITS)' 2>/dev/null; then found=$$python; break; fi; done; \
	  if [ -z "$$found" ]; then \
	    echo "No Python 3.11, 3.12 or 3.13 with venv found: install one (Debian: apt install python3 python3-venv)," >&2; \
	    echo "or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; fi; \
	  echo "Making $(VENV) with $$found"; $$found -m venv --clear $(VENV); fi
	@echo "Installing origin-vllm into $(VENV)"
	@$(BIN)/python -m pip install -qq --editable . --constraint $(LOCK)
	@rm -f $(VENV)/.origin-vllm-* && touch $@
