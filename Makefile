# Every target makes its own environment first; HUNDI_PORT_OFFSET and HUNDI_DATA_DIR move a stack aside.
.DEFAULT_GOAL := help
.PHONY: help run stop status demo bench migrate test quick lint types imports unit soak compose-test clean

hundi := .venv/bin/hundi

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

run: env-run ## the whole market in the foreground, from a fresh clone; Ctrl-C stops it
	@exec $(hundi) up

stop: env-run ## stop a market that runs elsewhere
	@$(hundi) stop

status: env-run ## which processes are healthy
	@$(hundi) status

demo: env-run ## orders of each kind on the running market, each step printed
	@$(hundi) demo

bench: env-test ## figures against peers, as ratios
	@$(hundi) bench

migrate: env-run ## bring the database to this version's schema
	@$(hundi) migrate

test: lint types imports unit ## everything that can fail: style, types, layers, tests

quick: lint types imports ## style, types, layers and the pure tests: after each change
	@echo "pytest, pure tests" && .venv/bin/pytest --numprocesses 2 --quiet -m pure

lint: env-test ## style
	@echo "ruff" && .venv/bin/ruff check . && .venv/bin/ruff format --check --quiet .

types: env-test ## types
	@echo "mypy" && .venv/bin/mypy

imports: env-test ## layers
	@echo "lint-imports" && .venv/bin/lint-imports

unit: env-test ## the tests alone
	@echo "pytest" && .venv/bin/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

soak: env-test ## a market of its own under haste, MINUTES=3 of it, judged by the exchange's files
	@.venv/bin/python -m tests.soak --minutes $(or $(MINUTES),3)

compose-test: ## docker-compose.yml started from nothing, traded through and taken away; needs Docker
	@deploy/compose-test.sh

clean: ## forget the environment and the caches; the market's data in .hundi stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

env-%:
	@stack/environment.sh $*
