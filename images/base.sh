#!/bin/sh
# Run once while an image is built: what its base lacks. CUDA's images bring no Python, and TensorRT lies in the
# package source that they name.
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

# Some libraries ask for the name of the user that runs them; Kubernetes wants a number.
echo 'charon:x:10001:' >>/etc/group
echo 'charon:x:10001:10001:charon:/tmp:/usr/sbin/nologin' >>/etc/passwd
install -d -o 10001 -g 10001 -m 0770 /data
