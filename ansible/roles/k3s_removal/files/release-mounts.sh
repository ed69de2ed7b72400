#!/bin/sh
# Kills the containers of K3s and removes its mounts, network devices and firewall rules. Prints each change.
set -u

# Containers continue to run after K3s stops, as children of its containerd shims.
for pid in $(pgrep -f '^/var/lib/rancher/k3s/data/[^/]*/bin/containerd-shim' || true); do
  for child in $(pgrep -P "$pid" || true) "$pid"; do
    kill -9 "$child" 2>/dev/null && echo "killed process $child"
  done
done

# Deepest mounts first.
mounted() {
  awk '$2 ~ "^/(run/k3s|var/lib/rancher/k3s|var/lib/kubelet|run/netns/cni-)" {print $2}' /proc/self/mounts | sort -r
}
mounted | while read -r mount; do
  # The kernel writes a space in a path as \040.
  mount=$(printf '%b' "$(printf '%s' "$mount" | sed 's/\\\([0-7][0-7][0-7]\)/\\0\1/g')")
  { umount -f "$mount" 2>/dev/null || umount -l "$mount"; } && printf 'unmounted %s\n' "$mount"
done
# Later tasks delete these folders, which would delete files on a mounted file server too.
if [ -n "$(mounted)" ]; then
  printf 'still mounted, nothing deleted: %s\n' "$(mounted | tr '\n' ' ')" >&2
  exit 1
fi

for device in cni0 flannel.1 flannel-v6.1 kube-ipvs0 flannel-wg flannel-wg-v6; do
  ip link show "$device" >/dev/null 2>&1 && ip link delete "$device" && echo "deleted network device $device"
done

for tool in iptables ip6tables; do
  command -v "$tool-save" >/dev/null || continue
  if "$tool-save" 2>/dev/null | grep -qE 'KUBE-|CNI-|flannel'; then
    "$tool-save" | grep -vE 'KUBE-|CNI-|flannel' | "$tool-restore" && echo "removed rules of $tool"
  fi
done
exit 0
