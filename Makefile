# The same few commands for people and for CI.  Nothing is needed but Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
ROUNDS := 5
SECONDS := 1
BIN := $(VENV)/bin
COVERAGE := 97

# What the lock files do not name by its hash, or would have to be built, is not installed.
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check
LOCKED := --require-hashes --only-binary :all:

.PHONY: help demo test test-oldest-aiohttp test-newest-aiohttp check hooks clients soak mutants dist manual docs deb rpm image units pipelines fuzz format lock audit bench clean
.DEFAULT_GOAL := help

help: ## list the commands
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/'

$(VENV)/.run: pyproject.toml requirements/run.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) $(LOCKED) --requirement requirements/run.txt
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	$(INSTALL) $(LOCKED) --requirement requirements/dev.txt
	@touch $@

$(VENV)/.tools: $(VENV)/.run requirements/tools.txt
	$(PYTHON) -m venv $(VENV)/tools
	$(VENV)/tools/bin/pip install --quiet --disable-pip-version-check $(LOCKED) \
		--requirement requirements/tools.txt
	@touch $@

demo: $(VENV)/.run ## a sandbox Jira, the dance and the sidecar, ready for curl
	$(BIN)/sidecar demo

test: $(VENV)/.dev ## the whole test suite, with its coverage floor
	$(BIN)/pytest -rs --numprocesses=auto --cov --cov-fail-under=$(COVERAGE) --cov-report=term:skip-covered

# The suite with another aiohttp than the one that is locked, in environments of their own.
test-oldest-aiohttp: $(VENV)/oldest/.aiohttp ## the suite with the oldest aiohttp that pyproject.toml admits
	$(VENV)/oldest/bin/python -c "import aiohttp; print('aiohttp', aiohttp.__version__)"
	$(VENV)/oldest/bin/pytest -rs --numprocesses=auto

test-newest-aiohttp: $(VENV)/newest/.dev ## the suite with the newest aiohttp that there is
	$(VENV)/newest/bin/pip install --quiet --disable-pip-version-check --upgrade $(UNLOCKED)
	$(VENV)/newest/bin/python -c "import aiohttp; print('aiohttp', aiohttp.__version__)"
	$(VENV)/newest/bin/pytest -rs --numprocesses=auto

UNLOCKED := --only-binary :all: aiohttp

$(VENV)/oldest/.aiohttp: $(VENV)/oldest/.dev requirements/oldest.txt
	$(VENV)/oldest/bin/pip install --quiet --disable-pip-version-check $(LOCKED) \
		--no-deps --requirement requirements/oldest.txt
	@touch $@

$(VENV)/oldest/.dev $(VENV)/newest/.dev: pyproject.toml requirements/run.txt requirements/dev.txt
	@mkdir -p $(VENV)
	$(MAKE) VENV=$(@D) $(@D)/.dev

check: $(VENV)/.dev ## formatting, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

hooks: $(VENV)/.dev $(VENV)/.tools ## make those checks before each commit
	$(VENV)/tools/bin/pre-commit install

.venv-clients/.installed: tests/clients/install
	tests/clients/install
	@touch $@

clients: $(VENV)/.dev .venv-clients/.installed ## whole sessions of real Jira clients, which it installs
	$(BIN)/pytest -rs tests/clients

soak: $(VENV)/.dev ## a quarter of an hour of traffic, faults and restarts: nothing fails, nothing grows
	$(BIN)/python -m benchmarks.soak
	$(BIN)/python -m benchmarks.soak --restarts 20

mutants: $(VENV)/.dev $(VENV)/.tools ## whether the tests notice random changes; MUTANTS="--seed 7 --each 25"
	$(VENV)/tools/bin/python benchmarks/mutants.py $(MUTANTS)

