#!/usr/bin/env bash
# Builds the container image with docker or buildah. Names and tags are made here and nowhere else.
#
# IMAGE     name without tag (charon)
# VARIANT   cpu or cuda (cpu)
# BASE      image to begin from, instead of the variant's own
# BUILDER   docker or buildah, instead of the first that works
# SOURCE    address of the sources, for the image's label
# PIP_CONF  a pip.conf, CERTIFICATES a bundle of certificates: used while building, not kept; pip.conf may name the
#           latter as /run/secrets/certificates.pem
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
  # Build arguments with these names are known to docker and not kept in the image; buildah passes them on by itself.
  for name in HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy; do
    [[ -z ${!name:-} ]] || arguments+=(--build-arg "$name")
  done
  DOCKER_BUILDKIT=1 docker build --network host "${arguments[@]}" .
else
  buildah build --layers --network host "${arguments[@]}" .
fi
echo "built ${tags[*]}"
