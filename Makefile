# Everything a fresh machine with Python 3.11+ and make needs: `make demo`, `make test`.
# A virtual environment in .venv is made and filled on the way; nothing is installed outside the folder.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
# Stamps, renewed when the declared dependencies change: what running needs, and what checking needs on top.
RUN := $(VENV)/.run
DEV := $(VENV)/.dev
# The kernels, compiled beside their sources; see aofnb/_kernels.py.
BUILT := $(VENV)/.built
# Says which kernels run compiled.
KERNELS := $(PY) -c 'import aofnb._kernels; print(aofnb._kernels.describe())'
# What runs a second time, in plain Python.
KERNEL_TESTS := tests/unit tests/property
PIP := $(PY) -m pip install --quiet --disable-pip-version-check

.PHONY: demo test oldest build lint lab bench notebooks clean help

help:
	@echo "make demo       open a real redis-server log, change it in %%redis cells, show it as a table"
	@echo "make test       everything that is checked: lint, types, tests, notebooks"
	@echo "make oldest     magics, widgets and forensics on the lowest versions that are promised"
	@echo "make build      compile the kernels again, after a change of theirs"
	@echo "make lab        JupyterLab with the tutorials"
	@echo "make bench      speed, as ratios to redis-py, redis-server, fakeredis, redis-check-aof"
	@echo "make notebooks  run the tutorials again and write their outputs"

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "aofnb needs Python 3.11 or newer; name one: make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV)

$(RUN): pyproject.toml | $(PY)
	@echo "Setting up $(VENV) with JupyterLab, pandas and matplotlib (once, a minute or two) ..."
	@$(PIP) --editable '.[lab,plot,redis,sql,dask]'
	@touch $@

$(DEV): pyproject.toml | $(PY)
	@echo "Setting up $(VENV) with all that the checks need (once, a minute or two) ..."
	@$(PIP) --editable '.[dev]'
	@touch $@ $(RUN)

# Without a C compiler everything works, slower: no reason to stop.
$(BUILT): $(wildcard aofnb/*/_*_cy.py aofnb/*/_*.pxd) aofnb/_build.py | $(DEV)
	@$(PY) -m aofnb._build || true
	@touch $@

build: $(DEV)
	@$(PY) -m aofnb._build
	@touch $(BUILT)
	@$(KERNELS)

demo: $(RUN)
	@$(KERNELS)
	@$(PY) notebooks/demo.py

test: $(BUILT) lint
	@$(PY) tests/support/announce.py
	$(PY) -m pytest -q -n 2 --dist worksteal --ignore tests/browser
	@! ls aofnb/*/_*_cy.*.so >/dev/null 2>&1 || { echo "Again without compiled kernels:"; \
		AOFNB_PURE=1 AOFNB_REQUIRE_ALL=0 $(PY) -m pytest -q -n 2 --dist worksteal $(KERNEL_TESTS); }
	$(PY) -m pytest -q tests/browser
	$(PY) -m pytest -q -p no:randomly --nbval --nbval-current-env --nbval-cell-timeout=120 \
		--nbval-sanitize-with=notebooks/nbval-sanitize.cfg notebooks/
	@echo "All checks passed."

# The lowest versions that pyproject.toml promises, in an environment of their own: JupyterLab runs with none of them.
oldest:
	@$(PYTHON) -m venv .venv-oldest
	@.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check \
		pytest pytest-timeout pytest-randomly pytest-xdist hypothesis $$($(PYTHON) tests/support/lowest.py)
	.venv-oldest/bin/python -m pytest -q -n 2 tests/unit/magics tests/unit/widgets tests/unit/forensics

lint: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lab: $(RUN)
	$(BIN)/jupyter lab notebooks/index.ipynb

bench: $(BUILT)
	$(PY) -m tests.bench

notebooks: $(DEV)
	$(PY) notebooks/refresh.py notebooks/*.ipynb

clean:
	rm -rf $(VENV) .venv-oldest build aofnb/*/*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis test-artefacts bench-results
