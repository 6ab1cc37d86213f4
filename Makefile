# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
# Ansible and Python find a collection by this path, wherever the checkout lies.
COLLECTION := .ansible/collections/ansible_collections/netops/cni_migration

.PHONY: help
help: ## say what can be made
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand --tabs=14

$(COLLECTION):
	mkdir -p $(@D)
	ln -s $(CURDIR) $@

$(VENV)/.runtime: requirements.txt
	python3 -c 'import ensurepip' 2>/dev/null || apt-get install --yes python3-venv
	python3 -m venv $(VENV)
	$(BIN)/pip install --quiet --requirement requirements.txt
	touch $@

# What the tests run on this machine, in network namespaces of their own, and the linter of shell scripts.
TEST_PACKAGES := ebtables git iproute2 ipset iptables nftables shellcheck
# What checks the Vagrantfile, 88 MB. Not every release of Debian and Ubuntu has it.
VAGRANT_PACKAGES := vagrant vagrant-libvirt

$(VENV)/.tests: requirements-dev.txt $(VENV)/.runtime
	dpkg-query --show $(TEST_PACKAGES) >/dev/null 2>&1 || { apt-get update --quiet && apt-get install --yes --no-install-recommends $(TEST_PACKAGES); }
	command -v vagrant >/dev/null || { apt-get update --quiet && apt-get install --yes --no-install-recommends $(VAGRANT_PACKAGES); } || echo 'No Vagrant: its test is skipped'
	$(BIN)/pip install --quiet --requirement requirements-dev.txt
	touch $@

.PHONY: setup
setup: $(VENV)/.runtime $(COLLECTION) ## install Ansible and the libraries into .venv

.PHONY: demo
demo: setup ## build the lab, the cluster and the sample app, and migrate it; prints where the report is
	$(BIN)/ansible-playbook site.yml
	$(BIN)/ansible-playbook migrate.yml

.PHONY: lab-build
lab-build: setup ## compile what the lab runs, once; half an hour
	$(BIN)/ansible-playbook playbooks/lab_build.yml

# The build comes first, so that no test is timed while it compiles.
.PHONY: test
test: lab-build $(VENV)/.tests ## run every test, on the real lab too
	$(BIN)/python tests/run.py

.PHONY: test-long
test-long: lab-build $(VENV)/.tests ## run what is too long for `make test`: ansible-test's sanity tests with older ansible-cores, a broken lab for each check of the preflight, the way back of a cluster, three control planes
	$(BIN)/python tests/run.py long

.PHONY: lint
lint: setup $(VENV)/.tests ## run the quality gates alone
	$(BIN)/python tests/run.py gate

# A round is four labs, about 10 minutes each.
ROUNDS := 1

.PHONY: bench
bench: lab-build ## compare with the runbook's commands; rewrites the table in README.md
	$(BIN)/python tests/bench/runbook/bench.py --rounds $(ROUNDS) --write README.md

# A round is a lab, a migration that is killed and resumed, and no lab any more: about 12 minutes.
.PHONY: soak
soak: lab-build ## migrate ROUNDS times with a kill somewhere, and look for what is lost or left
	$(BIN)/python tests/bench/soak/soak.py --rounds $(ROUNDS)

.PHONY: lab-destroy
lab-destroy: setup ## remove the lab without a trace
	$(BIN)/ansible-playbook playbooks/lab_destroy.yml

.PHONY: lab-reset
lab-reset: setup ## bring the lab back to where site.yml left it; the first time it is made anew and its disks are saved
	$(BIN)/ansible-playbook playbooks/lab_reset.yml

.PHONY: clean
clean: ## remove what this file made in the checkout
	rm -rf $(VENV) .ansible
