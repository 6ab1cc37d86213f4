# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which links of a node Cilium should have as its devices: those it would choose by itself, but for Flannel's. Pure.

What it chooses is in its pkg/datapath/linux/devices_controller.go, ``isSelectedDevice`` (1.17.6 and 1.18.4): ``flannel.1`` is among it, ``cni0`` is not.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

LEFT_OUT = ("cilium_", "lo", "lxc", "cni", "docker", "flannel")
"""How the names of links begin that lead to the node's own pods or by a tunnel to others' (pkg/defaults/node.go, ``ExcludedDevicePrefixes``, and Flannel's)."""

LEFT_OUT_KINDS = ("bridge", "openvswitch", "ipoib")

KERNEL_FOR_LINKS_WITHOUT_MAC = (5, 8)

_DEVICE = re.compile(r"\bdev (\S+)")


def devices(text: str, routes: Sequence[str], kernel: str) -> list[str]:
    """The names of these links, in the order of ``text``, the output of ``ip -details -json address show``.

    ``routes`` are lines of ``ip route show``, ``kernel`` is the kernel's release. Raises :class:`ValueError` when the text is not that output.
    """
    with_default = {match[1] for match in map(_DEVICE.search, (line for line in routes if line.startswith("default"))) if match}
    version = re.match(r"(\d+)\.(\d+)", kernel)
    without_mac = version is not None and (int(version[1]), int(version[2])) >= KERNEL_FOR_LINKS_WITHOUT_MAC
    return [
        entry["ifname"]
        for entry in json.loads(text or "[]")
        if entry and _is_chosen(entry, entry["ifname"] in with_default) and (without_mac or "address" in entry)
    ]


def _is_chosen(entry: Mapping[str, Any], has_default_route: bool) -> bool:
    flags = entry.get("flags", [])
    kind = entry.get("linkinfo", {}).get("info_kind", "")
    return (
        "UP" in flags
        and "SLAVE" not in flags
        and "master" not in entry
        and not entry["ifname"].startswith(LEFT_OUT)
        and kind not in LEFT_OUT_KINDS
        and (kind != "veth" or has_default_route)
        # The kernel has a route to each address of its own, so that this stands for a route to what is no single link's.
        and any(_is_global(address["local"]) for address in entry.get("addr_info", []) if "local" in address)
    )


def _is_global(text: str) -> bool:
    """Whether the address means something beyond its link."""
    address = ipaddress.ip_address(text)
    return not (address.is_link_local or address.is_loopback or address.is_multicast or address.is_unspecified)
