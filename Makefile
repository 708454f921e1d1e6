# `make demo` and `make test` are all that a newcomer needs: each installs by itself what is missing.

PYTHON := .venv/bin/python
REPORT := build/tests.xml

.PHONY: help demo test lint benchmark test-kernels clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1@\2/p' $(MAKEFILE_LIST) | awk -F@ '{ printf "%-22s%s\n", $$1, $$2 }'

demo: ## show the plugin at work, on a small release script's tests
	@scripts/setup demo
	@$(PYTHON) examples/demo.py

# Tests of the real kernel are skipped where there can be no probe. That is said once more at the end, and in CI it is a
# failure.
test: lint ## check the code's style and types, and run all tests
	@mkdir -p $(dir $(REPORT))
	@status=0; \
	$(PYTHON) -m pytest --junit-xml=$(REPORT) $(if $(CI),--require-probe) || status=$$?; \
	skipped=$$(grep -o '<testcase [^>]*tests\.kernel[^>]*><skipped' $(REPORT) | wc -l); \
	if [ $$skipped -gt 0 ]; then \
		echo "NOT CHECKED: $$skipped tests of the real kernel were skipped; the reasons are above, at SKIPPED."; \
	fi; \
	exit $$status

lint: ## check the code's style and types
	@scripts/setup test
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy

benchmark: ## measure what the probe costs
	@scripts/setup test
	$(PYTHON) benchmarks/run.py

test-kernels: ## run the kernel tests on other kernels, in virtual machines (see CONTRIBUTING.md)
	@scripts/setup test
	tests/vm/run

clean: ## remove all that the other targets made
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} + -o -name .pytest_cache -prune -exec rm -rf {} +
