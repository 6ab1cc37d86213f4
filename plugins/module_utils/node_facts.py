# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node's own files and commands say of its network, as plain data.

Pure parsers; :mod:`node_reader` reads the sources and preflight and the evidence use the result.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils.ruleset import Table

CNI_CONFIG_SUFFIXES = (".conf", ".conflist", ".json")
"""What libcni takes for a configuration (containernetworking/cni, libcni/conf.go, ``ConfFiles``)."""

_DEVICE = re.compile(r"\bdev (\S+)")
_USER = re.compile(r'users:\(\("([^"]*)",pid=(\d+)')
_TUNNELS = ("vxlan", "geneve")


def parse_links(text: str) -> list[dict[str, Any]]:
    """The links in the output of ``ip -details -json address show``.

    Each is ``{name, kind, mtu, addresses}``; ``kind`` is the kernel's link kind or an empty string for a plain device,
    ``addresses`` are ``address/prefix`` strings. A tunnel (VXLAN, Geneve) also has ``vni``, None when each packet has its own, and ``port``.
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
    if link["kind"] in _TUNNELS:
        data = info.get("info_data", {})
        link.update(vni=None if data.get("external") else data.get("id"), port=data.get("port"))
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
            if len(fields) > 3 and ":" in fields[1]:
                ports.add(int(fields[1].rsplit(":", 1)[1], 16))
    return sorted(ports)


def parse_listeners(text: str) -> list[dict[str, Any]]:
    """Who listens where, from the output of ``ss --no-header --listening --numeric --tcp --processes``: each port once, as ``{port, process}``.

    A line is ``LISTEN 0 4096 127.0.0.1:10248 0.0.0.0:* users:(("kubelet",pid=1024,fd=9))``, without the last column where no process has the socket.
    """
    found: dict[int, str] = {}
    for line in text.splitlines():
        port = line.split()[3].rpartition(":")[2]
        user = _USER.search(line)
        if port.isdecimal() and not found.get(int(port)):
            found[int(port)] = f"{user[1]} ({user[2]})" if user else ""
    return [{"port": port, "process": found[port]} for port in sorted(found)]


def active_cni_file(names: Iterable[str]) -> str:
    """The configuration the runtime uses: the first by name, or an empty string when there is none."""
    return min((name for name in names if name.endswith(CNI_CONFIG_SUFFIXES)), default="")


def routes_by_device(lines: Iterable[str]) -> dict[str, int]:
    """How many routes lead out of each device, from the lines of ``ip route show``."""
    return dict(Counter(match[1] for match in map(_DEVICE.search, lines) if match))


def routed_networks(lines: Iterable[str]) -> list[dict[str, str]]:
    """The networks that lines of ``ip route show`` lead to, each ``{network, device}``. The default route leads to none."""
    found = []
    for line in lines:
        device = _DEVICE.search(line)
        try:
            network = ipaddress.ip_network(line.split()[0])
        except (IndexError, ValueError):
            continue  # the default route, or one of a kind that has its name first, such as a blackhole
        if device:
            found.append({"network": str(network), "device": device[1]})
    return found


def rule_tables(tables: Iterable[Table]) -> dict[str, dict[str, int | None]]:
    """The iptables tables that hold rules, by backend, with their number, such as ``{"legacy": {"ipv4 filter": 1}, "nft": {}}``.

    None stands for a number that was not counted.
    """
    found: dict[str, dict[str, int | None]] = {"nft": {}, "legacy": {}}
    for table in tables:
        counts = list(table.chains.values())
        if not table.native and any(count is None or count > 0 for count in counts):
            total = None if None in counts else sum(count or 0 for count in counts)
            found[table.key.backend][f"{table.key.family} {table.key.name}"] = total
    return found
