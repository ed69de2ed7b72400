#!/usr/bin/env bash
# Make released volumes of the inter-step buffers available again; needs only kubectl.
# Run it after the inter-step buffer service was deleted: ./workflows/aps/reclaim-pv.sh [STORAGE-CLASS]
set -euo pipefail

class=${1:-charon-local}
if [[ $class == -* ]]; then
  echo "usage: $0 [STORAGE-CLASS]   (charon-local by default)" >&2
  exit 2
fi

if [[ -z ${KUBECONFIG:-} && ! -e ${HOME:-}/.kube/config ]]; then
  if [[ ! -r /etc/rancher/k3s/k3s.yaml ]]; then
    echo "error: no kubeconfig at ~/.kube/config or /etc/rancher/k3s/k3s.yaml; set KUBECONFIG to the path of another" >&2
    exit 2
  fi
  export KUBECONFIG=/etc/rancher/k3s/k3s.yaml
fi
if command -v kubectl >/dev/null; then
  kubectl=(kubectl)
elif command -v k3s >/dev/null; then
  kubectl=(k3s kubectl)
else
  echo "error: neither kubectl nor k3s is on the PATH; install kubectl" >&2
  exit 2
fi

columns='{range .items[?(@.spec.storageClassName=="'$class'")]}'
columns+='{.metadata.name} {.status.phase} {.spec.claimRef.namespace}/{.spec.claimRef.name} '
columns+='{.spec.hostPath.path}{.spec.local.path}{"\n"}{end}'

list() {
  "${kubectl[@]}" get persistentvolumes --request-timeout=10s -o jsonpath="$columns"
}

show() {
  echo "$1:"
  while read -r name phase claim _; do
    [[ -z $name ]] || printf '  %-20s %-10s %s\n' "$name" "$phase" "${claim#/}"
  done <<<"$2"
}

before=$(list)
if [[ -z $before ]]; then
  echo "error: no volume has the storage class $class; check its name or apply numaflow-storage-class.yaml" >&2
  exit 2
fi
show before "$before"

released=$(awk '$2 == "Released" {print $1}' <<<"$before")
if [[ -z $released ]]; then
  echo "no released volume: nothing to do" >&2
  exit 0
fi
for name in $released; do
  "${kubectl[@]}" patch persistentvolume "$name" --type=json -p '[{"op": "remove", "path": "/spec/claimRef"}]' >&2
done

for _ in $(seq 60); do
  after=$(list)
  awk '$2 == "Released" {found = 1} END {exit !found}' <<<"$after" || break
  sleep 0.5
done
show after "$after"

folders=$(awk '$2 == "Released" && $4 {print $4}' <<<"$before" | paste -sd' ')
if [[ -n $folders ]]; then
  echo "The files of the former inter-step buffer still exist, and a new one restores its streams from them." >&2
  echo "To start with empty streams, empty these folders on their nodes first: $folders" >&2
fi
