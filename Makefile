# Every target does its own set-up: a virtual environment inside the checkout, from Python 3.11+ and pip alone.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test test-measure test-browser lint docs bench clean

demo: $(READY)
	$(BIN)/ctxsim analyze yi-34b-50k-a100
	$(BIN)/ctxsim simulate yi-34b-50k-a100
	$(BIN)/ctxsim report yi-34b-50k-a100 -o reports/demo
	@echo "open reports/demo/index.html"

test: lint
	$(BIN)/python -m pytest -n 2 --ignore tests/browser

test-measure: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[measure]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/measure

# Opens reports in Chromium (or Chrome); the tests are skipped with a reason where there is none.
test-browser: $(READY)
	$(BIN)/python -m pytest -rs tests/browser

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)
	$(BIN)/ctxsim paper --markdown > docs/paper.md
	$(BIN)/python docs/readme_figure.py
	$(BIN)/python benchmarks/residency.py > docs/residency.md
	$(BIN)/python benchmarks/economics.py -o docs
	$(BIN)/ctxsim validate --data ../shared/data -o docs
	$(BIN)/python benchmarks/run.py --million --markdown > docs/performance.md

bench: $(READY)
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf .venv reports/demo

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
