# The image of `sealwright serve`, and of every other `sealwright` command. Any builder reads it, BuildKit or not.
FROM python:3.13-slim AS build

WORKDIR /src
RUN python -m venv /build && python -m venv --without-pip /opt/sealwright
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1

# What changes seldom comes first. Everything from an index is checked by its hash, and nothing is compiled.
COPY requirements/build.txt requirements/server.txt requirements/
RUN /build/bin/pip install --quiet --only-binary :all: --require-hashes -r requirements/build.txt \
 && /build/bin/pip --python /opt/sealwright/bin/python install --quiet --only-binary :all: --require-hashes \
      -r requirements/server.txt

COPY pyproject.toml README.md ./
COPY verifier verifier
COPY migrations migrations
COPY service service
# A start compiles nothing, and needs to write nothing: the bytecode is here, and is not compared with its source.
RUN /build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels . ./verifier \
 && /build/bin/pip --python /opt/sealwright/bin/python install --quiet --no-deps --no-index /wheels/*.whl \
 && /opt/sealwright/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/sealwright/lib


FROM python:3.13-slim

LABEL org.opencontainers.image.title="Sealwright" \
      org.opencontainers.image.description="A standalone identity and token-issuing service for a fleet of services"

# A number that nobody else has, so that a volume or a policy can name it.
RUN groupadd --gid 10001 sealwright \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/sealwright --shell /usr/sbin/nologin sealwright \
 && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/sealwright /var/lib/sealwright/keys

COPY --from=build /opt/sealwright /opt/sealwright

ENV PATH=/opt/sealwright/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SEALWRIGHT_HOST=0.0.0.0 \
    SEALWRIGHT_PORT=8000 \
    SEALWRIGHT_KEYS_DIR=/var/lib/sealwright/keys

WORKDIR /var/lib/sealwright
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM

# Whether the process is alive: a replica without Postgres still serves keys, and a restart would not bring Postgres back.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['SEALWRIGHT_PORT']), timeout=4); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]

ENTRYPOINT ["sealwright"]
CMD ["serve"]
