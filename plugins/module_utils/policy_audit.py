# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Cilium's agents would have dropped while they only audited, put together as flows between workloads. Pure.

An agent tells of each new connection that a policy forbids, by ``cilium-dbg monitor`` (cilium, ``pkg/monitor/datapath_policy.go``; the
format of a verdict is the same with ``--json``). Of a connection that was there before, it tells nothing while it audits
(``bpf/bpf_lxc.c``), though it drops its packets when it enforces: those are looked for by :mod:`policy_connections`.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import eviction, migration_status

Object = Mapping[str, Any]

_VERDICT = "Policy verdict log: "
_FORM = re.compile(
    r"flow \S+ local EP ID (?P<endpoint>\d+), remote ID (?P<remote>[^,]+), proto (?P<protocol>\d+), (?P<direction>ingress|egress), "
    r"action (?P<action>\w+), auth: [^,]*, match [^,]*, (?P<packet>.*)$"
)
_PACKET = re.compile(r"(?P<source>\S+) -> (?P<destination>\S+)")
_LOST = re.compile(r"CPU \d+: Lost (\d+) events")

PROTOCOLS = {"1": "icmp", "6": "tcp", "17": "udp", "58": "icmpv6", "132": "sctp"}
WITH_PORTS = {"tcp", "udp", "sctp"}


@dataclass(frozen=True)
class Denial:
    """What a policy forbids, as an agent sees it: the side whose policy it is (``ingress`` or ``egress``), the protocol, the addresses and the port
    of the destination, 0 where there is none, and what the agent knows of the other side: the name or number of its identity.

    Addresses are empty where the agent could not read the packet.
    """

    direction: str
    protocol: str
    source: str
    destination: str
    port: int
    remote: str

    @property
    def far(self) -> str:
        """The address of the other side."""
        return self.source if self.direction == "ingress" else self.destination


def monitor_command(seconds: int) -> tuple[str, ...]:
    """The command that writes an agent's verdicts for ``seconds``. It fails where they end before, for then some are missing."""
    return ("sh", "-c", f"timeout {seconds} cilium-dbg monitor --type policy-verdict; test $? -eq 124")


def heard(answer: str) -> tuple[list[Denial], int]:
    """The connections in the ``answer`` to :func:`monitor_command` that were let through by the audit alone, and how many events were lost.

    There may have been verdicts among those. Raises :class:`ValueError` for a verdict in another form.
    """
    denials = []
    for line in answer.splitlines():
        _before, mark, rest = line.partition(_VERDICT)
        if not mark:
            continue
        verdict = _FORM.match(rest)
        if verdict is None:
            raise ValueError(f"a verdict is in an unknown form: {line[:200]}")
        if verdict["action"] == "audit":
            denials.append(_denial(verdict))
    return denials, sum(int(number) for number in _LOST.findall(answer))


def _denial(verdict: re.Match[str]) -> Denial:
    protocol = PROTOCOLS.get(verdict["protocol"], verdict["protocol"])
    packet = _PACKET.match(verdict["packet"])
    source, destination, port = "", "", 0
    if packet is not None:
        source, destination = packet["source"], packet["destination"]
        if protocol in WITH_PORTS and (source.startswith("[") or source.count(":") == 1):  # a later fragment has no ports
            source, _port = split_port(source)
            destination, port = split_port(destination)
    return Denial(verdict["direction"], protocol, source, destination, port, verdict["remote"])


def split_port(text: str) -> tuple[str, int]:
    """Address and port of ``10.0.0.1:80``, ``fd00::1:80`` or ``[fd00::1]:80``."""
    address, _separator, port = text.rpartition(":")
    return address.strip("[]"), int(port)


def names_by_address(pods: Iterable[Object], nodes: Iterable[Object]) -> dict[str, str]:
    """What is known of addresses: ``namespace/workload`` of a pod, ``node NAME`` of a node."""
    names = {}
    for node in nodes:
        for address in node.get("status", {}).get("addresses", []):
            names[address["address"]] = f"node {migration_status.name_of(node)}"
    for pod in pods:
        address = eviction.own_address(pod)
        if address:
            names[address] = workload(pod)
    return names


def workload(pod: Object) -> str:
    """``namespace/name`` of what the pod is one of: its Deployment or other controller, or itself."""
    metadata = pod["metadata"]
    owner = eviction.controller(pod)
    name = owner["name"] if owner else metadata["name"]
    template = (metadata.get("labels") or {}).get("pod-template-hash")
    if owner and owner["kind"] == "ReplicaSet" and template:
        name = name.removesuffix(f"-{template}")
    return f"{metadata['namespace']}/{name}"


def flows(new: Mapping[str, Iterable[Denial]], used: Mapping[str, Iterable[Denial]], names: Mapping[str, str], pod_cidr: str) -> list[dict[str, Any]]:
    """The denials by node as flows between workloads, the most frequent first.

    ``new`` are connections that were opened, ``used`` those that were open and carried packets. A flow is ``{source, destination, protocol, port,
    direction, new, used, nodes, text}``; ``text`` says all of it for people.
    """
    network = ipaddress.ip_network(pod_cidr)
    counts: dict[str, Counter[tuple[str, str, str, int, str]]] = {"new": Counter(), "used": Counter()}
    seen: dict[tuple[str, str, str, int, str], set[str]] = {}
    for what, by_node in (("new", new), ("used", used)):
        for node, found in by_node.items():
            for each in found:
                source, destination = (_named(each, address, names, network) for address in (each.source, each.destination))
                key = (source, destination, each.protocol, each.port, each.direction)
                counts[what][key] += 1
                seen.setdefault(key, set()).add(node)
    ordered = sorted(seen, key=lambda key: (-counts["new"][key] - counts["used"][key], key))
    return [_flow(key, counts["new"][key], counts["used"][key], sorted(seen[key])) for key in ordered]


def _named(denial: Denial, address: str, names: Mapping[str, str], network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> str:
    if not address:
        return "unknown"
    if address in names:
        return names[address]
    if address == denial.far and not denial.remote.isdigit():
        return f"{address} ({denial.remote})"
    return f"{address} (a pod that is gone)" if ipaddress.ip_address(address) in network else address


def _flow(key: tuple[str, str, str, int, str], new: int, used: int, nodes: list[str]) -> dict[str, Any]:
    source, destination, protocol, port, direction = key
    whose = destination if direction == "ingress" else source
    counted = " and ".join(text for number, text in ((new, f"{new} new"), (used, f"{used} open")) if number)
    target = f"{destination} {port}/{protocol}" if port else f"{destination} {protocol}"
    return {
        "source": source,
        "destination": destination,
        "protocol": protocol,
        "port": port,
        "direction": direction,
        "new": new,
        "used": used,
        "nodes": nodes,
        "text": f"{source} -> {target}: {counted}, by the {direction} policies of {whose}, on {', '.join(nodes)}",
    }
