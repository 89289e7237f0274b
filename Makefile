PY := .venv/bin
LOCK := requirements/linux-x86_64-py311.lock
DEMO ?= data/demo

.PHONY: env demo test check bench lock
env: .venv/.ready            ## the environment, from the hashed lock
.venv/.ready: $(LOCK) requirements/bootstrap.lock pyproject.toml
	python3 -m venv .venv && $(PY)/python -m pip install -q --require-hashes -r requirements/bootstrap.lock
	VIRTUAL_ENV=.venv $(PY)/uv pip install -q --no-deps --require-hashes -r $(LOCK)
	VIRTUAL_ENV=.venv $(PY)/uv pip install -q --no-deps --no-build-isolation -e . && touch $@
