# What can be done here; `make help` lists it. Everything runs in .venv, which is made when it is missing.
.DEFAULT_GOAL := help
.PHONY: help venv demo test lint check format bench bench-policies golden picture lock clean
BIN := .venv/bin
PYTEST_ARGS ?=
BENCH_ARGS ?=

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS="$$(printf '\t')" read -r name text; do printf '  make %-14s %s\n' "$$name" "$$text"; done

venv: ## make .venv from requirements.lock (free when nothing changed)
	@./scripts/venv.sh

demo: venv ## the main job in one command: recorded grid days, real training jobs, a receipt
	$(BIN)/lowtide demo

test: venv ## all tests; PYTEST_ARGS="-k name" for some
	$(BIN)/pytest $(PYTEST_ARGS)

lint: venv ## style, format, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=.typing $(BIN)/lint-imports --no-cache

check: lint test ## lint, then test

format: venv ## let ruff mend and format the tree
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: venv ## measure; results go to standard output
	$(BIN)/python bench/run.py

bench-policies: venv ## every policy beside the least that any schedule could emit; BENCH_ARGS="--caps 30" for a part
	$(BIN)/python bench/policies.py $(BENCH_ARGS)

golden: venv ## write the golden files anew; read the diff
	LOWTIDE_GOLDEN=1 $(BIN)/pytest -m golden
	git --no-pager diff --stat -- tests/golden docs

picture: venv ## play the demo and draw docs/demo.svg, the picture of the README
	$(BIN)/python scripts/picture.py

lock: ## choose the newest allowed packages and write requirements.lock (needs uv and the network)
	@./scripts/lock.sh

clean: ## remove .venv and everything that is made
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
