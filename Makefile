# SPDX-License-Identifier: GPL-2.0
#
# make help says what there is. What is built and run here: see scripts/ and
# qemu/. The module's own rules are in Kbuild.

# With KDIR given, the module is built right here, on this host, against that
# tree, as any other out-of-tree module: make KDIR=/lib/modules/$(uname -r)/build
KDIR ?=
# Arguments for pytest: make test-fast TESTS="-k conntrack"
TESTS ?=

# Rows of tests/engines/rows/__init__.py; all of them, if none is named.
ENGINES ?=

# How many pairs make oracle compares.
PAIRS ?= 100000000

# For the host's own kernel: the module built in place if there is one, or the
# one of the build root.
KO = $(firstword $(wildcard ctrfw.ko) build/stock/ctrfw.ko)

.DEFAULT_GOAL := all
MAKEFLAGS += --no-print-directory

.PHONY: all
all: ## build the module (for the stock Debian kernel, or against KDIR=...)
ifeq ($(KDIR),)
	@scripts/build-module.sh stock
	@echo build/stock/ctrfw.ko
else
	@scripts/preflight.sh build "$(KDIR)"
	$(MAKE) -C "$(KDIR)" M="$(CURDIR)" modules
endif

.PHONY: command
command: ## build the user's command, build/ctrfw
	@scripts/build-command.sh

.PHONY: check
check: ## formatting, clippy, kernel style, shellcheck, ruff
	@scripts/check.sh

.PHONY: test
test: ## unit tests, and all scenarios on the stock kernel (QEMU)
	@scripts/test.sh stock $(TESTS)

.PHONY: test-fast
test-fast: ## all scenarios on User Mode Linux, at native speed
	@scripts/test.sh uml $(TESTS)

.PHONY: test-debug
test-debug: ## all scenarios on a kernel with KASAN and other checkers
	@scripts/test.sh uml-debug $(TESTS)

.PHONY: test-engines
test-engines: ## the policies beside every engine (ENGINES="docker podman", LANE=uml)
	@LANE="$(LANE)" scripts/test-engines.sh $(ENGINES)

.PHONY: oracle
oracle: ## compare the policy engine with a linear oracle (PAIRS=100000000)
	@scripts/oracle.sh $(PAIRS)

.PHONY: bench
bench: ## measure all (PARTS="engine kernel ...", CLASSBENCH=dir, COMPARE=old.json)
	@PARTS="$(PARTS)" CLASSBENCH="$(CLASSBENCH)" PEERS="$(PEERS)" ENGINE="$(ENGINE)" COMPARE="$(COMPARE)" scripts/bench.sh

.PHONY: demo
demo: ## a container, a rule, a trace: what ctrfw is for, in a minute
	@scripts/build-module.sh stock
	@qemu/run.sh -- /ctrfw/tests/demo/run.sh

.PHONY: vng
vng: ## boot the stock kernel with the module under virtme-ng
	@scripts/build-module.sh stock
	@qemu/vng.sh

.PHONY: shell
shell: ## a shell in the guest, with the module loaded
	@scripts/build-module.sh stock
	@qemu/run.sh --interactive

.PHONY: install
install: ## install module, command and unit (DESTDIR and PREFIX are honoured)
	@[ -x build/ctrfw ] || scripts/build-command.sh
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" scripts/install.sh install "$(KDIR)"

.PHONY: uninstall
uninstall: ## take away what make install has put there
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" scripts/install.sh uninstall

.PHONY: insmod
insmod: ## load the module into this host's kernel
	@scripts/preflight.sh load "$(KO)"
	insmod "$(KO)"

.PHONY: clean
clean: ## remove what was built here
	rm -rf build
	@find . -path ./.git -prune -o \( -name '*.o' -o -name '*.ko' -o -name '*.mod' -o -name '*.mod.c' \
		-o -name '.*.cmd' -o -name '.*.d' -o -name '*.rmeta' -o -name modules.order -o -name Module.symvers \
		-o -name '*_generated.rs' \) -type f -exec rm -f {} +

.PHONY: distclean
distclean: clean ## also remove the cache (roots, kernels; half an hour to make again)
	@. scripts/lib.sh && for dir in "$$CACHE"/*-???????????????? "$$CACHE"/.tmp-* "$$CACHE"/cargo-home; do drop_tree "$$dir"; done

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

SHELL := /bin/bash
