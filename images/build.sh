#!/usr/bin/env bash
# Build the container image with docker or buildah. images/names.sh defines its names and tags.
#
# IMAGE     name without tag (default: charon)
# VARIANT   cpu or cuda (default: cpu)
# BASE      base image (default: that of the variant)
# BUILDER   docker or buildah (default: the first that works)
# SOURCE    URL of the sources, for the image's label
# PIP_CONF, CERTIFICATES  a pip.conf and a bundle of certificates for the build, which are not kept in the image;
#           pip.conf may refer to the bundle as /run/secrets/certificates.pem
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source images/names.sh

case $VARIANT in
  cpu) base=docker.io/library/python:3.11-slim-bookworm ;;
  cuda) base=docker.io/nvidia/cuda:13.0.2-cudnn-runtime-ubuntu24.04 ;;
esac

arguments=(
  --file Dockerfile
  --build-arg "BASE=${BASE:-$base}"
  --build-arg "VARIANT=$VARIANT"
  --build-arg "VERSION=$version"
  --build-arg "REVISION=${REVISION:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}"
  --build-arg "SOURCE=${SOURCE:-unknown}"
)
for tag in "${tags[@]}"; do arguments+=(--tag "$tag"); done
[[ -z ${PIP_CONF:-} ]] || arguments+=(--secret "id=pip.conf,src=$PIP_CONF")
[[ -z ${CERTIFICATES:-} ]] || arguments+=(--secret "id=certificates,src=$CERTIFICATES")

if [[ $builder == docker ]]; then
  # Docker predefines these build arguments and does not keep them in the image; buildah passes them by default.
  for name in HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy; do
    [[ -z ${!name:-} ]] || arguments+=(--build-arg "$name")
  done
  DOCKER_BUILDKIT=1 docker build --network host "${arguments[@]}" .
else
  buildah build --layers --network host "${arguments[@]}" .
fi
echo "built ${tags[*]}"
