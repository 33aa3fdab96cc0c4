# Needs make and Python 3.10 or newer with venv, nothing else; `make help` says what there is.
# Another Python than python3: make PYTHON=python3.12 demo

PYTHON ?= python3
READY := .venv/ready
MINIMUM := .venv-minimum/ready
PY := .venv/bin/python
CIMSIM := .venv/bin/cimsim
DEMO_TRAIN := $(CIMSIM) train --data digits --model mlp --profile pcm-ibm-2020 --epochs 30 --lr 0.003

# Settings of some other Python must not leak into ours.
unexport PYTHONPATH PYTHONHOME

# What computes, and not what reads files or talks to people.
NUMERICAL := $(addprefix tests/,adaptation analysis array circuits physics estimators fitting kernels nn \
	quantizers training test_golden_devices.py test_everything_at_once.py \
	test_every_setting.py)
PYTEST := -m pytest --numprocesses auto --dist worksteal

.PHONY: help demo test test-long test-exhaustive test-portable test-integrations test-minimum lint docs clean

help:
	@echo "make demo           train, sweep and plot on the digits: runs/demo/accuracy_vs_noise.png"
	@echo "make test           run the tests"
	@echo "make test-long      run the slow tests that make test leaves out"
	@echo "make test-exhaustive  run the remaining pairs of profile settings"
	@echo "make test-portable  run the numerical tests without vector instructions and a compiler"
	@echo "make test-integrations  run the tests with other libraries: transformers, lightning, ..."
	@echo "make test-minimum   run the tests with the oldest supported packages, with Python 3.10 or"
	@echo "                    3.11: make PYTHON=python3.10 test-minimum"
	@echo "make lint           check style and types"
	@echo "make docs           build the documentation: build/docs/html/index.html"
	@echo "make clean          remove the environments and all caches (results in runs/ stay)"
	@echo "The environment .venv (.venv-minimum for test-minimum) is created if it is missing or out"
	@echo "of date."

demo: $(READY)
	rm -rf runs/demo
	$(DEMO_TRAIN) --method digital --out runs/demo/digital
	$(DEMO_TRAIN) --method noise-aware --noise 6 --clip-sigma 1.5 --out runs/demo/noise-aware
	$(CIMSIM) sweep runs/demo/digital runs/demo/noise-aware --over noise=0:8:1 --chips 10
	$(CIMSIM) plot runs/demo/digital runs/demo/noise-aware --out runs/demo/accuracy_vs_noise.png

test: $(READY)
	$(PY) $(PYTEST)

test-long: $(READY)
	$(PY) $(PYTEST) -m long

test-exhaustive: $(READY)
	$(PY) $(PYTEST) -m exhaustive

test-portable: $(READY)
	$(PY) -m tests.portable $(PY) $(PYTEST) $(NUMERICAL)

test-integrations: .venv/integrations
	$(PY) $(PYTEST) tests/integrations tests/app tests/cli/test_app.py tests/test_documentation.py

test-minimum: $(MINIMUM)
	.venv-minimum/bin/python $(PYTEST)

lint: $(READY)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

# Executes the tutorials in as many processes as there are cores; any warning is an error.
docs: .venv/docs
	$(PY) -m sphinx --quiet --fail-on-warning --keep-going --jobs auto \
		--doctree-dir build/docs/doctrees docs build/docs/html

clean:
	rm -rf .venv .venv-minimum build dist docs/generated *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The mark is made only after a complete installation; an interrupted one starts again.
$(READY): constraints.txt
$(READY): EXTRAS := test,lint
$(MINIMUM): constraints-minimum.txt
$(MINIMUM): EXTRAS := test
$(READY) $(MINIMUM): %/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
		echo "cimsim needs Python 3.10 or newer, and '$(PYTHON)' is older or missing;" \
			"choose another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "'$(PYTHON)' cannot make environments;" \
			"on Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
	@echo "Installing into $*; the first time, this downloads PyTorch and takes a few minutes."
	[ -e $@ ] || $(PYTHON) -m venv --clear $*
	@rm -f $@
	$*/bin/python -m pip install --disable-pip-version-check \
		-c $(filter constraints%,$^) -e '.[$(EXTRAS)]'
	@touch $@

# The tools of the documentation and the libraries of integrations are separate, so that tests and
# demo do not need them.
.venv/docs .venv/integrations: .venv/%: $(READY)
	$(PY) -m pip install --disable-pip-version-check -c constraints.txt -e '.[$*]'
	@touch $@
