#!/bin/sh
# boot.sh BASE WORK: boots the system in BASE with systemd in new namespaces, with an overlay in WORK.
# Run by unshare, in new mount, process, network, host name, IPC and cgroup namespaces.
set -eu
base=$1 work=$2
mkdir "$work/upper" "$work/scratch" "$work/root"
mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=$base,upperdir=$work/upper,workdir=$work/scratch" "$work/root"
cd "$work/root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
for device in null zero full random urandom tty; do
  : >"dev/$device"
  mount --bind "/dev/$device" "dev/$device"
done
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mount -t cgroup2 cgroup2 sys/fs/cgroup
else
  mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
  mkdir sys/fs/cgroup/systemd
  mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
fi
# Kernel settings belong to the machine and are read-only here, except those of the node's own network.
mount --bind proc/sys/net tmp
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount --move tmp proc/sys/net
mount -t tmpfs tmpfs tmp
ip link set lo up
name=$(basename "$work")
echo "$name" >etc/hostname
echo "127.0.0.1 localhost $name" >etc/hosts
pivot_root . mnt
umount -l mnt
exec env -i container=charon PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=console --log-level=warning
