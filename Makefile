# Two commands: `make demo` and `make test`. `make` alone lists the rest.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# A GPU is detected automatically; `make demo GPU=1` or `GPU=0` overrides this.
GPU ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo 1 || echo 0)
EXTRA := $(if $(filter 1,$(GPU)),gpu,cpu)
OTHER := $(if $(filter 1,$(GPU)),cpu,gpu)
INSTALLED := $(VENV)/.installed-$(EXTRA)

# The stages call `python`, which must be the one that the project is installed in.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1
export GX_ANALYTICS_ENABLED := false

.DEFAULT_GOAL := help
.PHONY: help install demo test long ui lint fix repro doctor clean gc

help: ## list the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

install: $(INSTALLED) ## create .venv and install everything into it

$(INSTALLED): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "make: cannot make a virtual environment; on Debian: apt install python3-venv" >&2; exit 1; }
	@# Both builds of faiss provide the same module: remove the other one first.
	@test ! -e $(VENV)/.installed-$(OTHER) || \
		$(BIN)/python -m pip uninstall --quiet --yes faiss-$(OTHER)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRA),dev]'
	@rm -f $(VENV)/.installed-*
	@touch $@

demo: install ## run the pipeline on a small synthetic data set and print a report
	onepiece materialize
	onepiece report

# Most tests are too small to gain from threads; two processes divide them by module.
test: install ## run linters, types, import rules and all tests but those of make long
	ruff check .
	ruff format --check .
	pyright
	lint-imports
	OMP_NUM_THREADS=1 pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder

long: install ## run the tests that take minutes: browser, kills, shared repositories, commands in docs
	pytest -m long

ui: install ## start Dagster's user interface on this machine
	onepiece ui

lint: install ## run linters, types and import rules only
	ruff check .
	ruff format --check .
	pyright
	lint-imports

fix: install ## fix what ruff can fix, and format
	ruff check --fix .
	ruff format .

repro: install ## run the same pipeline through DVC
	dvc repro

doctor: install ## show versions, devices, disk space, and what is missing
	onepiece doctor

clean: ## remove artefacts, Dagster's records and dvc.lock; keep raw files, DVC's cache and .venv
	find data -mindepth 1 -maxdepth 1 ! -name raw -exec rm -rf {} +
	rm -rf .dagster dvc.lock

gc: install ## remove from DVC's cache what neither the working tree nor a commit needs
	dvc gc --workspace --all-commits --force
