#!/usr/bin/env bash
# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# seed_store.sh ROOTFS ARCHIVE STORE: fill STORE as the node's own containerd would fill /var/lib/containerd.
#
# It runs the containerd of ROOTFS once, imports ARCHIVE and leaves the store on disk: machines made from it have
# every image already unpacked. Own mount and process namespaces: what it mounts and starts ends with it.
set -euo pipefail
rootfs=$1 archive=$2 store=$3

if [ "${SEED_INSIDE:-}" != yes ]; then
  rm -rf "$store.partial" && mkdir -p "$store.partial"
  SEED_INSIDE=yes unshare --mount --propagation private --pid --fork --kill-child "$0" "$rootfs" "$archive" "$store.partial"
  mv "$store.partial" "$store"
  exit
fi

# A scratch layer over the root file system: the import leaves no trace in it.
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o "lowerdir=$rootfs,upperdir=/mnt/upper,workdir=/mnt/work" /mnt/root
cd /mnt/root
mkdir -p proc dev run var/lib/containerd import
mount -t proc proc proc
mount --bind /dev dev
mount --bind "$store" var/lib/containerd
mount --bind "$(dirname "$archive")" import
printf 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n' >run/seed.toml

chroot . containerd --config /run/seed.toml >/dev/null 2>run/containerd.log &
daemon=$!
for _ in $(seq 100); do
  [ -S run/containerd/containerd.sock ] && break
  sleep 0.1
done
chroot . ctr -n k8s.io images import "/import/$(basename "$archive")" || { cat run/containerd.log >&2; exit 1; }
kill "$daemon"
wait "$daemon" || true
