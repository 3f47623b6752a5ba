# Everything runs in .venv, which is made on first use. `make help` lists the targets.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help run test test-fast wheel chaos optuna bad-input check docs format bench bench-search screenshots clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: .venv/installed ## run the study `digits` with 2 workers, or go on with it
	@$(BIN)/caviar run digits --workers 2

test: .venv/installed-dev ## the whole test suite, on a PostgreSQL that the tests start themselves
	$(BIN)/python -m pytest -n 3 --dist load --maxschedchunk 1

test-fast: .venv/installed-dev ## the tests without a database and without whole trainings: a developer's loop
	$(BIN)/python -m pytest -q -n 2 -m "not (database or slow or chaos or optuna)"

wheel: .venv/installed-dev ## the wheel, into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

chaos: .venv/installed-dev ## every fault of docs/reliability.md; CHAOS_ROUNDS=5: 1,000 more, CHAOS_SEED=7: others
	CHAOS_REPORT=benchmarks/results/chaos.json $(BIN)/python -m pytest tests/chaos -m "(chaos or slow) and not short" -n 2 --dist load --maxschedchunk 1

optuna: .venv/installed-dev ## Optuna's own tests of storages and samplers, on a database that Caviar has its tables in
	$(BIN)/python -m pytest -q -n 2 -m optuna tests/contract tests/studies/search/test_sampler_in_optuna.py

bad-input: .venv/installed-dev ## 2,000 generated bad inputs, others each time (SEED=7: those again), and all 245 bad trainings (20 minutes)
	BAD_INPUT_EXAMPLES=2000 BAD_INPUT_SEED=$(or $(SEED),$(shell date +%s)) $(BIN)/python -m pytest -s tests/studies/cli/test_generated_input.py
	BAD_TRAININGS=all $(BIN)/python -m pytest -s tests/studies/cli/test_bad_trainings.py

check: .venv/installed-dev ## formatting, lint, types, import contracts, docker-compose.yml and the documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/python -m docs.build --check

docs: .venv/installed-dev ## the documentation, into site/index.html; a broken link or docstring is an error
	$(BIN)/python -m docs.build

format: .venv/installed-dev ## put the code into the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/installed ## the benchmarks of docs/figures.md, but for benchmarks/search, in their short forms (about 15 minutes)
	$(BIN)/python benchmarks/digits.py --short
	$(BIN)/python benchmarks/exactness.py --short
	$(BIN)/python benchmarks/throughput.py --short
	$(BIN)/python benchmarks/time_to_target.py --short
	$(BIN)/python benchmarks/storage_cost.py --short
	$(BIN)/python benchmarks/looks.py --short
	$(BIN)/python benchmarks/live.py --short
	$(BIN)/python benchmarks/advice.py --short
	$(BIN)/python benchmarks/panda.py --short
	$(BIN)/python benchmarks/kills.py --short --programs plain-loop,regression,steps,scikit-learn,objective,command
	$(BIN)/python benchmarks/overhead.py --short
	$(BIN)/python benchmarks/group_faults.py --short
	$(BIN)/python benchmarks/many_workers.py --short
	$(BIN)/python benchmarks/scale.py --check
	$(BIN)/python benchmarks/scale.py --short

bench-search: .venv/installed ## the search against its peers on tables of trained networks (under 2 hours; SHORT=--short: under 10 minutes)
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/python benchmarks/search/run.py $(SHORT)
	$(BIN)/python benchmarks/search/small_budgets.py $(SHORT)
	$(BIN)/python benchmarks/search/classical.py $(SHORT)
	$(BIN)/python benchmarks/search/run.py --workers 8 $(SHORT)
	$(BIN)/python benchmarks/search/run.py --unseen $(SHORT)
	$(BIN)/python benchmarks/search/noise.py $(SHORT)
	$(BIN)/python benchmarks/search/noise.py --unseen $(SHORT)
	$(BIN)/python benchmarks/search/gain.py $(SHORT)
	$(BIN)/python benchmarks/search/prospect.py $(SHORT)
	$(BIN)/python benchmarks/search/retune.py $(SHORT)
	$(BIN)/python benchmarks/search/importance.py $(SHORT)
	test -n '$(SHORT)' || $(BIN)/python benchmarks/search/pruning.py
	test -n '$(SHORT)' || $(BIN)/python benchmarks/search/write_up.py

screenshots: .venv/installed ## the README's pictures, of a run of `digits`; needs Chromium
	$(BIN)/python docs/picture.py

clean: ## remove .venv and caches
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

.venv/installed: pyproject.toml
	@echo "installing into .venv: a few minutes the first time (PyTorch is large)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Caviar needs Python 3.11 or newer; give it as: make run PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --editable '.[dashboard,report]'
	@$(BIN)/python -m compileall -q src models storage studies  # else every command does, where bytecode is not written
	@touch $@

.venv/installed-dev: .venv/installed
	@echo "installing the test and lint tools into .venv"
	@$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@
