# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
SEEDS  ?= 10000
SEED   ?= 1
KILLS  ?= 300
MINUTES ?= 0
RECORDS ?= 1000000

.PHONY: demo test lint simulate chaos fuzz clean

$(VENV)/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; v=sys.version_info[:2]; sys.exit(0 if (3,11)<=v<(3,14) else "Python 3.11-3.13 is needed, this is %d.%d: run make PYTHON=python3.12 ..." % v)'
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@$(BIN)/python -m compileall -q oms_actors ipc supervisor  # a process that comes back need not wait for that
	@touch $@

demo: $(VENV)/ready  ## a whole desk with simulated venue and generated flow
	@$(BIN)/oms demo $(ARGS)

lint: $(VENV)/ready
	@$(BIN)/ruff check .
	@$(BIN)/mypy

test: lint  ## everything that must hold
	@$(BIN)/pytest -n auto --maxprocesses 4 $(ARGS)

simulate: $(VENV)/ready  ## the desk in a hostile world: SEEDS runs from SEED on; one alone tells its history
	@PYTHONPATH=tests $(BIN)/python -m simulation --seeds $(SEEDS) --seed $(SEED)

chaos: $(VENV)/ready  ## real processes, each killed KILLS times under load; or MINUTES of all kinds of faults
	@PYTHONPATH=tests $(BIN)/python -m chaos --kills $(KILLS) --minutes $(MINUTES) --seed $(SEED)

fuzz: $(VENV)/ready  ## RECORDS random records at every door of the cores: nothing raises, every day replays
	@$(BIN)/python -m tests.core.fuzz --records $(RECORDS) --seed $(SEED)

clean:
	rm -rf $(VENV)
