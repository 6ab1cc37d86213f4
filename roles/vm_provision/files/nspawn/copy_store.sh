#!/usr/bin/env bash
# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# copy_store.sh STORE COPY: a copy of a containerd store that shares all but the databases by hard links.
set -euo pipefail
store=$1 copy=$2
rm -rf "$copy.partial"
cp --archive --link "$store" "$copy.partial"
while read -r database; do
  cp --archive --remove-destination "$store/$database" "$copy.partial/$database"
done < <(cd "$store" && find . -maxdepth 2 -name '*.db' -type f)
mv "$copy.partial" "$copy"
