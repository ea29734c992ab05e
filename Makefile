# Every target makes .venv on its own. It is made once, and again when requirements.txt or pyproject.toml change.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# Tests run in so many processes; a file stays in one of them, a page too. Pages come first, which are long, so that both end together.
JOBS ?= 2

# Kernels run in notebooks/, so a relative HEBM_DATA is made absolute first.
ifneq ($(strip $(HEBM_DATA)),)
export HEBM_DATA := $(abspath $(HEBM_DATA))
endif

.DEFAULT_GOAL := help
.PHONY: run test nightly lab book pages scoreboard experiments lint bench clean help

$(STAMP): requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -e .
	@touch $@

run: $(STAMP)  ## train on the embedded digits (minutes, no download), then evaluate into runs/digits/
	$(BIN)/python -m hebm_lib train digits --overwrite
	$(BIN)/python -m hebm_lib evaluate digits

test: $(STAMP)  ## unit tests, examples in docstrings, and every page run again and compared with its stored outputs
	HEBM_FRAMES=first PYTHONPATH=$(abspath tests) $(BIN)/python -m pytest -p quick_start -p no:anyio -n $(JOBS) --dist loadscope --no-loadscope-reorder --nbval --nbval-sanitize-with tests/nbval_sanitize.cfg notebooks tests hebm_lib

nightly: $(STAMP)  ## every page with each of its cells run twice in a row, and with another model where it offers one (half an hour)
	$(BIN)/python -m pytest -n $(JOBS) -m nightly tests

lab: $(STAMP)  ## open the pages in JupyterLab
	$(BIN)/jupyter lab notebooks

book: $(STAMP)  ## build the book into book/_build/html; a warning or a wrong link is an error
	$(BIN)/python tools/mend_links.py
	$(BIN)/jupyter-book build book/ -n -W --keep-going
	$(BIN)/python tools/check_links.py

pages: $(STAMP)  ## run pages again and store their outputs: make pages [PAGES="04-joint-ebm-prior"]
	$(BIN)/python tools/execute_pages.py $(PAGES)

scoreboard: $(STAMP)  ## fill the tables of the scoreboard page and the README from book/results/
	$(BIN)/python -m hebm_lib scoreboard

experiments: $(STAMP)  ## train, publish and measure whatever is missing (hours; resumes where it was interrupted)
	$(BIN)/python -m hebm_lib experiments

lint: $(STAMP)  ## check code and pages with ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(STAMP)  ## time prior sampling and training steps on this machine, ours beside others': make bench [ARGS=--quick]
	$(BIN)/python -m hebm_lib bench $(ARGS)

clean:  ## remove .venv, the built book and caches; runs/ stays
	rm -rf .venv book/_build *.egg-info .pytest_cache .ruff_cache
	find hebm_lib tests tools notebooks \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -prune -exec rm -rf {} +

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
