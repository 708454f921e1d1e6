# `make demo` and `make test` are all that a newcomer needs: each installs by itself what is missing.

PYTHON := .venv/bin/python
REPORT := build/tests.xml

# The pytests that `make test-compat` tests with, each a requirement for pip or the path of a checkout: the oldest that is
# supported, and the newest.
PYTEST := pytest==8.0.* pytest

# The slowest tests stay in view.
PYTEST_OPTIONS = --durations=20 $(if $(CI),--require-probe)

# What succeeds where BPF can be had.
HAS_BPF := -m pytest_execprobe.cli run --backend=bpf true

.PHONY: help demo test test-serial test-unit test-compat venv lint docs bench test-kernels fuzz clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1@\2/p' $(MAKEFILE_LIST) | awk -F@ '{ printf "%-22s%s\n", $$1, $$2 }'

demo: ## show the plugin at work, on a small release script's tests
	@scripts/setup demo
	@$(PYTHON) examples/demo.py

# Tests of the real kernel are skipped where there can be no probe. That is said once more at the end, and in CI it is a
# failure.
test: venv ## check the code's style and types, and run all tests
	@mkdir -p $(dir $(REPORT))
	@rm -f $(dir $(REPORT))*.xml
	@status=0; \
	for part in lint $(if $(CI),docs) test-unit test-serial; do \
		$(MAKE) --no-print-directory $$part || status=$$?; \
	done; \
	$(MAKE) --no-print-directory test-compat || status=$$?; \
	skipped=$$(grep -oh '<testcase [^>]*tests\.\(kernel\|compat\)[^>]*><skipped [^>]*' $(dir $(REPORT))*.xml | \
		grep -vc 'does not work with pytest'); \
	if [ $$skipped -gt 0 ]; then \
		echo "NOT CHECKED: $$skipped tests of the real kernel were skipped; the reasons are above, at SKIPPED."; \
	fi; \
	exit $$status

# Pure tests take both CPUs. Two others are never run at once: what one leaves running could be taken for the other's.
# Where there is no BPF the run is traced, and so are inner runs, by the same helper. What ends its helper needs one of its
# own, and is run once more by a run that is not traced.
test-serial: venv ## run the tests that need the machine, or a browser, to themselves
	@mkdir -p $(dir $(REPORT))
	@if $(PYTHON) $(HAS_BPF) >$(dir $(REPORT))bpf.txt 2>&1; then \
		$(PYTHON) -m pytest $(PYTEST_OPTIONS) --junit-xml=$(dir $(REPORT))kernel.xml \
			tests/plugin tests/browser tests/kernel; \
	else \
		status=0; \
		$(PYTHON) -m pytest $(PYTEST_OPTIONS) --junit-xml=$(dir $(REPORT))kernel.xml \
			-m "not bpf and not own_helper" tests/plugin tests/browser tests/kernel || status=$$?; \
		$(PYTHON) -m pytest $(PYTEST_OPTIONS) --junit-xml=$(dir $(REPORT))own-helper.xml \
			--execprobe=off -m "not bpf and own_helper" tests/kernel || status=$$?; \
		echo "NOT CHECKED: the tests of BPF (marked bpf) were left out, for there is none here:"; \
		tail -n 1 $(dir $(REPORT))bpf.txt; \
		exit $$status; \
	fi

test-unit: venv ## run the tests that need no probe
	@mkdir -p $(dir $(REPORT))
	@$(PYTHON) -m pytest -n 2 $(PYTEST_OPTIONS) --junit-xml=$(REPORT) tests/unit

venv:
	@scripts/setup test

# Other plugins are loaded where a test asks for them, and the project's own, here and in inner runs, by its module's
# name. pytest-xdist spreads the tests themselves over two workers. Under the pytest that .venv has, `make test-serial`
# runs tests/plugin. Without BPF each inner run has a helper of its own, for these are not traced.
test-compat: ## run the plugin's tests under other pytests and beside other plugins (PYTEST='pytest==8.0.*')
	@mkdir -p $(dir $(REPORT))
	@set -f; status=0; \
	for pytest in $(PYTEST); do \
		venv=$$(scripts/setup compat "$$pytest") || exit; \
		version=$$($$venv/bin/python -m pytest --version); \
		echo "$$version:"; \
		folders=tests/plugin; \
		test "$$version" != "$$($(PYTHON) -m pytest --version 2>&1)" || folders=; \
		traced=; \
		$$venv/bin/python $(HAS_BPF) >/dev/null 2>&1 || traced='--execprobe=off -m not(bpf)'; \
		PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 PYTEST_PLUGINS=pytest_execprobe.plugin $$venv/bin/python -m pytest \
			-p xdist.plugin -n 2 --quiet --junit-xml=$(dir $(REPORT))$${venv#.venv-}.xml \
			$(PYTEST_OPTIONS) $$traced $$folders tests/compat || status=$$?; \
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
