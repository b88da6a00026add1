# The first time, each command makes .venv and installs everything; after that a stamp is checked.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
TYPES := .venv/types/bin/basedpyright

.PHONY: install lab train test sabotage seeds bench gpu notebooks

install: $(STAMP)

$(STAMP): settings.ini setup.py pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "silen_lib needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt -e '.[train,course,dev]'
	touch $(STAMP)

lab: $(STAMP)
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) nbs/index.ipynb

train: $(STAMP)
	$(BIN)/silen-train

# The type checker has an environment of its own: beside JupyterLab, Lab would take it for a language server.
$(TYPES): constraints.txt
	$(PYTHON) -m venv .venv/types
	.venv/types/bin/pip install -q -c constraints.txt basedpyright
	touch $@

test: $(STAMP) $(TYPES)
	tests/run $(BIN)

sabotage: $(STAMP)
	$(BIN)/silen-exercises sabotage nbs/[0-9]*.ipynb

seeds: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 $(BIN)/python tests/seeds.py $(or $(CHAPTERS),nbs/[0-9]*.ipynb)

bench: $(STAMP)
	$(BIN)/pip install -q -c constraints.txt -e '.[bench]'
	for f in $(filter-out benchmarks/gpu.py benchmarks/timing.py,$(wildcard benchmarks/*.py)); do $(BIN)/python $$f || exit 1; done

gpu: $(STAMP)
	$(BIN)/python benchmarks/gpu.py

notebooks: $(STAMP)
	$(BIN)/silen-notebooks --export
	$(BIN)/silen-notebooks
	$(BIN)/silen-notebooks --export
