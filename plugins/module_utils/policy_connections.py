# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which open connections an agent of Cilium would drop if it enforced, and whether it audits yet. Pure.

An agent that audits says nothing of connections that were open before. Their records in the connection table tell who talks to whom, and that
packets pass: each packet puts ``expires`` off. What the datapath would decide is looked up as it does itself (cilium 1.17, ``bpf/lib/policy.h``),
in the dump of its policy maps.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils.policy_audit import Denial, split_port

CONFIGURATION = ("cilium-dbg", "config")
ENDPOINTS = ("cilium-dbg", "endpoint", "list", "-o", "json")
CONNECTIONS = ("cilium-dbg", "bpf", "ct", "list", "global")
POLICY_MAPS = ("cilium-dbg", "bpf", "policy", "get", "--all", "-n")
IDENTITIES = ("cilium-dbg", "bpf", "ipcache", "list", "-o", "json")

DIRECTIONS = {"ingress": ("ingress",), "egress": ("egress",), "both": ("ingress", "egress")}
READY = "ready"
LEAVING = {"disconnecting", "disconnected"}
RECONCILED = 2
"""How often a policy map was compared with the policies when it is right.

An agent of 1.17 that starts anew takes the maps over as they are, and compares them at once, but while the endpoint is not ready, which
does nothing, and then every ``bpf-policy-map-full-reconciliation-interval``, by default 15 minutes. A map from a time without enforcement
allows everything until then (``pkg/endpoint/bpf.go``; cilium/cilium 47012).
"""
PASSED_BY = ("Closing", "LBLoopback")
"""Marks of records that no policy is asked about any more, or ever."""
ANYONE = 0
"""The identity in a policy map that stands for every one."""
WORLD = 2

_RECORD = re.compile(
    r"TCP (?P<side>IN|OUT) (?P<source>\S+) -> (?P<destination>\S+) expires=(?P<expires>\d+) .*"
    r"Flags=\S+ \[ (?P<flags>[^]]*)\] .*SourceSecurityID=(?P<identity>\d+)"
)
_ROW = re.compile(r"(?P<policy>Allow|Deny)\s+(?P<direction>Ingress|Egress)\s+(?P<identity>\d+)\s+(?P<ports>\S+)\s.*\s(?P<prefix>\d+)\s*$")
_HEADING = "Endpoint ID: "
_IDENTITY = re.compile(r"identity=(\d+)")


@dataclass(frozen=True)
class Endpoint:
    """A pod's end of Cilium's network: its number on the node, how it is, and in which directions policies are only audited, or enforced.

    ``reconciled`` counts the runs of the controller that compares its policy map with the policies.
    """

    number: int
    state: str
    addresses: tuple[str, ...]
    audited: tuple[str, ...] = ()
    enforced: tuple[str, ...] = ()
    reconciled: int = 0


@dataclass(frozen=True)
class Entry:
    """What a policy map says of an identity, a protocol (``ANY`` is each) and a range of ports; the longest ``prefix`` that fits counts."""

    allows: bool
    direction: str
    identity: int
    protocol: str
    ports: range | None
    prefix: int

    def fits(self, direction: str, identity: int, port: int) -> bool:
        """Whether it is about a TCP connection to ``port``."""
        wanted = self.direction == direction and self.identity == identity and self.protocol in ("ANY", "TCP")
        return wanted and (self.ports is None or port in self.ports)


def obstacles(answer: str) -> list[str]:
    """What keeps an agent from auditing and from saying so, in an answer to :data:`CONFIGURATION`."""
    options = {name.strip(): value.strip() for name, _colon, value in (line.partition(":") for line in answer.splitlines())}
    wanted = {"PolicyAuditMode": ("Enabled",), "PolicyVerdictNotification": ("Enabled",), "PolicyEnforcement": ("default", "always")}
    return [f"{name} is {options.get(name, 'unknown')}" for name, values in wanted.items() if options.get(name) not in values]


def endpoints(answer: str) -> list[Endpoint]:
    """What the agent answered to :data:`ENDPOINTS`. Raises :class:`ValueError` for anything else."""
    found = []
    for item in _json(answer, list):
        status = item["status"]
        enabled = ((status.get("policy") or {}).get("realized") or {}).get("policy-enabled", "none")
        _audit, mark, directions = enabled.rpartition("audit-")
        addresses = [pair[family] for pair in (status.get("networking") or {}).get("addressing") or [] for family in ("ipv4", "ipv6") if pair.get(family)]
        held = {"audited" if mark else "enforced": DIRECTIONS.get(directions, ())}
        number = item.get("id", 0)
        runs = {each["name"]: (each.get("status") or {}).get("success-count", 0) for each in status.get("controllers") or []}
        found.append(Endpoint(number, status["state"], tuple(addresses), **held, reconciled=runs.get(f"sync-policymap-{number}", 0)))
    return found


