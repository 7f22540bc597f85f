# syntax=docker/dockerfile:1
# Two stages: the first compiles the hot modules and installs the locked dependencies and the wheel into a
# virtual environment, the second holds nothing but that. It runs as a numeric user (Kubernetes' runAsNonRoot
# can check it) and writes only under /var/lib/tiltyard, so the root file system can be mounted read-only.
FROM python:3.12-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/tiltyard
# Not pinned: the base's own release, with its newest fixes.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY requirements/build.lock requirements/native.lock requirements/run.lock requirements/
# The dependencies are here twice: what compiles reads their types.
RUN python -m pip install --require-hashes --no-deps \
        -r requirements/build.lock -r requirements/native.lock -r requirements/run.lock \
    && /opt/tiltyard/bin/python -m pip install --require-hashes --no-deps -r requirements/run.lock
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
COPY configs/demo.yaml configs/
COPY scripts/native_build.py scripts/
ENV HATCH_BUILD_HOOK_ENABLE_CUSTOM=true
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
    && /opt/tiltyard/bin/python -m pip install --no-index --no-deps /dist/*.whl \
    && /opt/tiltyard/bin/python -m pip uninstall --yes pip

FROM python:3.12-slim-bookworm

LABEL org.opencontainers.image.title="Tiltyard" \
      org.opencontainers.image.description="A model-serving gateway with champion/challenger routing" \
      org.opencontainers.image.licenses="Apache-2.0"

ENV PATH=/opt/tiltyard/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=build /opt/tiltyard /opt/tiltyard
RUN install -d -o 10001 -g 10001 /var/lib/tiltyard /etc/tiltyard
WORKDIR /var/lib/tiltyard
VOLUME ["/var/lib/tiltyard"]
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["tiltyard", "health", "--config", "/etc/tiltyard/gateway.yaml"]
ENTRYPOINT ["tiltyard"]
CMD ["run", "--config", "/etc/tiltyard/gateway.yaml"]
