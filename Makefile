# Each target installs what it needs. Spark's settings are in conf/spark-defaults.conf.
BIN := .venv/bin
DEMO := data/demo

# Tests and runs start hundreds of Python processes; without byte code, each would compile the package.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup java classes sample demo test check lint lab bench image app-image up down test-cluster test-kubernetes test-spark-4.1 test-yarn lock sbom clean

setup: .venv/ready

.venv/ready: requirements.lock pyproject.toml
	@python=$$(PYTHON="$(PYTHON)" deploy/local/find-python.sh) && \
	echo "installing into .venv: 2.8 GB, one to five minutes" && \
	{ [ -x $(BIN)/python ] || "$$python" -m venv .venv; }
	@deploy/local/install.sh $(BIN)/python requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Additional packages for tests and lint.
.venv/ready-dev: .venv/ready requirements-dev.lock
	@echo "installing the test packages (0.4 GB)"
	@deploy/local/install.sh $(BIN)/python requirements-dev.lock
	@touch $@

# Spark needs Java; setup does not.
java:
	@deploy/local/check-java.sh

# Archives Spark's Java classes: afterwards, local runs start in half the time.
classes: java .venv/ready
	@$(BIN)/python -m fruits.runs.class_archive

# Draws the missing photographs of the sample.
sample: setup
	@$(BIN)/fruits sample --output data/sample

demo: java sample
	@mkdir -p $(DEMO)
	@echo "running notebooks/fruits_pca.ipynb on local Spark: less than a minute"
	@$(BIN)/python deploy/local/demo.py notebooks/fruits_pca.ipynb $(DEMO)/fruits_pca.ipynb \
		images=data/sample output=$(DEMO)/output backbone=EfficientNetLite0
	@echo "  notebook    $(CURDIR)/$(DEMO)/fruits_pca.ipynb"
	@echo "  report      file://$(CURDIR)/$(DEMO)/output/report.html"

# Several processes, each of which runs whole files; for one process, such as for a debugger: PARALLEL=
# A crashed process is not replaced, because pytest-xdist would then wait forever at the end.
PARALLEL := -n logical --maxprocesses 3 --dist loadfile --max-worker-restart 0
LOCAL := not cluster and not yarn

# Spark uses several cores, but the start of a session and the end of a run use only one.
SPARK_PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0
test: java .venv/ready-dev
	@echo "all tests except make test-cluster (Docker), make test-kubernetes and make test-yarn (Maven): a"
	@echo "quarter of an hour on two cores; skipped tests are listed at the end of each part, with the reason"
	$(BIN)/python -m pytest tests $(PARALLEL) -m "not spark and $(LOCAL)" --durations=5
	$(BIN)/python -m pytest tests $(SPARK_PARALLEL) -m "spark and $(LOCAL)" --durations=25

# All tests in these folders are slow or need Docker; only importing them would take 10 s.
NOT_QUICK := aws cluster kubernetes networks serve
# Quick checks while you work. Java is disabled, so that no test without the marker can start Spark.
check: lint
	@echo "quick tests only: two minutes on two cores; make test also runs slow tests and Spark tests"
	JAVA_HOME=$(CURDIR)/no-java $(BIN)/python -m pytest tests -q $(PARALLEL) -m "not spark and not slow and $(LOCAL)" \
		$(NOT_QUICK:%=--ignore=tests/%)

lint: .venv/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Opens a copy of the notebook, which you may change and which needs no download. JupyterLab requires
# an option if it runs as root.
LAB := data/notebooks/fruits_pca.ipynb
lab: java sample
	@deploy/local/copy-notebook.sh notebooks/fruits_pca.ipynb $(LAB)
	$(BIN)/jupyter lab --notebook-dir=. $(if $(filter 0,$(shell id -u)),--allow-root) $(LAB)

# The build of the image trusts the certificates of this machine, unless the environment or .env sets
# CA_CERTIFICATES. They are not stored in the image.
CA := $(firstword $(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt))
HAS_CA = $(filter-out undefined,$(origin CA_CERTIFICATES))$(shell grep -Es '^ *(export +)?CA_CERTIFICATES *[=:]' .env)
TRUST = $(if $(CA),$(if $(HAS_CA),,CA_CERTIFICATES=$(CA)))

VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

image:
	$(TRUST) FRUITS_VERSION=$(VERSION) docker compose build $(IMAGE_OPTIONS) notebook

