# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node's own files and commands say of its network, as plain data.

Pure parsers; :mod:`cni_node_info` reads the sources and preflight and the evidence use the result.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

CNI_CONFIG_SUFFIXES = (".conf", ".conflist", ".json")
"""What libcni takes for a configuration (containernetworking/cni, libcni/conf.go, ``ConfFiles``)."""

_DEVICE = re.compile(r"\bdev (\S+)")
_NETWORKD_KEY = re.compile(r"^\s*ManageForeignRoutingPolicyRules\s*=\s*(\S+)\s*$", re.MULTILINE | re.IGNORECASE)


def parse_links(text: str) -> list[dict[str, Any]]:
    """The links in the output of ``ip -details -json address show``.

    Each is ``{name, kind, mtu, addresses}``; ``kind`` is the kernel's link kind or an empty string for a plain device,
    ``addresses`` are ``address/prefix`` strings. A VXLAN also has ``vni`` and ``port``.
    Raises :class:`ValueError` when the text is not that output.
    """
    entries = json.loads(text or "[]")
    if not isinstance(entries, list):
        raise ValueError("the output of ip is not a JSON list")
    return [_link(entry) for entry in entries if entry]


def _link(entry: Mapping[str, Any]) -> dict[str, Any]:
    info = entry.get("linkinfo", {})
    link = {
        "name": entry["ifname"],
        "kind": info.get("info_kind", ""),
        "mtu": entry["mtu"],
        "addresses": [f"{address['local']}/{address['prefixlen']}" for address in entry.get("addr_info", []) if "local" in address],
    }
    if link["kind"] == "vxlan":
        data = info.get("info_data", {})
        link.update(vni=data.get("id"), port=data.get("port"))
    return link


def parse_udp_ports(*tables: str) -> list[int]:
    """The local ports bound in ``/proc/net/udp`` and ``/proc/net/udp6``: sockets of processes and of the kernel's tunnels.

    A line is ``sl local_address rem_address st ...`` with ``local_address`` as hexadecimal ``address:port``
    (Linux, Documentation/networking/proc_net_tcp.rst; udp has the same columns).
    """
    ports = set()
    for table in tables:
        for line in table.splitlines()[1:]:
            fields = line.split()
            if len(fields) > 1 and ":" in fields[1]:
                ports.add(int(fields[1].rsplit(":", 1)[1], 16))
    return sorted(ports)


def active_cni_file(names: Iterable[str]) -> str:
    """The configuration the runtime uses: the first by name, or an empty string when there is none."""
    return min((name for name in names if name.endswith(CNI_CONFIG_SUFFIXES)), default="")


def routes_by_device(lines: Iterable[str]) -> dict[str, int]:
    """How many routes lead out of each device, from the lines of ``ip route show``."""
    return dict(Counter(match[1] for match in map(_DEVICE.search, lines) if match))


def networkd_keeps_foreign_rules(configs: Iterable[str]) -> bool:
    """Whether these networkd.conf texts, in the order systemd reads them, stop networkd from deleting others' policy rules.

    systemd's default is to delete them (networkd.conf(5), ``ManageForeignRoutingPolicyRules=``, yes unless set).
    """
    values = [value for text in configs for value in _NETWORKD_KEY.findall(text)]
    return bool(values) and values[-1].lower() in ("no", "false", "off", "0")
