# Roost: every target makes the .venv it needs by itself; nothing is done by hand before.
PYTHON ?= python3
PY := .venv/bin/python
# Container images like to set it; each of the hundreds of processes here would compile all it imports.
unexport PYTHONDONTWRITEBYTECODE
CODE := $(wildcard center clients/python common loadtest servers tests tools worlds)

.PHONY: help run test check bench bench-peers c100k c1000k growth scenarios bots capacity proof torture moves soak docs lock clean .venv
.DEFAULT_GOAL := help

help:  ## show this
	@awk -F ':.*## ' '/^[a-z0-9.-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

run: .venv/.runtime  ## start the whole cluster here; Ctrl-C ends it in order
	@./roost up

test: .venv/.dev  ## run all tests; one file: make test ARGS=tests/common/test_keys.py
	@$(PY) -m tools.tests $(ARGS)

check: .venv/.dev  ## what .ci/run calls: format, ruff, mypy strict beside the tests (with layering)
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m tools.tests --types $(CODE)

bench: .venv/.dev  ## measure this machine: memory, echo, fan-out, logins, links
	@$(PY) -m loadtest.bench $(ARGS)

bench-peers: .venv/.dev  ## the same fan-out on Roost, nats-server, nchan, mosquitto and others; report in build/peers/
	@PYTHONPATH=. $(PY) -m loadtest.peers $(ARGS)

c100k: .venv/.dev  ## 100,000 connections brought up, held, stirred and counted, in minutes; report in build/c100k/
	@PYTHONPATH=. $(PY) -m loadtest.c1000k c100k $(ARGS)

c1000k: .venv/.dev  ## the same with a million, on one machine; about half an hour; report in build/c1000k/
	@PYTHONPATH=. $(PY) -m loadtest.c1000k c1000k $(ARGS)

growth: .venv/.dev  ## what a connection, login and delivery cost from 10,000 to 300,000 connections; report in build/growth/
	@PYTHONPATH=. $(PY) -m loadtest.growth $(ARGS)

scenarios: .venv/.dev  ## everyday use by locust: chat, push, reconnects; a broken threshold fails; pages in build/scenarios/
	@PYTHONPATH=. $(PY) -m loadtest.scenarios $(ARGS)

bots: .venv/.dev  ## the arena with 100 to 2,000 bots: ticks, delays, processors; report in build/bots/
	@PYTHONPATH=. $(PY) -m loadtest.bots.growth $(ARGS)

capacity: .venv/.dev  ## does the model of docs/capacity.md hold for 1,000 gateways? simulated, in seconds
	@PYTHONPATH=. $(PY) -m loadtest.simulation $(ARGS)

proof: .venv/.dev  ## the cluster's proofs at full size (killing, freezing, order, Redis away a minute); a few minutes
	@FULL=1 $(PY) -m pytest -v tests/cluster/test_order.py tests/cluster/test_kills.py tests/cluster/test_frozen.py tests/cluster/test_restarts.py

torture: .venv/.dev  ## kept messages while everything is killed; longer: make torture MINUTES=30 SEED=2; report in build/torture
	@PYTHONPATH=.:clients/python/src $(PY) -m loadtest.torture $(MINUTES) $(SEED)
torture: MINUTES := 1
SEED := 1

moves: .venv/.dev  ## 500 players move between maps while processes are killed; report in build/moves; ARGS="players moves seed"
	@PYTHONPATH=. $(PY) -m loadtest.moves $(ARGS)

soak: .venv/.dev  ## does anything grow? MINUTES=60 at RATE=200 reconnects/s; report in build/soak/
	@$(PY) -m loadtest.soak --minutes $(MINUTES) --rate $(RATE) $(ARGS)
soak: MINUTES := 60
RATE := 200

docs: .venv/.dev  ## make docs/configuration.md from the declarations
	@$(PY) -m tools.document

lock: .venv/.dev  ## make requirements/*.lock from pyproject.toml
	@$(PY) -m uv pip compile $(LOCK) pyproject.toml -o requirements/runtime.lock
	@$(PY) -m uv pip compile $(LOCK) --group dev -c requirements/runtime.lock pyproject.toml -o requirements/dev.lock
LOCK := --quiet --universal --generate-hashes --python-version 3.11 --no-header --no-emit-index-url $(ARGS)

clean:  ## remove .venv and all caches; run/ (state, secrets, logs) stays
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv: .venv/.dev

.venv/.runtime: requirements/runtime.lock tools/install.py
	@$(PYTHON) tools/install.py runtime

.venv/.dev: requirements/dev.lock tools/install.py
	@$(PYTHON) tools/install.py dev
