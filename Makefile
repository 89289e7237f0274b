PY := .venv/bin
LOCK := requirements/linux-x86_64-py311.lock
DEMO ?= data/demo
LABELS ?= data/label-studio
LABELS_PORT ?= 8080
LOOP ?= data/loop
S3 ?=
COMPILE = $(PY)/uv pip compile -q --generate-hashes --no-annotate --python-version 3.11 \
	--python-platform x86_64-manylinux_2_28 --custom-compile-command "make lock"

.PHONY: env demo up down labelstudio labelstudio-down test test-services chaos check supply-chain bench lock
env: .venv/.ready
.venv/.ready: $(LOCK) requirements/bootstrap.lock requirements/torch.sh pyproject.toml
	python3 -m venv .venv && $(PY)/python -m pip install -q --require-hashes -r requirements/bootstrap.lock
	VIRTUAL_ENV=.venv $(PY)/uv pip install -q --no-deps --require-hashes -r $(LOCK)
	VIRTUAL_ENV=.venv requirements/torch.sh
	VIRTUAL_ENV=.venv $(PY)/uv pip install -q --no-deps --no-build-isolation -e . && touch $@

demo: env
	$(PY)/faceloop sample-footage $(DEMO)/sample-footage
	$(PY)/faceloop flow $(DEMO)/sample-footage --root $(DEMO) --truth $(DEMO)/sample-footage/truth.json

up: env
	$(PY)/faceloop operate up --folder $(LOOP) $(if $(S3),--s3)

down: env
	$(PY)/faceloop operate down --folder $(LOOP)

labelstudio: env
	$(PY)/python -m facereview.labelstudio.local start --folder $(LABELS) --port $(LABELS_PORT)

labelstudio-down: env
	$(PY)/python -m facereview.labelstudio.local stop --folder $(LABELS)

test: env
	$(PY)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-services: env
	tests/services.sh

chaos: env
	FACELOOP_LONG=1 $(PY)/python -m pytest tests/loop tests/chaos \
		tests/facestore/test_shard_changes.py tests/facestore/test_shard_files.py tests/facestore/test_consents.py

check: env
	$(PY)/ruff check . && $(PY)/ruff format --check .
	$(PY)/mypy && $(PY)/lint-imports

supply-chain: env
	$(PY)/python requirements/supply_chain.py --out data/supply-chain

bench: env
	$(PY)/python benchmarks/run_all.py

lock: env
	$(COMPILE) pyproject.toml --extra dev --override requirements/overrides.txt -o $(LOCK)
	$(COMPILE) requirements/bootstrap.in -o requirements/bootstrap.lock
	$(COMPILE) requirements/label-studio.in -o requirements/label-studio.lock
	$(COMPILE) -c $(LOCK) requirements/airflow.in -o requirements/airflow.lock
	$(COMPILE) -c $(LOCK) pyproject.toml requirements/worker.in --override requirements/worker-overrides.txt \
		-o requirements/worker.lock
	$(COMPILE) -c $(LOCK) requirements/engines-cpu.in -o requirements/engines-cpu.lock
	$(COMPILE) -c $(LOCK) requirements/engines-gpu.in requirements/trainer.in -o requirements/trainer.lock
	$(COMPILE) -c $(LOCK) -c requirements/trainer.lock requirements/engines-gpu.in -o requirements/engines-gpu.lock
	$(COMPILE) -c $(LOCK) -c requirements/trainer.lock requirements/engines-gpu.in requirements/tensorrt.in \
		-o requirements/tensorrt.lock
	$(COMPILE) -c $(LOCK) requirements/image-build.in -o requirements/image-build.lock
	$(COMPILE) -c $(LOCK) requirements/seaweedfs.in -o requirements/seaweedfs.lock
