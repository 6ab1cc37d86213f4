#!/usr/bin/env bash
# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# endpoint.sh status DIR                                          print "running" or "stopped"
# endpoint.sh serve DIR NETNS BRIDGE ADDRESS/LENGTH PORT SERVER... one address on the lab's bridge for the API servers of its machines; does not end
# endpoint.sh kill DIR                                            end it
#
# DIR is the lab's folder. The address goes with the bridge.
set -euo pipefail
verb=$1 dir=$2

running() {
  local pid
  [ -e "$dir/endpoint.pid" ] && pid=$(<"$dir/endpoint.pid") && grep -qs "endpoint.py" "/proc/$pid/cmdline"
}

case $verb in
status)
  if running; then echo running; else echo stopped; fi
  ;;
serve)
  netns=$3 bridge=$4 address=$5
  shift 5
  ip -n "$netns" address replace "$address" dev "$bridge"
  echo $$ >"$dir/endpoint.pid"
  exec nsenter --net="/run/netns/$netns" python3 "$(dirname "$0")/endpoint.py" "${address%/*}" "$@" </dev/null >>"$dir/endpoint.log" 2>&1
  ;;
kill)
  if running; then kill -KILL "$(<"$dir/endpoint.pid")"; fi
  rm -f "$dir/endpoint.pid"
  ;;
*)
  echo "endpoint.sh: unknown verb $verb" >&2
  exit 2
  ;;
esac
