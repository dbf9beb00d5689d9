# Two commands: `make demo` and `make test`. `make` alone lists the rest.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# A GPU machine is found by itself; `make demo GPU=1` or `GPU=0` decides otherwise.
GPU ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo 1 || echo 0)
EXTRA := $(if $(filter 1,$(GPU)),gpu,cpu)
OTHER := $(if $(filter 1,$(GPU)),cpu,gpu)
INSTALLED := $(VENV)/.installed-$(EXTRA)

# The stages call `python`, which must be the one with the project in it.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1
export GX_ANALYTICS_ENABLED := false

.DEFAULT_GOAL := help
.PHONY: help install demo test long ui lint fix repro doctor clean gc

help: ## list the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

install: $(INSTALLED) ## make .venv and install everything into it

$(INSTALLED): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "make: cannot make a virtual environment; on Debian: apt install python3-venv" >&2; exit 1; }
	@# Both builds of faiss provide one module: the other goes first.
	@test ! -e $(VENV)/.installed-$(OTHER) || \
		$(BIN)/python -m pip uninstall --quiet --yes faiss-$(OTHER)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRA),dev]'
	@rm -f $(VENV)/.installed-*
	@touch $@

demo: install ## from nothing to a submission on a small synthetic data set, and a report
	onepiece materialize
	onepiece report

# Most tests are too small for threads to pay; two processes share them out by module.
test: install ## linters, types, import rules and all tests
	ruff check .
	ruff format --check .
	pyright
	lint-imports
	OMP_NUM_THREADS=1 pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder

long: install ## the tests that take minutes: browser, kills, shared repositories, the pages' commands
	pytest -m long

ui: install ## Dagster's web page on this machine
	onepiece ui

lint: install ## linters, types and import rules only
	ruff check .
	ruff format --check .
	pyright
	lint-imports

fix: install ## let ruff mend what it can
	ruff check --fix .
	ruff format .

repro: install ## the same pipeline through DVC
	dvc repro

doctor: install ## versions, devices, disk, and what is missing
	onepiece doctor

clean: ## remove artefacts and Dagster's records; raw files, DVC's cache and .venv stay
	find data -mindepth 1 -maxdepth 1 ! -name raw -exec rm -rf {} +
	rm -rf .dagster dvc.lock

gc: install ## remove from DVC's cache what neither the working tree nor a commit needs
	dvc gc --workspace --all-commits --force
