# syntax=docker/dockerfile:1

# The environment is made where a compiler and uv may be; the image that runs has neither.
FROM python:3.12-slim-bookworm AS build
COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /usr/local/bin/uv
ENV UV_CACHE_DIR=/cache/uv NPM_CONFIG_CACHE=/cache/npm
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=/opt/mldb/venv
# What the image can do beside: docker compose build --build-arg EXTRAS="tensorflow excel s3".
ARG EXTRAS=tensorflow
WORKDIR /opt/mldb/source
# Dependencies first: they change less often than our own code, and their layer stays cached.
COPY pyproject.toml uv.lock ./
# hadolint ignore=SC2046
RUN --mount=type=cache,target=/cache/uv \
    uv sync --locked --no-install-project --no-default-groups $(printf -- '--extra %s ' $EXTRAS)
# The console's bundle, made by the Node of the lock; neither it nor npm's packages reach the image that runs.
COPY static/console static/console
RUN --mount=type=cache,target=/cache/uv --mount=type=cache,target=/cache/npm \
    UV_PROJECT_ENVIRONMENT=/opt/node uv sync --locked --only-group console \
    && /opt/node/bin/python static/console/npm.py ci \
    && /opt/node/bin/python static/console/npm.py run build
COPY . .
# hadolint ignore=SC2046
RUN --mount=type=cache,target=/cache/uv \
    uv sync --locked --no-editable --no-default-groups $(printf -- '--extra %s ' $EXTRAS)

FROM python:3.12-slim-bookworm
# Plugins may come from git addresses. Of which version is what the system's distribution keeps safe.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 mldb \
    && useradd --uid 10001 --gid mldb --no-create-home --shell /usr/sbin/nologin mldb \
    && install --directory --owner mldb --group mldb /mldb_data
COPY --from=build /opt/mldb/venv /opt/mldb/venv
COPY plugins /opt/mldb/plugins
ENV PATH=/opt/mldb/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    HOME=/tmp \
    MLDB_HOST=0.0.0.0 \
    MLDB_PORT=8080 \
    MLDB_DATA_DIR=/mldb_data
# file://name, with two slashes, is a file of the data root, as in MLDB's own container.
WORKDIR /mldb_data
USER 10001:10001
VOLUME /mldb_data
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
# /healthz needs no token and no curl: the image has Python.
HEALTHCHECK --interval=15s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
CMD ["mldb", "serve", "--plugin-directory", "/opt/mldb/plugins"]
