# Sourced by build.sh and import.sh: the builder, and the names of the image.
# shellcheck shell=bash disable=SC2034 # used by the scripts that source this file

IMAGE=${IMAGE:-charon}
VARIANT=${VARIANT:-cpu}
if [[ $VARIANT != cpu && $VARIANT != cuda ]]; then
  echo "error: VARIANT=$VARIANT is neither cpu nor cuda" >&2
  exit 2
fi

builder=${BUILDER:-}
if [[ -z $builder ]]; then
  if docker info >/dev/null 2>&1; then
    builder=docker
  elif command -v buildah >/dev/null; then
    builder=buildah
  else
    echo "error: neither docker (with a running daemon) nor buildah is installed; install one of them" >&2
    exit 1
  fi
elif [[ $builder != docker && $builder != buildah ]]; then
  echo "error: BUILDER=$builder is neither docker nor buildah" >&2
  exit 2
elif ! command -v "$builder" >/dev/null; then
  echo "error: $builder is not installed" >&2
  exit 1
fi

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' src/charon/__init__.py)
suffix=
[[ $VARIANT == cpu ]] || suffix=-$VARIANT
name=$IMAGE
# Expand a short name as docker and Kubernetes do; buildah would expand it to localhost/.
[[ $name == */* ]] || name=docker.io/library/$name
tags=("$name:latest$suffix" "$name:$version$suffix")
