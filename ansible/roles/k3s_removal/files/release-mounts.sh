#!/bin/sh
# Ends what K3s left running, and takes away its mounts, network devices and rules. Says what it did; silent if nothing.
set -u

# Containers outlive K3s, each below a shim of its containerd.
for pid in $(pgrep -f '^/var/lib/rancher/k3s/data/[^/]*/bin/containerd-shim' || true); do
  for child in $(pgrep -P "$pid" || true) "$pid"; do
    kill -9 "$child" 2>/dev/null && echo "ended process $child"
  done
done

# The deepest mounts first.
mounted() {
  awk '$2 ~ "^/(run/k3s|var/lib/rancher/k3s|var/lib/kubelet|run/netns/cni-)" {print $2}' /proc/self/mounts | sort -r
}
mounted | while read -r place; do
  # The kernel writes a blank in a path as \040.
  place=$(printf '%b' "$(printf '%s' "$place" | sed 's/\\\([0-7][0-7][0-7]\)/\\0\1/g')")
  { umount -f "$place" 2>/dev/null || umount -l "$place"; } && printf 'unmounted %s\n' "$place"
done
# What is deleted next would be deleted on the other side of a mount too: a file server's, say.
if [ -n "$(mounted)" ]; then
  printf 'still mounted, so nothing is deleted: %s\n' "$(mounted | tr '\n' ' ')" >&2
  exit 1
fi

for device in cni0 flannel.1 flannel-v6.1 kube-ipvs0 flannel-wg flannel-wg-v6; do
  ip link show "$device" >/dev/null 2>&1 && ip link delete "$device" && echo "deleted network device $device"
done

for tool in iptables ip6tables; do
  command -v "$tool-save" >/dev/null || continue
  if "$tool-save" 2>/dev/null | grep -qE 'KUBE-|CNI-|flannel'; then
    "$tool-save" | grep -vE 'KUBE-|CNI-|flannel' | "$tool-restore" && echo "took away rules of $tool"
  fi
done
exit 0
