# make run        set up .venv and run the default scenario against its own mock cloud
# make test       set up .venv, then linters, type checker, import rules and the test suite, in JOBS processes
# make test-long  the same with the tests marked `long`, one after another; ONLY='-m long' leaves the others out

PYTHON ?= python3
BIN := .venv/bin
JOBS ?= 2

.PHONY: run test test-long check bench clean

run: .venv/.run
	$(BIN)/loadgen run

test: .venv/.test check
	$(BIN)/pytest -q -m "not long" -n $(JOBS) --dist worksteal

test-long: .venv/.test check
	$(BIN)/pytest -q $(ONLY)

check: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.test
	$(BIN)/python -m tests.bench.bench_throughput
	$(BIN)/python -m tests.bench.bench_native_backend
	$(BIN)/python -m tests.bench.bench_scale
	$(BIN)/python -m tests.bench.bench_fleet
	$(BIN)/python -m tests.bench.bench_files
	$(BIN)/python -m tests.bench.bench_history
	$(BIN)/python -m tests.bench.bench_html
	$(BIN)/python -m tests.bench.bench_dct
	$(BIN)/python -m tests.bench.bench_lateness
	$(BIN)/python -m tests.bench.bench_calibration
	$(BIN)/python -m tests.bench.bench_stall
	$(BIN)/python -m tests.bench.bench_dashboard
	$(BIN)/python -m tests.bench.bench_trace_log

.venv/.run: pyproject.toml $(wildcard native/*.[ch])
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

.venv/.test: pyproject.toml $(wildcard native/*.[ch])
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@ .venv/.run

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
