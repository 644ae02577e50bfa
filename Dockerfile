# One image for every role: workbench, master, worker, history server, headless run.
# docs/docker.md explains how to build and use it, and lists the sizes of its parts.

# The base image; docs/docker.md explains how to pin it by digest.
ARG BASE_IMAGE=debian:trixie-slim

# ---- Java, Python and the user: the base of the image and of its build stages.
FROM ${BASE_IMAGE} AS base
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates openjdk-21-jre-headless python3 tini \
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* /usr/share/doc/* /usr/share/man/* \
 && useradd --uid 1000 --create-home --shell /bin/bash fruits


# ---- The Python packages, as requirements.lock pins them.
FROM base AS python
RUN apt-get update \
 && apt-get install -y --no-install-recommends binutils python3-pip zip \
 && rm -rf /var/lib/apt/lists/*
COPY requirements.lock deploy/docker/requirements.txt deploy/docker/download.sh /build/
# The secret "ca", if given, is a PEM file with the certificates to trust instead of pip's own.
RUN --mount=type=secret,id=ca --mount=type=cache,target=/root/.cache/pip \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi \
 && python3 -m venv --without-pip /opt/fruits \
 # PySpark is built from source: first install its build tools, which the same lock pins.
 && awk '/^(setuptools|wheel)==/, /[^\\]$/' /build/requirements.lock > /build/tools.txt \
 && install="sh /build/download.sh pip --python /opt/fruits/bin/python install --no-compile --no-deps --require-hashes" \
 && $install -r /build/tools.txt \
 && $install --no-build-isolation -r /build/requirements.lock -r /build/requirements.txt
COPY deploy/docker/trim.sh /build/
RUN sh /build/trim.sh /opt/fruits/lib/python3.13/site-packages
# Byte code for the imported modules, because an unprivileged user cannot write it later.
RUN cd /tmp && export HOME=/tmp TF_CPP_MIN_LOG_LEVEL=3 MPLBACKEND=agg \
 && for modules in tensorflow,keras openvino pyspark.sql,pyspark.ml,pyspark.worker,pyspark.daemon \
        pandas,pyarrow.dataset,pyarrow.parquet,pyarrow.csv matplotlib.pyplot,PIL.Image,tqdm s3fs,boto3 \
        jupyterlab.labapp,jupyter_server_proxy,ipykernel.kernelapp,matplotlib_inline.backend_inline \
        papermill.cli,nbconvert.exporters; \
    do /opt/fruits/bin/python -c "import $modules" || exit; done


# ---- The jars for s3a://, as conf/jars pins them.
FROM base AS jars
RUN apt-get update \
 && apt-get install -y --no-install-recommends maven openssl zip \
 && rm -rf /var/lib/apt/lists/*
COPY conf/jars deploy/docker/download.sh /build/
WORKDIR /build
RUN --mount=type=secret,id=ca --mount=type=cache,target=/root/.m2 \
    if [ -s /run/secrets/ca ]; then \
        openssl pkcs12 -export -nokeys -jdktrust anyExtendedKeyUsage -in /run/secrets/ca \
            -passout pass:changeit -out /tmp/ca.p12 \
     && export MAVEN_OPTS="-Djavax.net.ssl.trustStore=/tmp/ca.p12 -Djavax.net.ssl.trustStorePassword=changeit"; \
    fi \
 && sh /build/download.sh mvn --batch-mode --quiet dependency:copy-dependencies -DoutputDirectory=/jars \
 && cd /jars && sha256sum --check --strict /build/SHA256SUMS && test "$(ls | wc -l)" = "$(wc -l < /build/SHA256SUMS)"
# S3A uses five of the bundle's 411 services; "full" keeps all of them.
ARG AWS_BUNDLE=filtered
RUN services=software/amazon/awssdk/services; \
    case "$AWS_BUNDLE" in \
    full) ;; \
    filtered) zip --quiet --delete /jars/bundle-*.jar "$services/*" \
        --exclude "$services/s3/*" "$services/sts/*" "$services/kms/*" "$services/sso/*" "$services/ssooidc/*" ;; \
    *) echo "AWS_BUNDLE: wanted filtered or full; got '$AWS_BUNDLE'" >&2; exit 2 ;; \
    esac


# ---- The package.
FROM python AS package
COPY pyproject.toml README.md LICENSE NOTICE /build/source/
COPY fruits /build/source/fruits
# The templates of fruits cloud.
COPY deploy/*.yaml /build/source/deploy/
COPY deploy/emr/bootstrap.sh /build/source/deploy/emr/
RUN pip --python /opt/fruits/bin/python wheel --no-build-isolation --no-deps --no-index -w /build /build/source \
 && pip --python /opt/fruits/bin/python install --prefix=/package --ignore-installed --no-deps --no-index /build/*.whl


# ---- ImageNet weights and compiled graphs of the networks in BACKBONES.
FROM package AS backbones
ARG BACKBONES=""
RUN cp -a /package/. /opt/fruits/ && mkdir -p /baked/fruits /baked/keras
RUN --mount=type=secret,id=ca \
    if [ -s /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca; fi \
 && export FRUITS_CACHE=/baked/fruits KERAS_HOME=/baked/keras HOME=/tmp \
 && for backbone in $BACKBONES; do \
        sh /build/download.sh \
            /opt/fruits/bin/python -c 'import sys; from fruits.networks.compile import compile_backbone; compile_backbone(sys.argv[1])' \
            "$backbone" || exit; \
    done


# ---- The sample, the initial content of a new volume for /data.
FROM package AS sample
RUN cp -a /package/. /opt/fruits/ && mkdir /data \
 && HOME=/tmp /opt/fruits/bin/fruits sample --output /data/sample >/dev/null 2>&1


# ---- The application, "fruits serve": no Java, no Spark, no TensorFlow, no notebook. --target app
FROM ${BASE_IMAGE} AS app-base
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates python3 tini \
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* /usr/share/doc/* /usr/share/man/* \
 && useradd --uid 1000 --create-home --shell /bin/bash fruits

FROM app-base AS app-python
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-pip \
 && rm -rf /var/lib/apt/lists/*
COPY requirements.lock requirements-serve.lock deploy/docker/download.sh deploy/docker/trim.sh /build/
# The build tools are in a second environment, which is not copied to the image.
RUN --mount=type=secret,id=ca --mount=type=cache,target=/root/.cache/pip \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi \
 && python3 -m venv --without-pip /opt/fruits && python3 -m venv --without-pip /build/tools \
 && awk '/^(setuptools|wheel|packaging)==/, /[^\\]$/' /build/requirements.lock > /build/tools.txt \
 && for place in /build/tools:/build/tools.txt /opt/fruits:/build/requirements-serve.lock; do \
        sh /build/download.sh pip --python "${place%:*}/bin/python" install --no-compile --no-deps \
            --require-hashes -r "${place#*:}" || exit; \
    done \
 && sh /build/trim.sh /opt/fruits/lib/python3.13/site-packages
COPY pyproject.toml README.md LICENSE NOTICE /build/source/
COPY fruits /build/source/fruits
# The application draws no photographs.
RUN rm -r /build/source/fruits/sample \
 && pip --python /build/tools/bin/python wheel --no-build-isolation --no-deps --no-index -w /build /build/source \
 && pip --python /opt/fruits/bin/python install --no-compile --no-deps --no-index /build/*.whl \
 # Byte code for the imported modules, because an unprivileged user cannot write it later.
 && cd /tmp && /opt/fruits/bin/python -c "import fruits.cli.commands, fruits.serve.web, fruits.serve.worker, openvino, s3fs"

FROM app-base AS app
ENV PATH=/opt/fruits/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    # This address requires a token (FRUITS_TOKEN) or FRUITS_SERVE_PUBLIC=true.
    FRUITS_SERVE_HOST=0.0.0.0 \
    FRUITS_CACHE=/tmp/fruits \
    no_proxy=127.0.0.1
COPY --from=app-python /opt/fruits /opt/fruits
ARG VERSION=development
LABEL org.opencontainers.image.title="fruits-app" \
      org.opencontainers.image.description="A page and an API that recognise fruit on photographs" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="debian:trixie-slim"
# Without this line, a volume on Fargate belongs to root.
VOLUME /tmp
# The user "fruits". Kubernetes accepts only a number for runAsNonRoot.
USER 1000
WORKDIR /home/fruits
EXPOSE 8000
HEALTHCHECK --start-period=10s --interval=15s --timeout=10s CMD ["python", "-c", \
    "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('FRUITS_SERVE_PORT', '8000') + '/ping', timeout=5)"]
# SageMaker starts the image with the argument "serve".
ENTRYPOINT ["tini", "--", "fruits"]
CMD ["serve"]


# ---- The image: slow layers first, the project's own files last.
FROM base
ENV PATH=/opt/fruits/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYSPARK_PYTHON=/opt/fruits/bin/python \
    SPARK_HOME=/opt/fruits/lib/python3.13/site-packages/pyspark \
    # In memory, because the entrypoint adds the secret of the cluster to the configuration.
    SPARK_CONF_DIR=/dev/shm/spark \
    # On disk, because /tmp is in memory in many containers.
    SPARK_LOCAL_DIRS=/var/lib/spark/local \
    FRUITS_CACHE=/var/cache/fruits \
    KERAS_HOME=/var/cache/keras \
    TF_CPP_MIN_LOG_LEVEL=3
COPY --from=python /opt/fruits /opt/fruits
COPY --from=jars /jars/ /opt/fruits/lib/python3.13/site-packages/pyspark/jars/
RUN install -d -o fruits -g fruits /var/lib/spark /var/log/spark-events /home/fruits/notebooks \
 # The notebook's default for images, "data/sample", is then /data/sample.
 && ln -s /data /home/fruits/data \
 # A user without a name, in group 0, can add itself here, because Hadoop needs a user name.
 && chmod g+w /etc/passwd
COPY --from=sample --chown=fruits:fruits /data /data
COPY --from=backbones --chown=fruits:fruits /baked/ /var/cache/
COPY --from=package /package /opt/fruits
COPY conf/spark-defaults.conf conf/log4j2.properties conf/spark-env.sh /opt/fruits/conf/
COPY deploy/docker/jupyter_server_config.py /opt/fruits/etc/jupyter/
# JupyterLab does not fetch news.
COPY deploy/docker/page_config.json /opt/fruits/etc/jupyter/labconfig/
COPY deploy/docker/roles/*.py /opt/fruits/roles/
COPY deploy/docker/roles/roles /usr/local/bin/
# For Spark on Kubernetes: the program to submit, and the script that runs before a pod is stopped.
COPY deploy/docker/run.py /opt/fruits/
COPY deploy/docker/decom.sh /opt/
COPY notebooks/ /opt/fruits/notebooks/
COPY --chown=fruits:fruits notebooks/ /home/fruits/notebooks/
# make image sets this to the version in pyproject.toml.
ARG VERSION=development
LABEL org.opencontainers.image.title="fruits" \
      org.opencontainers.image.description="Folders of photographs to CNN features and PCA, on Spark" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="debian:trixie-slim"
# The user "fruits". Kubernetes accepts only a number for runAsNonRoot.
USER 1000
WORKDIR /home/fruits
EXPOSE 8888
HEALTHCHECK --start-period=30s --interval=15s --timeout=10s CMD ["roles", "healthy"]
# tini sends the signal only to the role, so that a worker can first hand over the data of its executors.
ENTRYPOINT ["tini", "--", "roles"]
CMD ["notebook"]
