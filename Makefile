# Everything runs in .venv, which the first target to need it makes.
PYTHON ?= python3
BIN := .venv/bin
CODE := elites networks planners dynamics envs agents runs examples benchmarks tests docs README.md setup.py
PACKAGES := networks planners dynamics envs agents runs

.PHONY: demo test test-slow test-mbrl test-peers lint format typing docs notebooks figures bench gpu check clean

demo: .venv/installed          ## the main job
	$(BIN)/python examples/pets.py --planner cem_gd

test: .venv/installed build/typing  ## everything that is not slow
	$(BIN)/pytest -m "not slow"

test-slow: .venv/installed build/typing  ## what takes minutes
	$(BIN)/pytest -m slow -n 0

test-mbrl: .venv-mbrl/peers  ## against mbrl-lib, Stable-Baselines3, SBX and others, in an environment of their own
	.venv-mbrl/bin/pytest tests/mbrl

test-peers: .venv/installed .venv-d3rlpy/installed .venv-rlax/installed  ## against d3rlpy and rlax, each in its own
	mkdir -p build/peers
	.venv-d3rlpy/bin/python tests/data/make_d3rlpy.py build/peers
	.venv-rlax/bin/python tests/data/make_rlax.py build/peers
	ELITES_PEERS=build/peers $(BIN)/pytest -n 0 tests/agents/test_peers.py

lint: .venv/installed
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/codespell

format: .venv/installed
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

typing: .venv/installed build/typing  ## mypy, and the direction of imports
	$(BIN)/mypy
	MYPYPATH=build/typing $(BIN)/mypy --config-file pyproject.toml $(wildcard examples/*.py benchmarks/*.py)
	cd build/typing && ../../$(BIN)/lint-imports --config ../../pyproject.toml

docs: .venv/installed build/typing  ## the site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	$(BIN)/python docs/check_site.py build/site

notebooks: .venv/installed     ## runs docs/notebooks/ and stores what comes out, some 2 minutes
	$(BIN)/python docs/run_notebooks.py

figures: .venv/installed       ## the pictures of docs/, some 8 minutes
	$(BIN)/python benchmarks/landscape.py --out docs/pictures
	$(BIN)/python benchmarks/sample_efficiency.py --out docs/pictures --csv results/sample_efficiency.csv
	$(BIN)/python benchmarks/barrier.py --out docs/pictures --csv results/barrier.csv

bench: .venv-mbrl/peers        ## one plan's time and memory, here and in other libraries; make bench ARGS='--size 4,1'
	.venv-mbrl/bin/python benchmarks/benchmark.py $(ARGS)

.venv-mbrl/gpu: .venv-mbrl/peers
	.venv-mbrl/bin/python -m pip install --quiet 'cuda-bindings>=12.9' 'jax[cuda12]==0.6.2'
	@touch $@

gpu: .venv-mbrl/gpu            ## on a machine with CUDA: checks against the CPU, and plans and updates, under 8 minutes
	.venv-mbrl/bin/python benchmarks/gpu.py --out results/gpu.json $(ARGS)

check: lint typing test docs   ## before a commit

clean:
	rm -rf .venv .venv-mbrl .venv-d3rlpy .venv-rlax build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

.venv/installed: setup.py pyproject.toml constraints.txt $(wildcard networks/kernel/*)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "elites needs Python 3.10 or newer; try make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

# mbrl-lib pins a Gymnasium and a Hydra of years ago, hence --no-deps.
.venv-mbrl/installed: setup.py constraints.txt tests/mbrl/requirements.txt $(wildcard networks/kernel/*)
	test -x .venv-mbrl/bin/python || $(PYTHON) -m venv .venv-mbrl
	.venv-mbrl/bin/python -m pip install --quiet --constraint constraints.txt --requirement tests/mbrl/requirements.txt --editable . pytest pytest-xdist
	.venv-mbrl/bin/python -m pip install --quiet --no-deps mbrl==0.2.0
	@touch $@

# Beside mbrl-lib, so with its torch and without what else they would bring.
.venv-mbrl/peers: .venv-mbrl/installed benchmarks/requirements.txt
	.venv-mbrl/bin/python -m pip install --quiet --no-deps --requirement benchmarks/requirements.txt
	@touch $@

.venv-%/installed: tests/data/requirements-%.txt
	test -x .venv-$*/bin/python || $(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --requirement $<
	@touch $@

# The package as type checkers want it: links to the folders that setup.py maps.
build/typing: .venv/installed
	@rm -rf $@ && mkdir -p $@/elites
	@ln -s $(CURDIR)/elites/* $@/elites/
	@for package in $(PACKAGES); do ln -s $(CURDIR)/$$package $@/elites/$$package; done
