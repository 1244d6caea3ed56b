# fleetlake: `make help` lists what you can ask for.
.DEFAULT_GOAL := help
SHELL := /bin/sh
.SHELLFLAGS := -euc
BIN := .venv/bin
# Compiled bytecode halves every start of Airflow; tests and tasks must not run without it.
unexport PYTHONDONTWRITEBYTECODE

help: ## show this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

install: .venv/runtime ## make .venv with everything the project needs to run

demo: .venv/runtime ## set everything up, load three days through Airflow, report, stop
	@$(BIN)/fleetlake demo

up: .venv/runtime ## start the living stack: Airflow on http://127.0.0.1:8080 and the vendor sandbox
	@$(BIN)/fleetlake up

down: ## stop the stack; data stays
	@if [ -x $(BIN)/fleetlake ]; then $(BIN)/fleetlake down; fi

status: .venv/runtime ## what runs, and whether it is healthy
	@$(BIN)/fleetlake status

test: .venv/dev ## every test, tier by tier
	@sh tools/test.sh

test-unit: .venv/dev ## the fast tests only
	@sh tools/test.sh unit

compare: .venv/dev .venv/peers ## play the same faults against dlt, write docs/compared-with-dlt.md
	@$(BIN)/python -m tools.compare

lint: .venv/dev ## style, types, layers, generated pages
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/fleetlake dictionary --check

plan: .venv/runtime ## DATASET=rcs.telemetry FROM=2026-11-01 TO=2026-11-14: what a backfill would do and cost
	@$(BIN)/fleetlake plan --dataset "$(DATASET)" --from "$(FROM)" --to "$(TO)"

backfill: .venv/runtime ## DATASET=rcs.telemetry FROM=2026-11-01 TO=2026-11-14: plan, ask, load, prove (the stack must be up)
	@$(BIN)/fleetlake backfill --dataset "$(DATASET)" --from "$(FROM)" --to "$(TO)"

sql: .venv/runtime ## Q="select …": ask the warehouse
	@$(BIN)/fleetlake sql "$$Q"

lock: .venv/runtime ## compile requirements*.in into exact pins
	@sh tools/lock.sh

clean: ## stop the stack, remove its data and .venv
	@if [ -x $(BIN)/fleetlake ]; then $(BIN)/fleetlake down --remove-data; fi
	rm -rf .venv

# A virtual environment holds absolute paths: one that was moved or copied is made anew.
ifneq ($(shell cat .venv/place 2>/dev/null),$(CURDIR))
.PHONY: .venv/runtime .venv/dev
endif
.venv/runtime: requirements.txt pyproject.toml tools/bootstrap.py
	@PYTHON="$(PYTHON)" sh tools/bootstrap.sh requirements.txt
	@touch $@
.venv/dev: requirements.txt requirements-dev.txt pyproject.toml tools/bootstrap.py
	@PYTHON="$(PYTHON)" sh tools/bootstrap.sh requirements.txt requirements-dev.txt
	@touch .venv/runtime $@

.venv/peers: requirements-peers.txt .venv/dev
	@$(BIN)/uv venv --quiet --clear .venv/peers
	@$(BIN)/uv pip install --quiet --python .venv/peers/bin/python -r requirements-peers.txt
	@touch $@

.PHONY: help install demo up down status test test-unit compare lint plan backfill sql lock clean
