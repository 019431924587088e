# Each target works as the very first command in a fresh clone: it makes .venv, installs what is
# missing and then does its job. Needed beforehand: Python >= 3.11, make and a package index.
# Another interpreter: `make setup PYTHON=python3.12`.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
EXTRAS := sweep,data,notebooks,docs,fast,export,pretrained,test,dev
STAMP := $(VENV)/.installed
PYTEST ?= -n 2 --dist worksteal

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help run test lab site lint format setup clean

help:  ## say what each target does
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

run: $(STAMP)  ## run every notebook without a screen, then build the documentation in site/
	$(PY) -m memcom run --site site

test: $(STAMP)  ## run the tests
	$(PY) -m pytest $(PYTEST)

lab: $(STAMP)  ## open JupyterLab on the notebooks
	$(PY) -m jupyterlab --notebook-dir=notebooks

site: $(STAMP)  ## build the documentation in site/ with the outputs of the last run
	$(PY) -m memcom site --site site

lint: $(STAMP)  ## check style, types and docstrings, notebooks included
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/pydoclint --quiet memcom

format: $(STAMP)  ## mend what ruff can mend
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

setup: $(STAMP)  ## make .venv and install everything into it
	$(PY) -m memcom.doctor

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "memcom needs Python >= 3.11; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV) \
	  || { echo "No virtual environment could be made; on Debian or Ubuntu: apt-get install python3-venv"; exit 1; }

$(STAMP): pyproject.toml constraints.txt | $(PY)
	$(PY) -m pip install --quiet -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

clean:  ## remove what make made (.venv, site/, caches); downloaded data stays
	rm -rf $(VENV) site docs/api docs/course docs/methods build dist
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
