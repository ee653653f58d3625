# `make demo` and `make test` need Python 3.11 or newer and make, nothing else: they create .venv themselves.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := demo
# One thread per process: two torch processes with two threads each on two cores are forty times slower.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

.PHONY: help install demo demo-clean test test-quick lint format bench docs clean services services-mongo services-slurm services-browser test-services soak

help:
	@echo "make demo    install, run the demonstration campaign (about ten minutes), write demo/report.html"
	@echo "make test    install, run the test suite"
	@echo "make lint    ruff, mypy, import contracts, committed docs current"
	@echo "make bench   print the performance figures as ratios against a peer"
	@echo "make services       install the real servers that tests use (Debian packages need root; Maven)"
	@echo "make test-services  run the tests with real servers"
	@echo "make soak    run a campaign among faults (about half an hour; SOAK_JOBS, SOAK_MINUTES change it)"
	@echo "make format  let ruff rewrite"

install: $(STAMP)

$(STAMP): pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "No python3 found: install Python 3.11 and try again."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11: run make PYTHON=/path/to/python3.11 …"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.5"
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/cflow model install megnet-2019
	test -f $(DEMO)/cathodeflow.sqlite || $(BIN)/cflow launch workflows/nvpf_inverse_design/demo.yaml --project $(DEMO)
	$(BIN)/cflow run --project $(DEMO) --workers 2
	$(BIN)/cflow report --project $(DEMO) --output $(DEMO)/report.html
	$(BIN)/cflow status --project $(DEMO)

demo-clean:
	rm -rf $(DEMO)

# A file stays on one worker, or what its tests share would be made twice: a rehearsed campaign takes four minutes.
test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-quick: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not service and not soak"

# Package managers are asked through their own configuration (mirrors, proxies); MAVEN_FLAGS and APT_GET add to it.
SERVICES := .services
APT_GET ?= $(if $(filter 0,$(shell id -u)),,sudo )apt-get
MAVEN_FLAGS ?=
export DEBIAN_FRONTEND := noninteractive

services: services-mongo services-slurm services-browser

# Not needed where a real mongod is on PATH: the tests then use that.
services-mongo:
	@command -v javac >/dev/null && command -v mvn >/dev/null || { $(APT_GET) update -q && $(APT_GET) install -q -y --no-install-recommends openjdk-17-jdk-headless maven; }
	mvn -q -B $(MAVEN_FLAGS) -f tests/services/mongo_wire/pom.xml dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/$(SERVICES)/mongo
	javac -cp '$(SERVICES)/mongo/*' -d $(SERVICES)/mongo tests/services/mongo_wire/*.java

# The tests start a cluster of their own from these programs, in a folder of its own; they need no running daemon.
services-slurm:
	@command -v slurmctld >/dev/null && command -v slurmdbd >/dev/null && command -v mariadbd >/dev/null || \
		{ $(APT_GET) update -q && $(APT_GET) install -q -y --no-install-recommends slurm-wlm slurmdbd munge mariadb-server; }

services-browser:
	@command -v chromium >/dev/null || { $(APT_GET) update -q && $(APT_GET) install -q -y --no-install-recommends chromium; }

test-services: $(STAMP)
	$(BIN)/python -m pytest -m service

# Kills, cancellations and outages for SOAK_MINUTES while a campaign with SOAK_JOBS labels runs on Slurm and MongoDB.
soak: $(STAMP)
	$(BIN)/python -m tests.services.soak.soak

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	for bench in bench/*.py; do echo "== $$bench"; $(BIN)/python $$bench || exit 1; done

clean:
	rm -rf $(VENV) $(DEMO) build dist .mypy_cache .ruff_cache .pytest_cache
