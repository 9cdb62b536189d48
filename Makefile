# make demo: the whole of Oxygen Billing on this machine. make test: every check and test. The rest is for contributors.

PYTHON_IN = .venv/bin/python
PORT ?= 8000
# One more than two cores: browsers, leases and workers are waited for.
WORKERS ?= 3
FIXED = $(or $(SEED),2026)

.PHONY: demo test soak stripe-cli screenshots bench lighthouse lint lock clean chromium jq

demo: .venv/.server
	exec $(PYTHON_IN) manage.py up --demo --port $(PORT)

# The same order and the same examples each time, so that what fails is the change under test. The soak rolls dice.
test: .venv/.dev chromium jq lint
	$(PYTHON_IN) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --randomly-seed=$(FIXED) --hypothesis-seed=$(FIXED) $(TESTS)

soak: .venv/.dev chromium jq
	OXYGEN_SOAK=1 SEED=$(SEED) $(PYTHON_IN) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS)

# Stripe's own command line tool, fetched from npm for the run, tries the local Stripe and our inbox.
stripe-cli: .venv/.dev
	$(PYTHON_IN) -m pytest -n 2 tests/billing/payments/stripe_cli.py

# Pictures of every page and state on contact sheets in .data/screenshots, to be looked at. LOOK=dark-390 takes one kind.
screenshots: .venv/.dev chromium
	$(PYTHON_IN) -m pytest -q -p no:randomly $(if $(LOOK),-k $(LOOK)) tests/browser/screenshots.py

# Prints each figure beside its bar, and writes nothing: figures to quote go into docs/scaling.md by hand, from a quiet machine.
bench: .venv/.dev
	@failed=0; for bars in settle pages engine api_settle start_up; do $(PYTHON_IN) -m benchmarks.$$bars || failed=1; done; exit $$failed

# Google's Lighthouse, fetched from npm for the run, looks at three pages of a demo of its own. By itself, on a quiet machine.
lighthouse: .venv/.dev chromium
	$(PYTHON_IN) -m benchmarks.lighthouse

lint: .venv/.dev
	$(PYTHON_IN) -m ruff check
	$(PYTHON_IN) -m ruff format --check
	OXYGEN_ENV=test $(PYTHON_IN) -m mypy --num-workers 2
	@# No database is up yet, of which Django would warn; what is compared is models and files.
	OXYGEN_ENV=test $(PYTHON_IN) -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run

# Every package with its hashes, and no index's address, so that any mirror serves.
lock: .venv/.dev
	$(PYTHON_IN) -m pip install --quiet --disable-pip-version-check uv
	.venv/bin/uv pip compile pyproject.toml --group server --universal --python-version 3.12 --generate-hashes --no-header --no-emit-index-url --quiet -o requirements.txt
	.venv/bin/uv pip compile pyproject.toml -c requirements.txt --group dev --universal --python-version 3.12 --generate-hashes --no-header --no-emit-index-url --quiet -o requirements-dev.txt

clean:
	[ ! -x $(PYTHON_IN) ] || $(PYTHON_IN) -m oxygen_site.postgres remove
	rm -rf .venv .uv .data .static .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.server: requirements.txt pyproject.toml bootstrap.sh
	./bootstrap.sh requirements.txt
	touch $@

.venv/.dev: requirements-dev.txt pyproject.toml bootstrap.sh
	./bootstrap.sh requirements-dev.txt
	touch $@ .venv/.server

# The browser tests are never skipped.
chromium: .venv/.dev
	@command -v chromium >/dev/null || ls $(HOME)/.cache/ms-playwright/chromium* >/dev/null 2>&1 || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing chromium for the browser tests."; \
		apt-get update -qq </dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium </dev/null >/dev/null; \
	else \
		echo "The browser tests need chromium: run  .venv/bin/playwright install --with-deps chromium"; exit 1; \
	fi

# The documented lines of the command are tested as people write them.
jq:
	@command -v jq >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing jq for the tests of the documented lines."; \
		apt-get update -qq </dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends jq </dev/null >/dev/null; \
	else \
		echo "The tests need jq (Debian: apt install jq)."; exit 1; \
	fi
