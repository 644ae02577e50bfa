# Every target sets up what it needs. Spark's settings are in conf/spark-defaults.conf.
BIN := .venv/bin
DEMO := data/demo

.PHONY: setup demo test lint lab clean lock

setup: .venv/ready

.venv/ready: requirements.lock pyproject.toml
	@python=$$(PYTHON="$(PYTHON)" deploy/local/find-python.sh) && \
	echo "installing into .venv (2.5 GB, a few minutes)" && \
	{ [ -x $(BIN)/python ] || "$$python" -m venv .venv; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# What tests and lint need beside the package itself.
.venv/ready-dev: .venv/ready requirements-dev.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

demo: setup
	$(BIN)/fruits sample --output data/sample
	@mkdir -p $(DEMO)
	$(BIN)/papermill notebooks/fruits_pca.ipynb $(DEMO)/fruits_pca.ipynb --log-output --no-progress-bar \
		-p images data/sample/Training -p output $(DEMO)/output -p backbone EfficientNetLite0
	@$(BIN)/fruits report --output $(DEMO)/output
	@echo "  notebook  $(CURDIR)/$(DEMO)/fruits_pca.ipynb"

test: .venv/ready-dev
	$(BIN)/python -m pytest tests

lint: .venv/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lab: setup
	$(BIN)/jupyter lab --notebook-dir=.

# Pins all packages anew. The universal lock holds for every platform and names no host.
lock:
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
		pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
		--group dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean:
	rm -rf .venv data
