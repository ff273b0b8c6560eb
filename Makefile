# Everything a fresh machine with Python 3.11+ and make needs: `make demo`, `make test`.
# A virtual environment in .venv is made and filled on the way; nothing is installed outside the folder.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
# The stamp is renewed when the declared dependencies change.
READY := $(VENV)/.ready

.PHONY: demo test lint lab bench notebooks clean help

help:
	@echo "make demo       open a real redis-server log, change it in %%redis cells, show it as a table"
	@echo "make test       everything that is checked: lint, types, tests, notebooks"
	@echo "make lab        JupyterLab with the tutorials"
	@echo "make bench      speed, as ratios to redis-py, redis-server, fakeredis, redis-check-aof"
	@echo "make notebooks  run the tutorials again and write their outputs"

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "aofnb needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "Setting up $(VENV) (once; a few minutes) ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(READY)

demo: $(READY)
	@$(PY) notebooks/demo.py

test: $(READY) lint
	@$(PY) tests/support/announce.py
	$(PY) -m pytest -q -n 2 --dist loadfile --ignore tests/browser
	$(PY) -m pytest -q tests/browser
	$(PY) -m pytest -q -p no:randomly --nbval --nbval-current-env --nbval-cell-timeout=120 \
		--nbval-sanitize-with=notebooks/nbval-sanitize.cfg notebooks/
	@echo "All checks passed."

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lab: $(READY)
	$(BIN)/jupyter lab notebooks/01-first-durable-key.ipynb

bench: $(READY)
	$(PY) -m tests.bench

notebooks: $(READY)
	$(PY) notebooks/refresh.py notebooks/*.ipynb

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis test-artefacts bench-results