# From the sdist, so that it is known to be complete.
dist: $(VENV)/.dev $(VENV)/.tools ## sdist and wheel in dist/; a fresh environment runs the demo by them
	rm -rf dist/*.tar.gz dist/*.whl
	$(BIN)/hatchling build --target sdist
	$(INSTALL:install=wheel) --no-deps --no-build-isolation --wheel-dir dist dist/*.tar.gz
	$(VENV)/tools/bin/twine check --strict dist/*.tar.gz dist/*.whl
	deploy/try-wheel dist/*.whl

manual: $(VENV)/.run ## man pages and completions for bash, zsh and fish, in build/share
	$(BIN)/python deploy/manual.py build/share

docs: $(VENV)/docs/.installed ## the pages of docs/ as a site, in build/docs; a link that leads nowhere fails
	$(VENV)/docs/bin/python -m deploy.reference docs
	$(VENV)/docs/bin/python -m sphinx --quiet --fail-on-warning --keep-going --nitpicky docs build/docs

$(VENV)/docs/.installed: pyproject.toml requirements/docs.txt
	@mkdir -p $(VENV)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check $(LOCKED) --requirement requirements/docs.txt
	@touch $@

deb: ## a Debian package of the release that this is, in dist/; ROOT=FOLDER: of that root's; tried as root
	deploy/debian/build $(ROOT)
	deploy/debian/try "$$(ls -t dist/*.deb | head -n 1)" $(ROOT)

rpm: ## an rpm package for RHEL 9, in dist/; elsewhere one to look into, with the Python that is there
	rm -f dist/*.rpm
	deploy/rpm/build
	deploy/rpm/check dist/*.rpm

image: ## the container image by buildah, tried as Kubernetes would run it, as root; ROOT=FOLDER: on that root
	deploy/container/build $(ROOT)
	deploy/container/try

units: ## the systemd units under a real systemd, in namespaces of its own; as root
	benchmarks/units/try

pipelines: $(VENV)/.dev ## pipelined requests cut anywhere, until 50,000 answers have come
	PIPELINE_ANSWERS=50000 $(BIN)/pytest tests/fuzz/test_pipelines.py --timeout=0 -s

fuzz: $(VENV)/.dev ## hostile input by the hour: 100,000 examples for each test in tests/fuzz
	$(BIN)/pytest tests/fuzz --hypothesis-profile=long --timeout=0

format: $(VENV)/.dev ## mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Every file of a release is named: one lock for all platforms and Python versions.  So are extras:
# pip would take `coverage[toml]` for another package, and the newest release, which has no hash.
LOCK := $(VENV)/tools/bin/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-strip-extras --no-emit-index-url \
	--custom-compile-command "make lock" $(UPGRADE)

lock: $(VENV)/.tools ## pin what pyproject.toml asks for, by hash; with UPGRADE=--upgrade anew
	$(LOCK) --extra fast --group build --output-file requirements/run.txt pyproject.toml
	$(LOCK) --extra fast --group build --group dev --constraint requirements/run.txt \
		--output-file requirements/dev.txt pyproject.toml
	$(LOCK) --extra fast --constraint requirements/run.txt \
		--output-file requirements/install.txt pyproject.toml
	$(LOCK) --group bench --constraint requirements/dev.txt \
		--output-file requirements/bench.txt pyproject.toml
	$(LOCK) --group pyproject.toml:tools --output-file requirements/tools.txt
	$(LOCK) --group docs --constraint requirements/run.txt \
		--output-file requirements/docs.txt pyproject.toml
	sed -n 's/^ *"\(aiohttp\)>=\([0-9.]*\)".*/\1==\2/p' pyproject.toml | \
		$(LOCK) --no-deps --output-file requirements/oldest.txt -

audit: $(VENV)/.tools ## look for known vulnerabilities of what is pinned
	$(VENV)/tools/bin/pip-audit --strict --require-hashes --disable-pip \
		--requirement requirements/run.txt --requirement requirements/dev.txt

$(VENV)/.bench: $(VENV)/.dev requirements/bench.txt
	$(INSTALL) $(LOCKED) --requirement requirements/bench.txt
	@touch $@

benchmarks/.peers/.installed: benchmarks/install-peers
	benchmarks/install-peers
	@touch $@

bench: $(VENV)/.bench benchmarks/.peers/.installed ## measure speed, beside peers that it installs (root, apt-get)
	$(BIN)/python -m benchmarks --rounds $(ROUNDS) --seconds $(SECONDS)

clean: ## remove what the commands above made
	rm -rf $(VENV) .venv-clients .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage dist build
