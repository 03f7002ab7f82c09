# The words a newcomer types. Everything lives in .venv and in the directories that each tool names; `make help` lists them.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test check format docs lock bench soak clean

help: ## list these words
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 18

install: $(READY) ## an environment of its own in .venv, dependencies pinned with hashes

$(READY): tests/requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "s2ictl needs Python 3.11 or later; say PYTHON=…")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

demo: install ## build the Python sample, run it, ask it, and show how long each step took
	$(BIN)/python -m tests.demo

test: install ## every layer of tests on real parts: brings them up, runs, takes them down (35 minutes from nothing, 25 with the servers compiled)
	$(BIN)/python -m tests.all

check: install ## format, lint, types, import contracts
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/lint-imports --no-cache > .lint-imports.txt || { cat .lint-imports.txt; exit 1; }
	$(BIN)/mypy --no-error-summary
	@rm -f .lint-imports.txt

format: install ## let ruff write the code as it should look
	$(BIN)/ruff format --quiet .
	$(BIN)/ruff check --quiet --fix .

docs: install ## write the generated parts of README.md, completions/ and tests/recordings/ anew
	$(BIN)/python -m tests.docs
	$(BIN)/python -m tests.recordings

lock: install ## pin the newest allowed dependencies, with hashes
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-annotate --no-header \
	  --no-emit-index-url --group dev --output-file tests/requirements.txt --upgrade pyproject.toml

bench: install ## measured ratios: start-up against the bare interpreter, builds against the peer on PATH
	$(BIN)/python -m tests.bench

soak: install ## the long form of every campaign: hundreds of interruptions
	$(BIN)/python -m tests.all --soak

clean: ## take down the testbed and remove what make made here
	[ ! -x $(BIN)/python ] || $(BIN)/python -m tests.testbed down
	rm -rf $(VENV) .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache
