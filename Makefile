# `make demo` and `make test` are all that a newcomer needs: each installs by itself what is missing.

PYTHON := .venv/bin/python
REPORTS := build

# The pytests that `make test-compat` tests with, each a requirement for pip or the path of a checkout: the oldest that is
# supported, and the newest.
PYTEST := pytest==8.0.* pytest

# The slowest tests stay in view.
PYTEST_OPTIONS = --durations=20 $(if $(CI),--require-probe)

# What one part of the tests leaves running could be taken for another's. In PID namespaces of their own two parts can run
# at once; where none can be had, one goes after the other. A shell is the namespace's first process, and not pytest, for
# processes without a parent become the first one's children.
ifneq ($(shell unshare --pid --fork --mount-proc true 2>/dev/null && echo yes),)
APART = unshare --pid --fork --mount-proc --kill-child sh -c '"$$@"; exit $$?' sh
AT_ONCE = 2
else
AT_ONCE = 1
endif

# What succeeds where BPF can be had.
HAS_BPF := -m pytest_execprobe.cli run --backend=bpf true

# The longest first, and beside each other one that waits and one that computes.
PARTS := test-kernel test-compat test-traced test-unit test-plugin lint $(if $(CI),docs)

.PHONY: help demo test $(PARTS) test-long venv docs bench nightly test-kernels fuzz clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1@\2/p' $(MAKEFILE_LIST) | awk -F@ '{ printf "%-22s%s\n", $$1, $$2 }'

demo: ## show the plugin at work, on a small release script's tests
	@scripts/setup demo
	@$(PYTHON) examples/demo.py

