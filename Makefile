# Everything happens in .venv, made with whatever Python >= 3.11 is called $(PYTHON).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup quickstart quickstart-segmentation test lint types check bench bench-tables bench-grids bench-faults simulations pages docs report clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-24s %s\n", $$1, $$2}'

setup: $(INSTALLED) ## create .venv and install everything

$(INSTALLED): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python >= 3.11 is needed, this is " + sys.version.split()[0] + "; choose one with make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

quickstart: setup ## set up, run eight methods on digits, print the ranked table
	$(BIN)/dfkd run quickstart --results runs/quickstart

quickstart-segmentation: setup ## the same for segmentation, on drawn street scenes
	$(BIN)/dfkd run quickstart-segmentation --results runs/quickstart-segmentation

test: setup lint types check ## set up, then lint, types and tests

lint: setup ## ruff, and the arrows between the rooms (import-linter)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: setup ## mypy
	$(BIN)/mypy

check: setup ## the tests, on up to eight cores
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

bench: setup ## time a generator step and a student step against a plain loop
	$(BIN)/python -m tests.speed

bench-tables: setup ## time the leaderboard and the report of 10,000 made-up records
	$(BIN)/python -m tests.speed.tables --output docs/tables.md

bench-grids: setup ## time grids of one and two workers, and 10,000 runs that do nothing on Ray
	$(BIN)/python -m tests.speed.scaling

bench-faults: setup ## kill a grid at random moments, 70 times, and see what is lost
	$(BIN)/python -m tests.faults
	$(BIN)/python -m tests.hostile --output docs/reliability.md

simulations: setup ## count how often the statistics err, and write docs/statistics.md
	$(BIN)/python -m tests.simulations

pages: setup ## write every page of results, the README's part too, from results/
	$(BIN)/dfkd pages

docs: setup ## build the static site of all pages, in site/
	$(BIN)/dfkd docs

report: setup ## write report.html from results/
	$(BIN)/dfkd report

clean: ## remove .venv and runs/
	rm -rf $(VENV) runs
