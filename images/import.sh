#!/usr/bin/env bash
# Hands the built image to containerd: K3s's own, or that of Kubernetes. IMAGE, VARIANT, BUILDER as in build.sh.
#
# CTR       command that speaks to containerd, instead of `k3s ctr` or `ctr`
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
  echo "error: neither k3s nor ctr is here; run this on the node that shall run the image" >&2
  exit 1
fi
ctr+=(--namespace k8s.io images)

if [[ $builder == docker ]]; then
  docker save "${tags[@]}" | "${ctr[@]}" import -
else
  # containerd reads the archive from its beginning to its end, buildah needs a file to write it.
  archive=$(mktemp "${TMPDIR:-/var/tmp}/charon-image.XXXXXX")
  trap 'rm -f "$archive"' EXIT
  rm -f "$archive"
  buildah push --quiet "${tags[0]}" "docker-archive:$archive:${tags[0]}"
  "${ctr[@]}" import - <"$archive"
  for tag in "${tags[@]:1}"; do "${ctr[@]}" tag --force "${tags[0]}" "$tag"; done
fi
