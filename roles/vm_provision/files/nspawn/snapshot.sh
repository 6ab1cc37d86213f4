#!/usr/bin/env bash
# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# snapshot.sh save MACHINE COPY      remember what is on the disks of a machine that does not run
# snapshot.sh restore MACHINE COPY   make them again what they were
#
# What the machine has unchanged from its bundle's containerd store is shared by hard links. Nothing is ever written in place:
# rsync writes a new file and renames it, so a shared file stays whole.
set -euo pipefail
verb=$1 machine=$2 copy=$3
keep=(--archive --hard-links --acls --xattrs --delete)

mirror() {
  local from=$1 to=$2
  rsync "${keep[@]}" --exclude=/data/containerd "$from"/{bundle,data,settings,upper} "$to/"
  rsync "${keep[@]}" --link-dest="$(realpath "$machine/bundle/store")" "$from/data/containerd/" "$to/data/containerd/"
}

case $verb in
save)
  rm -rf "$copy.partial"
  mkdir -p "$copy.partial"
  mirror "$machine" "$copy.partial"
  mv "$copy.partial" "$copy"
  ;;
restore)
  mirror "$copy" "$machine"
  ;;
*)
  echo "snapshot.sh: unknown verb $verb" >&2
  exit 2
  ;;
esac
