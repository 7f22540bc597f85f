# Everything a person types. `make run` and `make test` need only python3 >= 3.11 and make: they create
# .venv and install what is missing; the second time they do not.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help run demo setup native test test-native coverage lint format bench loadtest schema lock image clean

BIN := .venv/bin
# Two test processes on a small machine, one per core up to four on a larger one.
WORKERS ?= auto
PYTEST ?= -n $(WORKERS) --maxprocesses=4
NATIVE_TESTS ?= tests/core tests/http1 tests/upstream tests/edge tests/evidence tests/wire tests/e2e \
  tests/scenarios/test_killed_shadow_loses_nothing_uncounted.py tests/scenarios/test_reload_under_load.py
BENCH ?=
LOADTEST ?= --headless --users 20 --spawn-rate 10 --run-time 30s

help: ## say what each target does
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' Makefile | expand -t 21

run: ## set up, then start the demo: a gateway with real models, replaying real flights
	@scripts/create-venv run
	@echo 'run: starting the demo gateway (stop it with Ctrl-C)'
	@exec $(BIN)/tiltyard demo

demo: run ## the same as run

setup: ## create .venv with everything that tests, checks and benchmarks need
	@scripts/create-venv dev

native: setup ## compile the hot modules; a gateway's processes then run on that build until a source changes
	@scripts/build-native

test: setup ## run all tests, print branch coverage, fail below its thresholds
	@echo 'test: running the test suite over real sockets and processes'
	@rm -f .coverage .coverage.*
	@$(BIN)/python -m pytest $(PYTEST) --cov --cov-report=
	@$(MAKE) --no-print-directory coverage

test-native: native ## run the tests of the hot path, and the promises of the whole, over the native build
	@echo 'test-native: the same tests, over the compiled modules'
	@TILTYARD_NATIVE=require $(BIN)/python -m pytest $(PYTEST) -o pythonpath='.venv/native .' $(NATIVE_TESTS)

coverage: ## print the coverage of the last `make test` and hold it to its thresholds
	@$(BIN)/coverage report
	@$(BIN)/python scripts/check_coverage.py

lint: setup ## ruff, mypy, the import contracts, the Dockerfile, and what no committed file may hold
	@echo 'lint: ruff, mypy --strict, import contracts, Dockerfile, committed text'
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@if [ -x $(BIN)/hadolint ]; then $(BIN)/hadolint Dockerfile; else echo 'lint: no hadolint here, Dockerfile not linted'; fi
	@$(BIN)/python scripts/check_committed_text.py

format: setup ## format the code and mend what ruff can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: native ## measure CPU per request beside nginx and Envoy on this machine
	@$(BIN)/python -m loadtests.bench $(BENCH)

loadtest: native ## drive a gateway with a realistic mix and reconcile every count
	@$(BIN)/locust -f loadtests/locustfile.py $(LOADTEST)

schema: setup ## write configs/gateway.schema.json, the published JSON Schema of the configuration
	@$(BIN)/tiltyard schema >configs/gateway.schema.json.partial
	@mv configs/gateway.schema.json.partial configs/gateway.schema.json
	@echo 'schema: configs/gateway.schema.json'

lock: setup ## move every lock file to the newest releases that fit pyproject.toml
	@scripts/refresh-locks

image: ## build the container image
	docker build --tag tiltyard:latest .

clean: ## remove .venv and everything that tools left behind
	@rm -rf .venv build dist .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