def unsettled(found: Iterable[Endpoint]) -> list[str]:
    """What is still to come until the datapath does what the policies say, by endpoint."""
    left = []
    for endpoint in found:
        if endpoint.state not in {READY, *LEAVING}:
            left.append(f"endpoint {endpoint.number} is {endpoint.state}")
        elif endpoint.audited and endpoint.state == READY and endpoint.reconciled < RECONCILED:
            left.append(f"the policy map of endpoint {endpoint.number} is not reconciled yet")
    return left


def open_connections(answer: str) -> dict[tuple[str, str, str], tuple[int, int]]:
    """The TCP connections that nobody has begun to close, in an answer to :data:`CONNECTIONS`, apart from those of a pod with itself by a Service.

    By side (``ingress`` at its destination, ``egress`` at its source), source and destination with their ports: when its record expires, and
    the identity of its source.
    """
    found = {}
    for line in answer.splitlines():
        record = _RECORD.match(line)
        if record is not None and not any(flag in record["flags"] for flag in PASSED_BY):
            side = "ingress" if record["side"] == "IN" else "egress"
            found[side, record["source"], record["destination"]] = (int(record["expires"]), int(record["identity"]))
    return found


def policy_maps(answer: str) -> dict[int, list[Entry]]:
    """By the endpoint's number, what its map holds, in an answer to :data:`POLICY_MAPS`."""
    maps: dict[int, list[Entry]] = {}
    entries: list[Entry] = []
    for line in answer.splitlines():
        if line.startswith(_HEADING):
            number = line[len(_HEADING) :].strip()
            entries = maps.setdefault(int(number), []) if number.isdigit() else []  # a map that is left over has another name
        row = _ROW.match(line)
        if row is not None:
            ports, separator, protocol = row["ports"].rpartition("/")
            entries.append(
                Entry(
                    allows=row["policy"] == "Allow",
                    direction=row["direction"].lower(),
                    identity=int(row["identity"]),
                    protocol=protocol,
                    ports=_range(ports) if separator else None,
                    prefix=int(row["prefix"]),
                )
            )
    return maps


def _range(ports: str) -> range:
    first, _separator, last = ports.partition("-")
    return range(int(first), int(last or first) + 1)


def identities(answer: str) -> dict[str, int]:
    """By network, the identity of its addresses, in an answer to :data:`IDENTITIES`. Raises :class:`ValueError` for anything else."""
    found = {}
    for network, infos in _json(answer, dict).items():
        identity = _IDENTITY.search(infos[0]) if infos else None
        if identity is not None:
            found[network] = int(identity[1])
    return found


def _json(answer: str, kind: type) -> Any:
    parsed = json.loads(answer)
    if not isinstance(parsed, kind):
        raise ValueError(f"it is no {kind.__name__}: {answer[:60]!r}")
    return parsed


def identity_of(address: str, known: Mapping[str, int]) -> int:
    """The identity of the smallest known network that ``address`` is in, or else that of the world."""
    parsed = ipaddress.ip_address(address)
    for length in range(parsed.max_prefixlen, -1, -1):
        network = str(ipaddress.ip_network((address, length), strict=False))
        if network in known:
            return known[network]
    return WORLD


def allows(entries: Sequence[Entry], direction: str, identity: int, port: int) -> bool:
    """What the datapath decides of a TCP connection: of the entries for its identity and for anyone the longest each, where a denial prevails."""
    chosen = [
        max(fitting, key=lambda entry: entry.prefix)
        for each in (identity, ANYONE)
        if (fitting := [entry for entry in entries if entry.fits(direction, each, port)])
    ]
    return bool(chosen) and all(entry.allows for entry in chosen)


Connections = Mapping[tuple[str, str, str], tuple[int, int]]
"""What :func:`open_connections` returns."""


def denials(local: Iterable[Endpoint], before: Connections, after: Connections, maps: Mapping[int, Sequence[Entry]], known: Mapping[str, int]) -> list[Denial]:
    """The connections of the ``local`` endpoints that were open ``before`` and ``after``, had packets between, and would be dropped.

    ``maps`` are those of :func:`policy_maps`, ``known`` those of :func:`identities`.
    """
    by_address = {address: endpoint for endpoint in local for address in endpoint.addresses}
    found = []
    for key, (expires, source_identity) in after.items():
        side, (source, _port), (destination, port) = key[0], split_port(key[1]), split_port(key[2])
        endpoint = by_address.get(destination if side == "ingress" else source)
        if endpoint is None or side not in endpoint.audited or key not in before or before[key][0] == expires:
            continue
        remote = source_identity if side == "ingress" else identity_of(destination, known)
        if not allows(maps.get(endpoint.number, []), side, remote, port):
            found.append(Denial(side, "tcp", source, destination, port, str(remote)))
    return found
