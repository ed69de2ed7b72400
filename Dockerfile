# One image for every vertex, for charonctl and for PvaPy's tools. `make images` builds it (images/build.sh).
#
# BASE      Debian or Ubuntu with Python 3.11 or later, or a CUDA image with VARIANT=cuda
# VARIANT   cpu: OpenVINO; cuda: in addition ONNX Runtime with TensorRT and CUDA
# VERSION, REVISION, SOURCE  for the labels

ARG BASE=docker.io/library/python:3.11-slim-bookworm


# The base of all stages: Python, the user, the folder for results, and with CUDA also TensorRT.
FROM ${BASE} AS base
ARG VARIANT=cpu
ARG TENSORRT_PACKAGES="libnvinfer10 libnvonnxparsers10"
COPY images/base.sh /tmp/base.sh
RUN VARIANT="$VARIANT" TENSORRT_PACKAGES="$TENSORRT_PACKAGES" sh /tmp/base.sh && rm /tmp/base.sh
ENV PATH=/opt/charon/bin:$PATH


# All locked packages. The secrets are a pip.conf and certificates, for a build with its own package index.
FROM base AS installed
ARG VARIANT=cpu
RUN python3 -m venv /tools && python3 -m venv --without-pip /opt/charon
COPY requirements/image.txt requirements/image-cuda.txt /build/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=certificates,target=/run/secrets/certificates.pem \
    if [ "$VARIANT" = cuda ]; then lock=image-cuda.txt; else lock=image.txt; fi \
 && /tools/bin/pip --python /opt/charon/bin/python install --disable-pip-version-check --no-cache-dir --no-compile \
      --quiet --require-hashes -r "/build/$lock"


# The packages without unused files, compiled in advance because the root file system may be read-only.
FROM installed AS packages
RUN apt-get -qq update && apt-get -qq install --yes --no-install-recommends binutils >/dev/null
COPY images/prune.py /build/
RUN /opt/charon/bin/python /build/prune.py && /opt/charon/bin/python -m compileall -q --invalidation-mode unchecked-hash \
      "$(/opt/charon/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"


# The project's wheel, in a separate folder, so that a change of the source changes only a small layer.
FROM installed AS project
COPY pyproject.toml README.md LICENSE /build/charon/
COPY src /build/charon/src
COPY workflows /build/charon/workflows
COPY ansible /build/charon/ansible
RUN cd /build/charon && /opt/charon/bin/hatchling build -t wheel -d /build/wheel \
 && /tools/bin/pip --python /opt/charon/bin/python install --disable-pip-version-check --no-compile --no-deps --no-index \
      --no-warn-script-location --quiet --root /project /build/wheel/*.whl \
 && /opt/charon/bin/python -m compileall -q --invalidation-mode unchecked-hash /project/opt/charon/lib


FROM base
COPY --from=packages /opt/charon /opt/charon
COPY --from=project /project/opt/charon /opt/charon
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="Charon" \
      org.opencontainers.image.description="Live X-ray ptychography: vertices, charonctl and PvaPy's tools" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="BSD-3-Clause"
# The root file system may be read-only, except for /tmp (temporary files) and /data (results).
ENV HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONNOUSERSITE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /opt/charon
USER 10001:10001
# The exec form, without a shell, so that SIGTERM reaches the vertex.
ENTRYPOINT ["charon-vertex"]
CMD ["--help"]
