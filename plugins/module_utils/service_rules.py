# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kube-proxy's iptables mode made of one Service, read from ``iptables-save -t nat``.

A packet for the Service's address leaves KUBE-SERVICES for the Service port's own chain (KUBE-SVC-...), which picks
an endpoint's chain (KUBE-SEP-...) by chance; that one holds the DNAT. The chain names are hashes, so the Service is
found by the comment kube-proxy gives the first rule, ``namespace/name[:port] cluster IP``
(kubernetes, pkg/proxy/iptables/proxier.go, syncProxyRules).

Pure: text in, data out.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

Rule = list[str]
"""A rule's arguments after ``-A CHAIN``, unquoted."""


class RulesError(ValueError):
    """The text is not what ``iptables-save`` writes, or its chains do not fit together."""


@dataclass(frozen=True)
class Endpoint:
    """One KUBE-SEP chain: where it sends a connection (``address:port``) and the share of all connections, 0 to 1."""

    chain: str
    destination: str
    share: float


@dataclass(frozen=True)
class ServicePort:
    """One port of a Service: its address as clients see it, and the endpoints in the order they are tried."""

    name: str
    protocol: str
    cluster_ip: str
    port: int
    chain: str
    endpoints: tuple[Endpoint, ...]


def service_ports(nat_table: str, namespace: str, service: str) -> list[ServicePort]:
    """The ports of ``namespace/service`` in ``nat_table``; an empty list when no rule is about it.

    Raises :class:`RulesError` when the rules cannot be understood.
    """
    chains = _chains(nat_table)
    return [_service_port(chains, rule) for rule in chains.get("KUBE-SERVICES", []) if _is_about(rule, f"{namespace}/{service}")]


def _chains(nat_table: str) -> dict[str, list[Rule]]:
    """The rules of each chain, in order; lines that are no rule (tables, policies, comments) are passed over."""
    chains: dict[str, list[Rule]] = {}
    for number, line in enumerate(nat_table.splitlines(), start=1):
        if not line.startswith("-A "):
            continue
        try:
            _append, chain, *rule = shlex.split(line)
        except ValueError as exc:
            raise RulesError(f"line {number} is not a rule ({exc}): {line}") from exc
        chains.setdefault(chain, []).append(rule)
    return chains


def _value(rule: Rule, option: str) -> str | None:
    """The argument that follows ``option``, or None when the rule lacks it."""
    return rule[rule.index(option) + 1] if option in rule[:-1] else None


def _required(rule: Rule, option: str) -> str:
    value = _value(rule, option)
    if value is None:
        raise RulesError(f"a rule without {option}: {shlex.join(rule)}")
    return value


def _is_about(rule: Rule, service: str) -> bool:
    """Whether this rule of KUBE-SERVICES takes the traffic for the cluster IP of ``service``, whichever port."""
    subject, _space, address_kind = (_value(rule, "--comment") or "").partition(" ")
    return address_kind == "cluster IP" and subject.split(":")[0] == service


def _service_port(chains: dict[str, list[Rule]], rule: Rule) -> ServicePort:
    chain = _required(rule, "-j")
    return ServicePort(
        name=_required(rule, "--comment").split(" ")[0],
        protocol=_required(rule, "-p"),
        cluster_ip=_required(rule, "-d").split("/")[0],
        port=int(_required(rule, "--dport")),
        chain=chain,
        endpoints=tuple(_endpoints(chains, chain)),
    )


def _endpoints(chains: dict[str, list[Rule]], service_chain: str) -> list[Endpoint]:
    """The endpoints with their shares: each rule takes its probability of what the rules above it left over."""
    endpoints = []
    left_over = 1.0
    for rule in chains.get(service_chain, []):
        target = _required(rule, "-j")
        # With session affinity a first set of rules (--rcheck) only brings known clients back to their endpoint.
        if not target.startswith("KUBE-SEP-") or "--rcheck" in rule:
            continue
        share = left_over * float(_value(rule, "--probability") or 1)
        left_over -= share
        endpoints.append(Endpoint(target, _destination(chains, target), round(share, 4)))
    return endpoints


def _destination(chains: dict[str, list[Rule]], endpoint_chain: str) -> str:
    destinations = [found for rule in chains.get(endpoint_chain, []) if (found := _value(rule, "--to-destination"))]
    if len(destinations) != 1:
        raise RulesError(f"chain {endpoint_chain} has {len(destinations)} destinations instead of one")
    return destinations[0]
