# Two commands matter: `make train` and `make test`. `make` alone explains them.

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.installed
ARGS   ?=

# Two cores are what a small machine and a CI runner have. A tiny network gains nothing from threads
# and loses much when two processes fight over them: the tests get processes, and one thread each.
WORKERS ?= 2

.PHONY: help train test docs lint format lock clean
.DEFAULT_GOAL := help

help:
	@echo 'make train    Train a small network on handwritten digits, remove 95 % of its weights,'
	@echo '              and show what is left. Options go in ARGS, as in'
	@echo '                  make train ARGS="model=lenet300 prune.strength=3e-4 seed=3"'
	@echo '                  make train ARGS=--help'
	@echo 'make test     Run all tests.   One file:  make test ARGS=tests/test_penalties.py'
	@echo 'make docs     Build the documentation site in build/site; it is read without a network.'
	@echo 'make lint     Check style, formatting and types.'
	@echo 'make format   Put style and formatting right, where that can be done safely.'
	@echo 'make lock     Pin the dependencies of pyproject.toml anew in constraints.txt.'
	@echo '              Newer versions of everything:  make lock ARGS=--upgrade'
	@echo 'make clean    Remove the environment and all caches. Runs and their results stay.'
	@echo
	@echo 'The first of them makes $(VENV) and installs what is pinned there: some minutes, once.'
	@echo 'It needs Python 3.10 or newer; another than python3:  make train PYTHON=python3.12'

train: $(STAMP)
	$(PY) scripts/train.py +prune=l1 $(ARGS)

test: $(STAMP)
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) $(ARGS)

# Its theme prints advice on what will come after MkDocs 1, which is pinned here.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict $(ARGS)

lint: $(STAMP)
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy --strict l1prune

format: $(STAMP)
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

# uv resolves for every Python and platform at once, as pip cannot; only the lock file needs it.
# Versions that still fit are kept. Old pins must not stand in the way of new ones: no stamp here.
lock:
	$(environment)
	$(PY) -m pip install --quiet uv
	$(PY) -m uv pip compile --quiet --universal --python-version 3.10 --all-extras \
	    --no-emit-index-url --annotation-style line --custom-compile-command 'make lock' \
	    --output-file constraints.txt $(ARGS) pyproject.toml

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# Python of the right age, and an environment that can run it; one that cannot is made anew.
define environment
@command -v "$(PYTHON)" >/dev/null || { \
    echo 'There is no "$(PYTHON)" here. Install Python 3.10 or newer, or name one: make PYTHON=python3.12 ...' >&2; exit 1; }
@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
    echo "l1prune needs Python 3.10 or newer; $(PYTHON) is $$("$(PYTHON)" --version 2>&1). Name another: make PYTHON=python3.12 ..." >&2; exit 1; }
@$(PY) -c 'import sys, pip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
    || { echo 'Making $(VENV) ...'; "$(PYTHON)" -m venv --clear $(VENV); } \
    || { echo 'Making $(VENV) failed; on Debian and Ubuntu it takes: apt install python3-venv' >&2; exit 1; }
endef

# The stamp is written last, so an install that broke off is taken up again, not trusted.
$(STAMP): pyproject.toml constraints.txt
	$(environment)
	@echo 'Installing the pinned dependencies into $(VENV): some minutes, once ...'
	@{ $(PY) -m pip install --quiet 'pip>=22' \
	    && $(PY) -m pip install --constraint constraints.txt --editable '.[hub,dev]'; } || { \
	    echo 'Installing failed: see the lines above. It needs the network (or a mirror that pip knows of).' >&2; \
	    echo 'What was downloaded is kept; run make again to go on.' >&2; exit 1; }
	@touch $@
