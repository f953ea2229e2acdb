# Nothing to install before but Python 3.11 or newer and make.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
RUN := $(VENV)/bin/python
CORES := -n auto --dist worksteal
STAMP := $(VENV)/.installed
WAYS := src tests bench scripts

.DEFAULT_GOAL := help
.PHONY: help setup demo up check lint types layers test engines clients sim fuzz e2e chaos bench docs lock clean

help: ## show what can be done
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv with exactly what requirements.lock names
	@:

demo: setup ## the main job: 20,000 events in, then metrics, searchable events, suppressions and webhooks counted
	$(VENV)/bin/omni demo

up: setup ## every role on this machine, data kept in ./omni-data, until Ctrl-C
	$(VENV)/bin/omni up

check: lint types layers test ## everything that must be green before a change is offered

lint: setup ## ruff: all rules, and the format
	$(VENV)/bin/ruff check $(WAYS)
	$(VENV)/bin/ruff format --check $(WAYS)

types: setup ## mypy, strict
	$(VENV)/bin/mypy

layers: setup ## import-linter: imports point down only
	$(VENV)/bin/lint-imports

test: setup ## every test but the end-to-end ones on other engines
	$(RUN) -m pytest $(CORES) -m "not engines and not clients and not simulation"

engines: setup ## end to end over SQS's protocol and on PostgreSQL
	$(RUN) -m pytest $(CORES) -m "engines and not clients"

clients: setup ## the official Node client against a filled system; needs node and npm
	npm ci --silent --no-audit --no-fund --prefix tests/clients/node
	$(RUN) -m pytest -m clients

sim: setup ## the whole way under faults from a seed, and the code broken on purpose: SEEDS=5000 for more, SEED=123 to see one again
	$(if $(SEED),,OMNI_SIM_SEEDS=50 $(RUN) -m pytest $(CORES) tests/simulation)
	$(RUN) -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1000))

fuzz: setup ## odd input for every parser that outsiders reach: SECONDS=60 for each of them, 2 if not said
	OMNI_FUZZ_SECONDS=$(or $(SECONDS),2) $(RUN) -m pytest $(CORES) -m fuzz

e2e: setup ## the whole system as real processes: every end-to-end test, then `make chaos`
	$(RUN) -m pytest -m e2e
	$(RUN) -m tests.chaos --write

chaos: setup ## a million events and 220 faults on each queue in about an hour, counted: docs/RELIABILITY.md; QUEUE=sqs, SEED=2
	$(RUN) -m tests.chaos --write $(if $(QUEUE),--queue $(QUEUE)) $(if $(SEED),--seed $(SEED))

bench: setup ## how fast it is here, beside the bare limit and RabbitMQ, in about an hour; ROWS=hose,outage for a part, QUICK=1
	$(RUN) -m bench $(if $(ROWS),--rows $(ROWS)) $(if $(QUICK),--quick)

docs: setup ## write docs/reference and deploy/iam anew from the code
	$(RUN) -m omni_etl.cli.reference docs/reference
	$(RUN) scripts/licences.py docs/reference/licences.md
	$(RUN) scripts/policies.py deploy/iam

lock: ## resolve pyproject.toml anew into requirements.lock, with hashes
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --upgrade pip
	build/lock/bin/python scripts/lock.py requirements.lock

clean: ## remove what was built here, .venv too; ./omni-data is kept
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests bench scripts -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
