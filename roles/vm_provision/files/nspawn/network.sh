#!/usr/bin/env bash
# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# network.sh up NETNS BRIDGE LINK ADDRESS   the lab's bridge in a namespace of its own, and LINK with ADDRESS (with its
#                                           prefix length) that joins the host to it; prints "changed" when it made something
# network.sh down NETNS LINK                take both away again
#
# The host's firewall never sees what the machines send each other, and the lab never sees the host's.
set -euo pipefail

up() {
  local netns=$1 bridge=$2 link=$3 address=$4 changed=
  if [ ! -e "/run/netns/$netns" ]; then
    ip netns add "$netns"
    ip -n "$netns" link set lo up
    changed=yes
  fi
  if ! ip -n "$netns" link show "$bridge" >/dev/null 2>&1; then
    ip -n "$netns" link add "$bridge" type bridge
    ip -n "$netns" link set "$bridge" up
    changed=yes
  fi
  if ! ip link show "$link" >/dev/null 2>&1; then
    ip link add "$link" type veth peer name uplink netns "$netns"
    changed=yes
  fi
  # A run that was cut short may have left these undone, so they are said every time: they change nothing twice.
  ip -n "$netns" link set uplink master "$bridge" up
  ip address replace "$address" dev "$link"
  ip link set "$link" up
  [ -z "$changed" ] || echo changed
}

down() {
  local netns=$1 link=$2
  if ip link show "$link" >/dev/null 2>&1; then
    ip link del "$link"
    echo changed
  fi
  if [ -e "/run/netns/$netns" ]; then
    ip netns del "$netns"
    echo changed
  fi
}

verb=$1
shift
"$verb" "$@"
