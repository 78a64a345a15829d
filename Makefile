# Needs git, make and Python 3.11 or newer with its venv module. Everything else goes into .venv and .cache.

# The first Python that is new enough and can make virtual environments; `make PYTHON=...` chooses another. The
# distribution's comes first: it is built with profiles, a version manager's seldom is and takes up to twice the time.
PYTHON ?= $(shell for p in /usr/bin/python3 python3 python3.13 python3.12 python3.11 python3.14; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
TOOLS = $(if $(PYTHON),$(PYTHON),$(error Python 3.11 or newer with venv was not found; \
	on Debian 12 or newer: apt-get install python3 python3-venv)) -m tools
VENV = .venv/bin/python
# How many devices `make lab-up` and `make bench` use, and which tests or linters `make test` and `make lint` run.
N ?= 6
ONLY ?=
# A commit: where nothing but documents has changed since, `make test` and `make lint` do only what reads documents.
SINCE ?=

export PYTHONDONTWRITEBYTECODE = 1

.DEFAULT_GOAL := help
.PHONY: help demo demo-stop test test-long mutation lint summary format bench bench-scale lab-up lab-down lab-status build clean

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

demo: .venv/fleet-ota-requirements ## Eight simulated devices, three releases, one of them bad: about a minute, no root
	@$(VENV) -m demo

demo-stop: .venv/fleet-ota-requirements ## Stop the services that the demo left running
	@$(VENV) -m demo --stop

test: ## Every test this machine can run, as root also the lab's (ONLY="unit device" chooses)
	@$(TOOLS) test $(if $(SINCE),--since $(SINCE)) $(ONLY)

test-long: ## Faults at every call, thousands of them, and the whole kill matrix: hours (ONLY="reliability" chooses)
	@$(TOOLS) test --long $(ONLY)

mutation: .venv/fleet-ota-requirements-test ## Take every check of the device's verifier out, one by one: half an hour
	@$(VENV) -m tests.mutation --all

lint: ## Every linter (ONLY="ruff mypy" chooses)
	@$(TOOLS) lint $(if $(SINCE),--since $(SINCE)) $(ONLY)

summary: ## What failed in the last runs of both, with its reasons, and the count
	@$(TOOLS) summary

format: .cache/venv/lint/fleet-ota-requirements-lint ## Let ruff format and repair what it can
	@.cache/venv/lint/bin/ruff format . && .cache/venv/lint/bin/ruff check --fix .

bench: .venv/fleet-ota-requirements-test ## Compare with a playbook of stock modules on N=6 lab devices (root)
	@$(VENV) -m tests.bench $(N)

bench-scale: .venv/fleet-ota-requirements-test ## What a rollout costs the controller with N simulated devices
	@$(VENV) -m tests.bench.scale $(if $(filter command line,$(origin N)),$(N))

lab-up: .venv/fleet-ota-requirements-test ## Bring up N=6 real devices on this machine, with an inventory (root)
	@$(VENV) -m tests.lab up $(N)

lab-down: .venv/fleet-ota-requirements-test ## Remove them again
	@$(VENV) -m tests.lab down

lab-status: .venv/fleet-ota-requirements-test ## Say what they do
	@$(VENV) -m tests.lab status

build: .venv/fleet-ota-requirements ## Build the collection's archive
	@.venv/bin/ansible-galaxy collection build --force

clean: ## Remove what was made here, except the lab
	rm -rf .venv .cache .ansible .nox .mypy_cache .ruff_cache .pytest_cache collections demo-run fleet-ota-*.tar.gz
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/fleet-ota-%: %.txt requirements.txt
	@$(TOOLS) venv $<

.cache/venv/lint/fleet-ota-requirements-lint: requirements-lint.txt requirements-test.txt requirements.txt
	@$(TOOLS) venv --folder .cache/venv/lint $<
