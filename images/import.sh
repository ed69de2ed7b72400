#!/usr/bin/env bash
# Import the built image into containerd of K3s or of another Kubernetes. IMAGE, VARIANT and BUILDER are as in build.sh.
#
# CTR       command of containerd's client (default: `k3s ctr` or `ctr`)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source images/names.sh

if [[ -n ${CTR:-} ]]; then
  read -ra ctr <<<"$CTR"
elif command -v k3s >/dev/null; then
  ctr=(k3s ctr)
elif command -v ctr >/dev/null; then
  ctr=(ctr)
else
  echo "error: neither k3s nor ctr is on the PATH; run this on the node that runs the pods" >&2
  exit 1
fi
ctr+=(--namespace k8s.io images)

if [[ $builder == docker ]]; then
  docker save "${tags[@]}" | "${ctr[@]}" import -
else
  # buildah cannot write an archive to a pipe.
  archive=$(mktemp "${TMPDIR:-/var/tmp}/charon-image.XXXXXX")
  trap 'rm -f "$archive"' EXIT
  rm -f "$archive"
  buildah push --quiet "${tags[0]}" "docker-archive:$archive:${tags[0]}"
  "${ctr[@]}" import - <"$archive"
  for tag in "${tags[@]:1}"; do "${ctr[@]}" tag --force "${tags[0]}" "$tag"; done
fi
