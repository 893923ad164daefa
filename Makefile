# Needs Python 3.11 or later and make; each target obtains the rest.
PYTHON ?= python3

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench clean

help:  ## List the targets.
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

demo:  ## Serve the demo site on PORT (8000), on DATABASE_URL (an SQLite file).
	@$(PYTHON) -m tests.run demo

test:  ## Test on every database. ARGS="--coverage --lane 6.1 --database sqlite -- -k word"
	@$(PYTHON) -m tests.run test $(ARGS)

lint:  ## Run the linters, the type checker and the check for missing migrations.
	@$(PYTHON) -m tests.run lint

bench:  ## Run the benchmarks. ARGS=policies for those of policies on PostgreSQL.
	@$(PYTHON) -m tests.run bench $(ARGS)

clean:  ## Remove environments, reports and caches, and stop the developer's servers.
	$(PYTHON) tests/servers.py stop
	rm -rf .venvs .reports .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
