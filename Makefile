# Two commands do everything on a fresh machine: `make demo` and `make test`.
# A Python that was built with profile-guided optimisation takes a fifth less for everything, so the system's is taken
# where it beats the python3 of the path by a tenth. PYTHON=... chooses another.
SPEED  := import ensurepip, sys, timeit, venv; took = min(timeit.repeat("for i in range(100000): x = i", number=1, repeat=9)); \
          print(int(took * (9e6 if sys.argv[1] == "python3" else 1e7)), sys.argv[1]) if (3, 11) <= sys.version_info[:2] < (3, 14) else None
FASTER  = $(shell for p in python3 /usr/bin/python3; do $$p -c '$(SPEED)' $$p 2>/dev/null; done | sort -n | head -n 1 | cut -d " " -f 2)
PYTHON ?= $(or $(FASTER),python3)
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
	@test -d $(VENV) || { p=$(PYTHON); \
	  $$p -c 'import sys; v=sys.version_info[:2]; sys.exit(0 if (3,11)<=v<(3,14) else "Python 3.11-3.13 is needed, this is %d.%d: run make PYTHON=python3.12 ..." % v)' && $$p -m venv $(VENV); }
	@echo "Installing into $(VENV) ($$($(BIN)/python -c 'import sys; print("Python", sys.version.split()[0], "of", sys.base_prefix)')) ..."
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