# Tests of the real kernel are skipped where there can be no probe. That is said once more at the end, and in CI it is a
# failure.
test: venv ## check the code's style and types, and run all tests
	@mkdir -p $(REPORTS)
	@rm -f $(REPORTS)/*.xml
	@status=0; \
	echo "The checks and tests, in $(words $(PARTS)) parts, $(AT_ONCE) at a time: each is shown when it has ended, after some minutes."; \
	$(MAKE) --no-print-directory --keep-going --jobs=$(AT_ONCE) --output-sync=target $(PARTS) || status=$$?; \
	skipped=$$(grep -oh '<testcase [^>]*tests\.\(kernel\|compat\)[^>]*><skipped [^>]*' $(REPORTS)/*.xml | \
		grep -vc 'does not work with pytest'); \
	if [ $$skipped -gt 0 ]; then \
		echo "NOT CHECKED: $$skipped tests of the real kernel were skipped; the reasons are above, at SKIPPED."; \
	fi; \
	exit $$status

# In the namespace that the machine's processes are in, as most runs of users are. Where there is no BPF the run is traced,
# and so are inner runs, by the same helper. What ends its helper needs one of its own, and is run once more by a run that
# is not traced.
TRACED := tests/kernel/test_under_ptrace.py
test-kernel: venv ## run the tests of the probe on the real kernel
	@mkdir -p $(REPORTS)
	@if $(PYTHON) $(HAS_BPF) >$(REPORTS)/bpf.txt 2>&1; then \
		$(PYTHON) -m pytest $(PYTEST_OPTIONS) --junit-xml=$(REPORTS)/kernel.xml --ignore=$(TRACED) tests/kernel; \
	else \
		status=0; \
		$(PYTHON) -m pytest $(PYTEST_OPTIONS) --junit-xml=$(REPORTS)/kernel.xml \
			-m "not bpf and not own_helper" tests/kernel || status=$$?; \
		$(PYTHON) -m pytest $(PYTEST_OPTIONS) --junit-xml=$(REPORTS)/own-helper.xml \
			--execprobe=off -m "not bpf and own_helper" tests/kernel || status=$$?; \
		echo "NOT CHECKED: the tests of BPF (marked bpf) were left out, for there is none here:"; \
		tail -n 1 $(REPORTS)/bpf.txt; \
		exit $$status; \
	fi

# Where there is no BPF, test-kernel has run all of them so.
test-traced: venv ## run those of the kernel tests that need no BPF once more, traced, as an ordinary user
	@if $(PYTHON) $(HAS_BPF) >/dev/null 2>&1; then \
		$(APART) $(PYTHON) -m pytest $(PYTEST_OPTIONS) --junit-xml=$(REPORTS)/traced.xml $(TRACED); \
	fi

# Where another part runs beside it, a second process saves no time: each collects all of the tests anew, and each result
# goes from one to the other.
test-unit: venv ## run the tests that need no probe
	@$(APART) $(PYTHON) -m pytest $(if $(findstring jobserver,$(MAKEFLAGS)),,-n 2) $(PYTEST_OPTIONS) --junit-xml=$(REPORTS)/unit.xml tests/unit

test-plugin: venv ## run the tests of pytest's side, and those that need a browser
	@$(APART) $(PYTHON) -m pytest $(PYTEST_OPTIONS) --junit-xml=$(REPORTS)/plugin.xml tests/plugin tests/browser

test-long: venv ## run the tests that take minutes, and that the others leave out (those of tests/compat: ALL=1)
	$(PYTHON) -m pytest $(PYTEST_OPTIONS) --long -m long tests/kernel tests/unit

venv:
	@scripts/setup test

# Other plugins are loaded where a test asks for them, and the project's own, here and in inner runs, by its module's
# name. pytest-xdist spreads the tests themselves over two workers. Under the pytest that .venv has, `make test-plugin`
# runs tests/plugin. Under all pytests but the last, what hardly differs by their version is left out, and under each what
# is marked long (ALL=1 runs both, too).
# Without BPF each inner run has a helper of its own, for these are not traced.
test-compat: ## run the plugin's tests under other pytests and beside other plugins (PYTEST='pytest==8.0.*')
	@set -f; status=0; \
	for pytest in $(PYTEST); do \
		venv=$$(scripts/setup compat "$$pytest") || exit; \
		version=$$($$venv/bin/python -m pytest --version); \
		echo "$$version:"; \
		folders=tests/plugin; \
		test "$$version" != "$$($(PYTHON) -m pytest --version 2>&1)" || folders=; \
		traced=; left=; \
		$$venv/bin/python $(HAS_BPF) >/dev/null 2>&1 || { traced=--execprobe=off; left=bpf; }; \
		test -n "$(ALL)" || test "$$pytest" = $(lastword $(PYTEST)) || left="$${left:+$$left or }beside"; \
		PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 PYTEST_PLUGINS=pytest_execprobe.plugin $(APART) \
			$$venv/bin/python -m pytest -p xdist.plugin -n 2 --quiet --junit-xml=$(REPORTS)/$${venv#.venv-}.xml \
			$(PYTEST_OPTIONS) $(if $(ALL),--long) $$traced $${left:+-m} $${left:+"not ($$left)"} $$folders tests/compat || status=$$?; \
	done; \
	exit $$status

lint: venv ## check the code's style, types and spelling
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy
	$(PYTHON) -m codespell_lib

docs: ## build the site into build/docs; a warning is an error
	@scripts/setup docs
	.venv-docs/bin/python -m sphinx --fail-on-warning --keep-going --quiet --fresh-env --write-all --builder html docs build/docs
	@echo "build/docs/index.html"

# On a quiet machine, as root: about ten minutes, with AGAINST twice as much, and an hour with LONG.
bench: ## measure what the probe costs, and write docs/performance.md (AGAINST=COMMIT, LONG=1)
	@scripts/setup test
	$(PYTHON) benchmarks/run.py --page docs/performance.md $(if $(AGAINST),--against $(AGAINST)) $(if $(LONG),--long)

# Hours, for the machines of tests/vm/run are emulated. What came of it is in the table of docs/versions.md, to be committed.
nightly: ## run a core of the tests with each kernel, Python and pytest that can be had (see CONTRIBUTING.md)
	@scripts/setup test
	@status=0; \
	tests/versions/run --record || status=$$?; \
	tests/vm/run --core --record || status=$$?; \
	exit $$status

test-kernels: ## run the kernel tests on other kernels, in virtual machines (see CONTRIBUTING.md)
	@scripts/setup test
	tests/vm/run

# Its own environment: atheris has no wheel for every Python, and nothing else needs it.
fuzz: ## look for input that breaks what reads the bytes of others (SECONDS=60, for each reader)
	@test -x build/fuzz/bin/python || { python3 -m venv build/fuzz && build/fuzz/bin/pip install -q atheris pytest tomli; }
	@for target in tests/fuzz/fuzz_*.py; do \
		nice build/fuzz/bin/python $$target -max_total_time=$(or $(SECONDS),60) || exit; \
	done

clean: ## remove all that the other targets made
	rm -rf .venv .venv-docs .venv-pytest* build dist *.egg-info .mypy_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} + -o -name .pytest_cache -prune -exec rm -rf {} +
