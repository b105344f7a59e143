# The way in: each target brings what it needs (uv, Python packages, a real Valkey) and nothing by hand.
#   make demo    the whole thing at work, in under a minute
#   make test    all tests, on real servers, with coverage
#   make check   lint, format, types
#   make chaos   30 workers killed and 30 stopped under load, and what was lost;
#                ARGS="--soak 120 --seed 7": every kind of fault at random for two minutes
#   make conformance  the engine's tests on another server: SERVER=/usr/bin/redis-server
#   make mutants  seeded mistakes in the engine, each of which a state machine has to find
#   make bench   how fast it is here, beside nine peers from PyPI and npm (installed in .bench/)

PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
RUN := $(UV) run --frozen --no-sync
JOBS ?= auto
SERVER ?= /usr/bin/redis-server
ENGINE := tests/proof/test_state_machine.py tests/faults/test_broker.py tests/faults/test_pausing.py \
	$(addprefix tests/integration/test_,broker_calls.py cancel.py enqueue.py hostile.py leases.py midway.py \
	promote.py queue_operations.py rq_compat.py scheduler.py unique.py worker_stop.py)
READY := .venv/.ready

.PHONY: demo test check format chaos conformance mutants bench lock clean

demo: $(READY)
	@$(RUN) cgjobs demo $(ARGS)

test: $(READY)
	$(RUN) coverage erase
	$(RUN) pytest -n $(JOBS) --cov --cov-report= $(ARGS)
	$(RUN) coverage report --skip-covered --fail-under=90

check: $(READY)
	$(UV) lock --check
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy core/src plugins/*/src examples/*/src typing_tests

format: $(READY)
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

chaos: $(READY)
	$(RUN) python -m tests.e2e.restarts $(ARGS)

conformance: $(READY)
	CGJOBS_TEST_SERVER=$(SERVER) $(RUN) pytest -n $(JOBS) -p no:cacheprovider $(ENGINE) $(ARGS)

mutants: $(READY)
	$(RUN) python -m tests.proof.mutants $(ARGS)

bench: $(READY)
	$(RUN) python -m benchmarks $(ARGS)

lock:
	$(UV) lock

$(READY): pyproject.toml uv.lock core/pyproject.toml $(wildcard plugins/*/pyproject.toml) $(if $(filter .uv/bin/uv,$(UV)),$(UV))
	$(UV) sync --frozen --all-packages --python $(PYTHON)
	@touch $@

.uv/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check uv

clean:
	rm -rf .venv .uv .bench dist build .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis
