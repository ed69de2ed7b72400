#!/bin/sh
# Prepare the base image; runs during the build. The CUDA images have no Python, but configure the package source of
# TensorRT.
set -eu

if [ "$VARIANT" = cuda ]; then
  apt-get update
  # shellcheck disable=SC2086 # several packages
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3 python3-venv $TENSORRT_PACKAGES
  rm -rf /var/lib/apt/lists/*
elif [ "$VARIANT" != cpu ]; then
  echo "error: VARIANT=$VARIANT is neither cpu nor cuda" >&2
  exit 2
fi

# Some libraries look up the name of the user; Kubernetes requires a number.
echo 'charon:x:10001:' >>/etc/group
echo 'charon:x:10001:10001:charon:/tmp:/usr/sbin/nologin' >>/etc/passwd
install -d -o 10001 -g 10001 -m 0770 /data