# The smaller image of the application.
app-image:
	$(TRUST) FRUITS_VERSION=$(VERSION) docker compose --profile app build $(IMAGE_OPTIONS) app

# With profiles: make up PROFILES="cluster s3" WORKERS=3; without WORKERS, .env sets the number.
up:
	docker compose $(PROFILES:%=--profile %) up -d $(if $(WORKERS),--scale worker=$(WORKERS))
	docker compose logs --no-log-prefix notebook | grep JupyterLab: || true

down:
	docker compose --profile '*' down

# Installs missing programs. Needs root on Debian if no Docker engine is running.
CLUSTER := tests/cluster tests/serve/test_container.py
# All other tests with containers may use a browser and SSH.
NO_BROWSER := tests/cluster/test_image.py tests/cluster/test_cluster.py
test-cluster: .venv/ready-dev
	deploy/docker/engine.sh images
ifneq ($(filter-out $(NO_BROWSER),$(CLUSTER)),)
	command -v chromium >/dev/null || apt-get install -y -qq chromium
	[ -x /usr/sbin/sshd ] || apt-get install -y -qq openssh-server
endif
	$(BIN)/python -m pytest $(CLUSTER) -m cluster

# A real Kubernetes cluster of one node, built from its Go modules. Needs root on Debian, Go and kubectl.
test-kubernetes: .venv/ready-dev
	deploy/docker/engine.sh images
	[ -x /usr/lib/cni/bridge ] || apt-get install -y -qq containernetworking-plugins conntrack iptables
	tests/kubernetes/build.sh data/kubernetes
	$(MAKE) image app-image
	$(BIN)/python -m pytest tests/kubernetes -m cluster

# The Spark tests with the oldest supported PySpark, which has the same API as EMR.
OLDEST := tests/features tests/spark tests/tasks tests/runs/test_pipeline.py tests/runs/test_classify.py
test-spark-4.1: java .venv/ready-dev data/spark-4.1/ready
	PYTHONPATH=$(CURDIR)/data/spark-4.1 $(BIN)/python -m pytest $(OLDEST) -m spark

data/spark-4.1/ready: requirements-spark-4.1.lock .venv/ready
	rm -rf $(@D)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --require-hashes \
		--target $(@D) -r $<
	@touch $@

# Tests with real YARN and HDFS, which Maven downloads.
test-yarn: .venv/ready-dev data/environment.tar.gz
	command -v mvn >/dev/null || apt-get install -y -qq maven
	$(BIN)/python -m pytest tests/aws -m yarn

# The archive for spark.archives, see docs/yarn.md.
data/environment.tar.gz: requirements.lock pyproject.toml deploy/yarn/pack.sh deploy/emr/wheels.sh $(shell git ls-files fruits)
	deploy/yarn/pack.sh $@

# Compares the package with other tools, each in a separate environment in data/bench:
# make bench BENCH="--images /data/fruits-360/Training --count 13810"
bench: .venv/ready-dev
	$(BIN)/python -m benchmarks $(BENCH)

# Pins all packages again. The universal lock is valid for all platforms and contains no host names.
lock:
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
		--extra workbench pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
		--group dev --extra workbench -c requirements.lock pyproject.toml -o requirements-dev.lock
	echo "pyspark==4.1.4" | uv pip compile --quiet --universal --generate-hashes --no-emit-index-url \
		--no-annotate --python-version 3.11 - -o requirements-spark-4.1.lock
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
		--extra serve --extra s3 --extra heif -c requirements.lock pyproject.toml -o requirements-serve.lock
	for peer in ray daft nncf gradio flask; do \
		uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
			benchmarks/peers/$$peer.in -o benchmarks/peers/$$peer.lock || exit; \
	done

# Writes a CycloneDX SBOM of the lock and, if it exists, of the image.
SBOM := data/sbom
sbom: .venv/ready-dev
	@mkdir -p $(SBOM)
	$(BIN)/python -W ignore -m cyclonedx_py requirements --pyproject pyproject.toml --output-reproducible \
		-o $(SBOM)/lock.cdx.json requirements.lock
	@if docker image inspect fruits >/dev/null 2>&1; then \
		docker run --rm -i --network none --entrypoint python fruits - <deploy/docker/sbom.py >$(SBOM)/image.cdx.json; \
	else \
		echo "no image: make image, then make sbom again"; \
	fi
	@ls $(SBOM)/*

clean:
	rm -rf .venv data
