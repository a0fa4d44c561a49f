# Two commands on a fresh machine with Python 3.10 to 3.13:
#
#   make demo     train on the digits that scikit-learn ships, from measured advice, into runs/demo
#   make test     run the whole test suite
#   make check    format, lint, types, import directions, spelling
#
# Each makes .venv and installs what it needs; running it again installs nothing.
#
#   make demo PYTHON=python3.12                                            another Python
#   make test PIP_EXTRA_INDEX=https://download.pytorch.org/whl/cpu         torch without CUDA (smaller)
#   make test ARGS="-m 'not slow' -x"                                      options for pytest
#   make demo CONSTRAINTS=                                                 newest releases instead of the pinned ones

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
PIP_EXTRA_INDEX ?=

# With an NVIDIA card, pip chooses the torch that fits it. Everybody else gets exactly what CI tests.
CARD := $(wildcard /proc/driver/nvidia/version /dev/nvidiactl /dev/dxg)
CONSTRAINTS ?= $(if $(CI),constraints/cpu.txt,$(if $(CARD),,constraints/cpu.txt))

BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	$(addprefix --extra-index-url ,$(PIP_EXTRA_INDEX)) $(addprefix --constraint ,$(CONSTRAINTS))

.PHONY: demo test check clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed
	$(BIN)/cfgadvise train --auto --out runs/demo

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# ---- installation, once ---------------------------------------------------------------------------

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "cfgadvise needs Python 3.10 to 3.13; name one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml $(CONSTRAINTS)
	@echo "installing into $(VENV) (some minutes the first time)"
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.made pyproject.toml $(CONSTRAINTS)
	@echo "installing into $(VENV) (some minutes the first time)"
	$(INSTALL) --editable ".[test]"
	@touch $(VENV)/.installed $@

$(VENV)/.installed-dev: $(VENV)/.made pyproject.toml $(CONSTRAINTS)
	@echo "installing into $(VENV) (some minutes the first time)"
	$(INSTALL) --editable ".[dev]"
	@touch $(VENV)/.installed $(VENV)/.installed-test $@
