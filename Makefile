# Sets the project up in .venv and runs it; needs Python 3.11 or newer with pip, and nothing else.

PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --constraint constraints.txt
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test clean

help:  ## Say what there is
	@awk '/^[a-z]+:.*## / {split($$0, part, "## "); sub(/:.*/, "", part[1]); printf "make %-6s %s\n", part[1], part[2]}' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime  ## Train a small model, check its duality, write a report (ARGS="--help" for options)
	$(VENV)/bin/python -m scannable demo $(ARGS)

test: $(VENV)/.dev  ## Format, lint, types, import layers and tests: everything that CI runs
	scripts/check

clean:  ## Remove what make installed and what tools cached; runs and reports stay
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests examples -name __pycache__ -type d -prune -exec rm -rf {} +
	@for d in runs demo; do if [ -e "$$d" ]; then echo "kept: $$d (delete it yourself if you mean to)"; fi; done

# Debian's Python cannot put pip into a virtual environment by itself; then its own pip does.
# torch comes first and alone, at its pinned version: left to a resolver that looks for the newest, it may
# bring gigabytes. A stamp is younger than what it was made from, so the next call installs nothing.
$(VENV)/.runtime: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "scannable needs Python 3.11 or newer, and found none on PATH; install it or call make PYTHON=/path/to/python." >&2; exit 1; }
	@echo "Setting up $(VENV) with $(PYTHON); the first time takes a few minutes."
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 \
	  || { $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $(VENV)/bin/python install --quiet pip; } \
	  || { echo "$(PYTHON) could not make a virtual environment with pip; on Debian and Ubuntu install python3-pip and python3-venv." >&2; exit 1; }
	$(INSTALL) --upgrade pip
	$(PIP) install --constraint constraints.txt torch
	$(INSTALL) --build-constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(INSTALL) --group dev
	@touch $@
