# Everything that a reader, a writer or CI does here. Needs Python 3.11+ with venv, git and make.
PYTHON ?= python3
# Where pip finds torch; for PyTorch's small CPU build on Linux:
#   make book TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
BIN := .venv/bin
# One thread each: lessons are budgeted so, and workers must not fight over cores.
RUN := PYTHONUTF8=1 OMP_NUM_THREADS=1 TQDM_DISABLE=1 $(BIN)/python

.PHONY: book test pages pdf lab lessons students slides figures confirm retarget release lock clean

## book: build the HTML book; runs only the lessons whose stored outputs are stale (FRESH=1: all;
## FAIL_IF_STALE=1: none, a stale one fails the build)
book: .venv/ready
	$(RUN) -m tools.lessons book $(if $(FRESH),--fresh) $(if $(FAIL_IF_STALE),--fail-if-stale)

## test: ruff, every lesson (compared number by number), the library, the built book in Chromium
test: book
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
# In this order, the longest files first: one at the end would leave one worker idle.
	$(RUN) -m pytest --nbval --nbval-current-env --numprocesses 2 --dist loadfile \
	    --no-loadscope-reorder --durations 10 tests/test_browser.py lessons tests

## pages: what axe finds on each page of the built book, and what it weighs, as a table (Chromium)
pages: .venv/ready
	$(RUN) -m tools.pages

## pdf: print the built book into _build/course.pdf (Chromium)
pdf: .venv/ready
	$(RUN) -m tools.pdf

## lab: the lessons in JupyterLab, also for root, whom containers run as
lab: .venv/ready
	$(BIN)/jupyter lab --allow-root lessons

## lessons: run stale lessons and store their outputs in the tracked notebooks (FRESH=1: all)
lessons: .venv/ready
	$(RUN) -m tools.lessons refresh $(if $(FRESH),--fresh)

## students: lessons without solutions in _build/students, whole in _build/key
students: .venv/ready
	$(RUN) -m tools.students

## slides: a slide set of each essential page in _build/slides
slides: .venv/ready
	$(RUN) -m tools.slides

## figures: every figure of the built book as SVG and PNG in _build/pictures
figures: book
	$(RUN) -m tools.figures

## confirm: once rules are settled, run lessons at base seeds never used (LESSON="a/b": only that)
confirm: .venv/ready
	$(RUN) -m tools.confirm $(LESSON)

## retarget: point everything at a fork, e.g. make retarget TO=someone/course
retarget: .venv/ready
	$(RUN) -m tools.retarget $(TO)

## release: set the version everywhere, e.g. make release VERSION=0.2.0
release: .venv/ready
	$(RUN) -m tools.release $(VERSION)

## lock: write the exact versions of all that requirements.in needs, keeping those that still fit
## (to move on to today's, delete requirements.txt first)
lock:
	$(PYTHON) -m venv _build/uv
	_build/uv/bin/pip install --quiet uv
	_build/uv/bin/uv pip compile --universal --python-version 3.11 --no-annotate \
	    --custom-compile-command "make lock" --output-file requirements.txt --quiet requirements.in

clean:
	rm -rf _build

# The stamp holds what the environment was made from: a changed requirement makes it anew.
# The lock is a constraint: what it names but nothing needs, as the CPU build does not need
# nvidia-*, stays out. PyTorch's index has torch, but not the locked version of all that it needs.
.venv/ready: requirements.in requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(if $(TORCH_INDEX),$(BIN)/pip install --no-deps --index-url $(TORCH_INDEX) $$(grep ^torch== requirements.txt))
	$(BIN)/pip install --requirement requirements.in --constraint requirements.txt
	$(BIN)/pip install --no-deps --no-build-isolation --editable .
	touch $@
