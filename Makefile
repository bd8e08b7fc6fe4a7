# make install | demo | test | test-processors | stability | faults | fuzz | check | docs | notebooks | bench | dist | clean. Needs a Python from 3.11 to 3.13 with venv, nothing else.
PYTHON ?= python3
DEMO_FLAGS ?=
PYTEST_FLAGS ?=
BENCH_FLAGS ?=
FAULTS_FLAGS ?=
NOTEBOOK_FLAGS ?=
PROCESSORS_FLAGS ?=
STABILITY_FLAGS ?=
DIST_FLAGS ?=

BIN := .venv/bin
INSTALLED := .venv/.installed

.PRECIOUS: $(INSTALLED)-%
.PHONY: install demo test test-processors stability faults fuzz check docs notebooks bench bench-check dist clean

install: $(INSTALLED)-base

demo: $(INSTALLED)-base
	$(BIN)/transferscope demo --out runs/demo $(DEMO_FLAGS)

# One thread a process and a process a core: small networks are slower with more threads than one.
test: $(INSTALLED)-test
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder $(PYTEST_FLAGS)

# The tests that compare numbers, as other processors would compute them. One setting alone:
# make test-processors PROCESSORS_FLAGS="--only narrow tests/metrics"
test-processors: $(INSTALLED)-test
	$(BIN)/python tools/processors.py $(PROCESSORS_FLAGS)

# Kills and breaks runs at every point that there is, and compares with an undisturbed one: minutes.
faults: $(INSTALLED)-test
	PYTHONPATH=tests/support $(BIN)/python tests/integration/faults/suite.py --ray $(FAULTS_FLAGS)

# The embedded study twelve times, with other seeds, pre-trainings and instructions; writes docs/stability.md. About an
# hour on two cores; what is finished in runs/stability is not run again.
stability: $(INSTALLED)-base
	$(BIN)/python tools/stability.py $(STABILITY_FLAGS)

# Files damaged at random for every reader of files: FUZZ_INPUTS of each kind (make fuzz FUZZ_INPUTS=100).
FUZZ_INPUTS ?= 2000
fuzz: $(INSTALLED)-test
	FUZZ_INPUTS=$(FUZZ_INPUTS) OMP_NUM_THREADS=1 $(BIN)/pytest tests/hostile -n auto --maxprocesses 8

check: $(INSTALLED)-check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

# The site, in build/site: every warning is an error, and nothing is asked of any host.
docs: $(INSTALLED)-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Each in an empty folder; NOTEBOOK_FLAGS=--write keeps their outputs, which the site shows.
notebooks: $(INSTALLED)-notebooks
	OMP_NUM_THREADS=1 $(BIN)/python tools/notebooks.py $(NOTEBOOK_FLAGS)

# Beside others' code for the same work: all jobs, one (make bench-shuffle), or whether a ratio fell under its bar.
bench: $(INSTALLED)-benchmark
	$(BIN)/python -m benchmarks $(BENCH_FLAGS)

bench-check: $(INSTALLED)-benchmark
	$(BIN)/python -m benchmarks --check $(BENCH_FLAGS)

bench-%: $(INSTALLED)-benchmark
	$(BIN)/python -m benchmarks $(subst -,_,$*) $(BENCH_FLAGS)

# The wheel and the sdist in dist/, built twice with equal bytes and checked; DIST_FLAGS=--try installs the wheel with pip and
# with uv into empty environments, and runs the quick demo from there.
dist: $(INSTALLED)-dist
	$(BIN)/python tools/dist.py $(DIST_FLAGS)

clean:
	rm -rf .venv build dist runs/demo .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The file says that the installation is newer than what it was made from.
$(INSTALLED)-%: pyproject.toml constraints.txt tools/install.py | .venv/pyvenv.cfg
	$(BIN)/python tools/install.py $(filter-out base,$*)
	@touch $@

# The version of Python is read first, so that the message is ours; half an environment is not left behind.
.venv/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "transferscope needs Python 3.11, 3.12 or 3.13, and '$(PYTHON)' is:" >&2; \
	  $(PYTHON) --version >&2; echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }
