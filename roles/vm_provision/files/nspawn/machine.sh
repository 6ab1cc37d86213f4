#!/usr/bin/env bash
# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# machine.sh supervise DIR   boot the machine in DIR and boot it again whenever it reboots; ends when it powers off
# machine.sh kill DIR        end it as a power cut would, with everything it left behind
# machine.sh status DIR      print "running" or "stopped"
#
# DIR holds `settings` (NAME, NETNS, BRIDGE, PORT, INTERFACE, ROOTFS), `upper` (what differs from ROOTFS) and `data`, the
# folders of /var/lib that cannot lie on an overlay because overlays are stacked on them.
# The supervisor has a mount namespace of its own, so the host never sees a mount of the lab.
set -euo pipefail
verb=$1 dir=$2

# A supervisor that was killed, or went with its host, leaves its number behind.
running() {
  local pid
  [ -e "$dir/supervisor.pid" ] && pid=$(<"$dir/supervisor.pid") && grep -qs "machine.sh" "/proc/$pid/cmdline"
}

if [ "$verb" = status ]; then
  if running; then echo running; else echo stopped; fi
  exit
fi
INTERFACE=eth1 # where a lab was made before it could be named
# shellcheck source=/dev/null
. "$dir/settings"

# One cgroup a machine in every hierarchy there is, so that its cgroup namespace is private.
# v1: below the root of each controller. v2: below the cgroup this supervisor was started in (a delegated unit
# where systemd is PID 1).
cgroups() {
  if [ -e "$dir/cgroups" ]; then cat "$dir/cgroups"; return; fi
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    echo "/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/$NAME" | sed 's#//*#/#g'
  else
    for hierarchy in /sys/fs/cgroup/*/; do
      if mountpoint -q "$hierarchy"; then echo "${hierarchy}cni-lab-$NAME"; fi
    done
  fi
}

# v2 lets a cgroup either hold processes or hand controllers on, so the supervisor steps aside first.
delegate() {
  [ -e /sys/fs/cgroup/cgroup.controllers ] || return 0
  local parent controllers controller
  parent=$(dirname "$(cgroups)")
  mkdir -p "$parent/$NAME-supervisor"
  echo $$ >"$parent/$NAME-supervisor/cgroup.procs"
  read -ra controllers <"$parent/cgroup.controllers"
  for controller in "${controllers[@]}"; do
    echo "+$controller" >"$parent/cgroup.subtree_control" || true
  done
}

# Cgroups of the last boot must be gone before the next: the kubelet would spend seconds on each.
clear_cgroups() {
  local group
  while read -r group; do
    [ -d "$group" ] || continue
    for _ in $(seq 50); do
      xargs --no-run-if-empty kill -KILL < <(find "$group" -name cgroup.procs -exec cat {} + 2>/dev/null) 2>/dev/null || true
      find "$group" -depth -type d -exec rmdir {} + 2>/dev/null && break
      sleep 0.1
    done
  done < <(cgroups)
}

enter_cgroups() {
  local group
  while read -r group; do
    mkdir -p "$group"
    if [ -e "$group/cpuset.cpus" ] && [ -e "$group/cgroup.clone_children" ]; then
      cat "$group/../cpuset.cpus" >"$group/cpuset.cpus"
      cat "$group/../cpuset.mems" >"$group/cpuset.mems"
      echo 1 >"$group/cgroup.clone_children"
    fi
    # What else runs here, the controller above all, would run elsewhere beside real machines: it takes what they leave.
    if [ -e "$group/cpu.shares" ]; then echo 8192 >"$group/cpu.shares"; fi
    if [ -e "$group/cpu.weight" ]; then echo 800 >"$group/cpu.weight"; fi
    echo "$BASHPID" >"$group/cgroup.procs"
  done < <(cgroups)
}

# eth0 leads nowhere, as VirtualBox's NAT does without a network; the other is a port of the cluster's bridge.
plug_in() {
  for _ in $(seq 100); do
    if nsenter --net="/run/netns/$NETNS" ip link show "${PORT}e1" >/dev/null 2>&1; then break; fi
    sleep 0.05
  done
  nsenter --net="/run/netns/$NETNS" ip link set "${PORT}e1" master "$BRIDGE" up
  nsenter --net="/run/netns/$NETNS" ip link set "${PORT}e0" up
}

# The kernel takes its time over the namespace of a machine that was killed, and its links keep their names until then.
unplug() {
  local link
  for link in "${PORT}e0" "${PORT}e1"; do
    nsenter --net="/run/netns/$NETNS" ip link del "$link" 2>/dev/null || true
  done
}

boot() {
  enter_cgroups
  local bind=(--bind=/dev/kmsg) folder
  for folder in containerd kubelet etcd; do bind+=("--bind=$dir/data/$folder:/var/lib/$folder"); done
  export SYSTEMD_SECCOMP=0 SYSTEMD_NSPAWN_API_VFS_WRITABLE=network
  exec nsenter --net="/run/netns/$NETNS" systemd-nspawn --register=no --keep-unit --quiet --boot \
    --directory="$dir/root" --machine="$NAME" --capability=all --private-network \
    --network-veth-extra="${PORT}e0:eth0" --network-veth-extra="${PORT}e1:$INTERFACE" \
    --console=pipe --link-journal=no --resolv-conf=off --timezone=off "${bind[@]}"
}

case $verb in
supervise)
  if [ "${IN_OWN_MOUNTS:-}" != yes ]; then
    exec env IN_OWN_MOUNTS=yes unshare --mount --propagation private "$0" "$verb" "$dir" </dev/null >>"$dir/console.log" 2>&1
  fi
  # What a killed predecessor left would hold the file system and the names of the links.
  clear_cgroups
  rm -f "$dir/cgroups"
  echo $$ >"$dir/supervisor.pid"
  cgroups >"$dir/cgroups.new" && mv "$dir/cgroups.new" "$dir/cgroups"
  delegate
  mkdir -p "$dir/root" "$dir/work"
  mount -t overlay overlay -o "lowerdir=$ROOTFS,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
  while true; do
    clear_cgroups
    unplug
    boot &
    machine=$!
    plug_in
    code=0
    wait "$machine" || code=$?
    # 133 is systemd-nspawn's word for "it asked to be rebooted".
    [ "$code" -eq 133 ] || break
  done
  clear_cgroups
  rm -f "$dir/supervisor.pid"
  ;;
kill)
  if running; then kill -KILL "$(<"$dir/supervisor.pid")"; fi
  [ -e "$dir/cgroups" ] && clear_cgroups
  rm -f "$dir/supervisor.pid" "$dir/cgroups"
  ;;
*)
  echo "machine.sh: unknown verb $verb" >&2
  exit 2
  ;;
esac
