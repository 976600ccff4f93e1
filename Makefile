# Each command sets up what it needs, once, and says what it is doing.
# A part of the tests: make test T=tests/engine

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run demo test test-fast test-full deploy-check docs soak bench scale page screenshots lint format requirements clean

T ?= tests
PIP := venv/bin/python -m pip --disable-pip-version-check
COMPILE := venv/bin/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --generate-hashes --no-header
DEPENDENCIES := venv/.installed emulators/node_modules/.installed web/dist/.built
# The page contains the commit, so that it is built again after each one; there is no such file without git.
COMMITS := $(wildcard $(shell git rev-parse --git-path logs/HEAD 2>/dev/null))
PAGE := $(shell find web -name node_modules -prune -o -name dist -prune -o -type f -print)

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | while IFS='|' read -r name text; do printf '  make %-14s %s\n' "$$name" "$$text"; done

run: $(DEPENDENCIES) ## start the local stack; tasks run on schedule until Ctrl-C
	@venv/bin/python -m emulators up || [ $$? -eq 130 ]  # Ctrl-C is the normal end

demo: $(DEPENDENCIES) ## start the stack, run each task once, read the results with the Firebase client SDK
	@venv/bin/python -m emulators demo

test: $(DEPENDENCIES) ## run all tests before a change lands, in several processes
	@$(if $(filter tests tests/ tests/web% tests/emulators%,$(T)),.ci/set-up chromium)
	@venv/bin/python -m tests $(T)

test-fast: $(DEPENDENCIES) ## run the tests that start no other programs, while you work
	@venv/bin/python -m tests fast $(T)

test-full: $(DEPENDENCIES) ## run all tests with larger bounds and more rounds; takes long
	@venv/bin/python -m pytest --full $(T)

deploy-check: $(DEPENDENCIES) ## deploy to a recorder in Google's place and check the requests
	@venv/bin/python -m pytest tests/deploy

docs: venv/.installed ## write the generated parts of docs/deploy.md
	@venv/bin/python -m deploy page

soak: $(DEPENDENCIES) ## run ticks, random faults and readers for ten minutes, or SOAK_SECONDS
	@venv/bin/python -m emulators exec -- venv/bin/python -m tests.soak

bench: $(DEPENDENCIES) ## measure performance as ratios within one run; takes some minutes
	@venv/bin/python -m emulators exec -- venv/bin/python -m bench

scale: $(DEPENDENCIES) ## compute and simulate the design's limits: docs/scale.md
	@venv/bin/python -m bench.scale

page: web/dist/.built ## build the operators' page into web/dist

screenshots: $(DEPENDENCIES) ## take the pictures in docs/screenshots
	@venv/bin/python -m emulators exec -- venv/bin/python -m tests.web.screenshots

lint: $(DEPENDENCIES) ## check format, lint, types and import directions
	@venv/bin/ruff format --check .
	@venv/bin/ruff check .
	@venv/bin/mypy
	@mkdir -p .stack; venv/bin/lint-imports --no-cache >.stack/import-linter.log 2>&1 || { cat .stack/import-linter.log; exit 1; }

format: venv/.installed ## apply formatting and automatic fixes
	@venv/bin/ruff format .
	@venv/bin/ruff check --fix .

requirements: venv/.installed ## pin the dependencies in requirements.in and requirements-dev.in
	@$(COMPILE) --upgrade requirements.in -o requirements.txt
	@$(COMPILE) --upgrade requirements-dev.in -o requirements-dev.txt

clean: ## remove everything that was set up or built
	@rm -rf venv emulators/node_modules web/node_modules web/dist .stack firebase.local.json .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

venv/.installed: requirements.txt requirements-dev.txt
	@.ci/set-up python

emulators/node_modules/.installed: emulators/package-lock.json
	@.ci/set-up node

web/node_modules/.installed: web/package-lock.json
	@.ci/set-up page

web/dist/.built: web/node_modules/.installed $(PAGE) $(COMMITS)
	@.ci/set-up build
