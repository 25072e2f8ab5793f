# Everything sets itself up; see tools/bootstrap.
PYTEST = .venv/bin/python -m pytest
# Tests start hundreds of commands: each would compile all of fleet anew.
export PYTHONDONTWRITEBYTECODE =

.PHONY: help demo unit test test-machines bench lint check lock docs wheels

help:
	@echo "make demo           a node that serves a web page, under QEMU"
	@echo "make unit           linters and the unit tests that need no system packages; about a minute"
	@echo "make test           linters, unit tests, engine tests, one machine"
	@echo "make test-machines  every test that boots machines"
	@echo "make bench          speed tables"
	@echo "make docs           docs/reference, and pictures, anew; the site in build/docs"
	@echo "make wheels         dist/: the packages, for Linux and macOS"
	@echo "make lock           requirements-dev.lock anew"

demo:
	@$${PYTHON:-python3} tools/demo.py

# Where nothing is set up yet, the first one takes some minutes; none installs anything of the system.
unit:
	@tools/bootstrap
	@$(MAKE) --no-print-directory check
	$(PYTEST) tests/unit -q -m "not long and not system and not slow" --numprocesses 2 --dist worksteal

test: lint
	cd transpiler && PATH="$$PWD/../.venv/bin:$$PATH" go test ./...
	$(PYTEST) -m "not long" --numprocesses 3 --dist worksteal

test-machines:
	@tools/bootstrap base image backends browser
	$(PYTEST) -m "machine or long"

lint:
	@tools/bootstrap base image editor
	@$(MAKE) --no-print-directory check
	.venv/bin/mypy examples/*/[a-z]*.py
	.venv/bin/python -m tools.ci_examples
	for module in transpiler state; do (cd $$module && PATH="$$PWD/../.venv/bin:$$PATH" go vet ./...) || exit 1; done

# Each of them reads only what changed since it ran last.
check:
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports --no-logo
	.venv/bin/mypy

bench:
	@tools/bootstrap base
	.venv/bin/python -m tests.bench

lock:
	.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --group dev --extra all --generate-hashes --no-emit-index-url \
		--no-header --upgrade -o requirements-dev.lock pyproject.toml
	.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --upgrade -o requirements-docs.lock requirements-docs.in

docs:
	@tools/bootstrap base
	.venv/bin/python -m tools.reference
	.venv/bin/python -m tools.site

wheels:
	@tools/bootstrap
	.venv/bin/python -m tools.wheels
