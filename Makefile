# The commands of this repository; CI runs the same ones. `make` alone lists them.
.DEFAULT_GOAL := help
.NOTPARALLEL:
bin := .venv/bin
npm := .venv/npm/node_modules/axe-core/axe.min.js
covered := core registry serving
# The tests that cover them: their own, and the flows of those parts of the registry that need a search. All others run
# without the coverage tracer, which costs them a third of their time. A line that none of these covers fails
# `make test`: test it in the folder of its package.
flows := pipeline/test_against_live pipeline/test_data_command pipeline/test_dvc_project pipeline/test_feature_lineage \
	pipeline/test_forwarding_flow pipeline/test_lineage_sent pipeline/test_views_flow cli/test_features_command
covering := $(covered:%=tests/%) $(flows:%=tests/%.py)
# A file stays in one worker: its fixtures are made once. In the order of their names the last files are short ones; by
# their number of tests, as the default is, the longest flows come last and a worker waits for the other.
files := --dist loadfile --no-loadscope-reorder
workers := -n 2 $(files)
# Slow tests wait for processes a third of their time: a third worker uses it.
tier := -n 3 $(files) -m "not long and not services"
has_kernels := $(bin)/python -c "import headway.serving.protocol._numbers" 2>/dev/null
# Two workers of two threads each wait for one another on two cores.
test test-fast test-services test-all: export OMP_NUM_THREADS := 1
test test-fast test-services test-all: export POLARS_MAX_THREADS := 1
# Tests start hundreds of processes: none compiles the modules again, as no installed one does.
test test-fast test-services test-all: export PYTHONDONTWRITEBYTECODE :=

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

demo: .venv/.installed-demo  ## install, then run the main job on real flights (4 to 6 minutes), ending with a report and the dashboard
	$(bin)/headway demo

demo-support: .venv/.installed-demo  ## install, then answer messages: certify, serve, queue, shift, withdrawal, recovery (3 to 6 minutes)
	$(bin)/headway demo --support --folder headway-support

test: .venv/.installed-dev  ## the tests that need Python and pip alone, with full branch coverage of core, registry and serving (13 to 18 minutes)
	@tools/each \
	  '$(bin)/pytest $(tier) $(covering) $(covered:%=--cov=src/headway/%) --cov-report=' \
	  'if $(has_kernels); then $(bin)/coverage report --skip-covered --show-missing --fail-under=100; \
	  else echo "coverage was not judged: without the kernels some tests did not run"; fi' \
	  '$(bin)/pytest $(tier) tests $(covering:%=--ignore=%)'

test-fast: .venv/.installed-dev  ## the files of tests/fast.txt, which find most mistakes for their time (30 seconds on two cores)
	$(bin)/pytest $(workers) -m "not slow and not long and not services" @tests/fast.txt

test-services: .venv/.installed-services  ## the tests that need a browser, curl, npm, a database or S3; install them first (20 to 30 minutes)
	tools/system services
	$(MAKE) $(npm)
	$(bin)/pytest $(workers) -m "services and not long"

test-all: .venv/.installed-services  ## every test, the long ones too, with the coverage of the whole package
	tools/system services
	$(MAKE) $(npm)
	@tools/each \
	  '$(bin)/pytest $(workers) --hypothesis-profile=thorough --cov --cov-report=' \
	  '$(bin)/coverage report --skip-covered --fail-under=95'

check: .venv/.installed-dev  ## format, lint, types, import rules, oldest Python, generated docs (60 seconds)
	@tools/each \
	  '$(bin)/ruff format --check .' \
	  '$(bin)/ruff check .' \
	  '$(bin)/mypy' \
	  '$(bin)/lint-imports' \
	  '$(bin)/vermin --quiet --no-tips --target=3.11- --violations src tests tools' \
	  '$(bin)/python tools/reference.py --check'

check-security: .venv/.installed-dev  ## build the wheel twice, write it with its bill of materials to dist/, audit the dependencies (2 minutes)
	$(bin)/python tools/security.py

bench: .venv/.installed-services  ## run every benchmark of bench/, write docs/benchmarks.md; DATA=DIR for data of your own
	tools/system services
	$(MAKE) $(npm)
	$(bin)/python tools/benchmarks.py $(if $(DATA),--data $(abspath $(DATA)))

bench-peers: .venv/.installed-services  ## make the environments of peer servers; bench/serve.py makes missing ones itself
	PYTHONPATH=bench $(bin)/python -c 'from serving import peer_servers; peer_servers.make_all()'

docs: .venv/.installed-dev  ## write docs/reference/ from the code
	$(bin)/python tools/reference.py

docs-site: .venv/.installed-dev  ## build the documentation as a site in site/, links checked
	NO_MKDOCS_2_WARNING=1 $(bin)/mkdocs build --strict

format: .venv/.installed-dev  ## format the code and apply safe fixes
	$(bin)/ruff check --fix .
	$(bin)/ruff format .

constraints: .venv/.installed-dev  ## resolve constraints.txt again; PYTHONS="python3.11 python3.12 ..." chooses the versions
	$(bin)/python tools/constraints.py $(or $(PYTHONS),python3.11 python3.12 python3.13 python3.14)

clean:  ## remove everything that make created: the environment, caches, the demo's folder
	rm -rf .venv site headway-demo headway-support build dist src/*.egg-info .coverage* .*_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed-%: pyproject.toml constraints.txt tools/venv $(wildcard src/headway/*/*.c src/headway/*/*/*.[ch])
	@tools/venv $*

$(npm): tools/npm-packages
	@tools/npm-packages
	@touch $@

.PHONY: help demo demo-support test test-fast test-services test-all check check-security bench bench-peers docs docs-site format constraints clean
