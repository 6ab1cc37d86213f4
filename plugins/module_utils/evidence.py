# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a migration, or the way back, leaves to be shown: durations, rules and residue of each node, and the verdict.

All of it comes from records on the Nodes, so that a run that was killed and resumed, on another controller even, tells the
same. What was not measured is left out, never filled in. Pure.

==================================  ============================================================================================
``cni-migration.netops/before``     the node before it was touched: ``{rules, links, routes, pods}``
``cni-migration.netops/times``      ``{started, cordoned, left, finished}`` as UTC stamps, ``{drain_s, reboot_s, verify_s}`` in seconds; of a
                                    node that is back on Flannel they are forgotten when evidence tells of them
``cni-migration.netops/cleaned``    the node after it was cleaned: ``{rules, links, routes, purge_seconds, residue}``
``cni-migration.netops/reported``   verdict and folder of the last evidence that tells of the node: ``migrated 20250116T143000Z``
==================================  ============================================================================================

``rules`` are ``removed`` and ``kept`` of ``iptables_purge``: before, what it would have removed; after, what it did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import move_times
from ansible_collections.netops.cni_migration.plugins.module_utils.node_state import PREFIX, NodeView, Phase

BEFORE = PREFIX + "before"
CLEANED = PREFIX + "cleaned"
REPORTED = PREFIX + "reported"

PARTIAL = "partial"
RESIDUE = "residue"
MIGRATED = "migrated"
RETURNED = "returned"


def records(node: NodeView) -> dict[str, Any]:
    """The four records of a node; an absent one is empty. Raises :class:`ValueError` for one that cannot be read."""
    return {
        "before": node.json_annotation(BEFORE),
        "times": move_times.of(node),
        "cleaned": node.json_annotation(CLEANED),
        "reported": node.annotations.get(REPORTED, ""),
    }


def timings(times: Mapping[str, Any]) -> dict[str, float]:
    """The seconds a node's move took, as far as they were measured.

    A move that was interrupted counts from its first start: so long was the node away.
    """
    measured = {key: times[key] for key in ("drain_s", "reboot_s", "verify_s") if key in times}
    for name, start in (("seconds", "started"), ("unschedulable_s", "cordoned")):
        if start in times and "finished" in times:
            measured[name] = move_times.epoch(times["finished"]) - move_times.epoch(times[start])
    return measured


def away_windows(times: Mapping[str, Any]) -> list[list[float | None]]:
    """When the node was out of the network for its reboots, in seconds since the epoch; the end is None while it lasts."""
    windows = [*times.get("earlier", []), *([[times["left"], times.get("finished")]] if "left" in times else [])]
    return [[move_times.epoch(left), None if finished is None else move_times.epoch(finished)] for left, finished in windows]


def rule_total(counts: Mapping[str, Any] | None) -> int | None:
    """The sum of every ``rules`` in nested counts of ``iptables_purge``; None where any of them was not counted."""
    if not counts:
        return 0
    if "rules" in counts:
        return counts["rules"]
    return _sum(rule_total(each) for each in counts.values())


def _sum(figures: Iterable[int | None]) -> int | None:
    total = 0
    for figure in figures:
        if figure is None:
            return None
        total += figure
    return total


def rule_change(before: Mapping[str, Any], cleaned: Mapping[str, Any]) -> dict[str, float]:
    """``before``, ``after`` and ``purge_seconds`` of a node from its two records, as far as they were measured."""
    figures = {"after": rule_total(cleaned["rules"]["kept"]), "purge_seconds": cleaned["purge_seconds"]}
    if before:
        figures["before"] = _sum(rule_total(before["rules"][part]) for part in ("removed", "kept"))
    return {key: value for key, value in figures.items() if value is not None}


def summary(nodes: Iterable[Mapping[str, Any]], *, old_world: bool, outside: Iterable[str]) -> dict[str, Any]:
    """The part of ``summary.json`` that the cluster knows, and whether a report of it is due.

    ``nodes`` are :func:`migration_status.node_status`; ``old_world`` tells whether Flannel or kube-proxy still runs,
    ``outside`` the pods with an address that is not Cilium's.
    """
    nodes = list(nodes)
    moved = [node for node in nodes if node["state"] == Phase.MIGRATED.value]
    cleaned = [node for node in nodes if node["cleaned"]]
    verdict = _verdict(nodes, moved, cleaned, old_world, list(outside))
    return {
        "nodes": [{"name": node["name"], **timings(node["times"])} for node in moved],
        "rules": {node["name"]: rule_change(node["before"], node["cleaned"]) for node in cleaned},
        "residue": {node["name"]: node["cleaned"]["residue"] for node in cleaned},
        "verdict": verdict,
        "due": any(node["reported"].partition(" ")[0] != verdict for node in moved),
        "last": max((node["reported"].partition(" ")[2] for node in moved), default=""),
    }


def way_back(nodes: Iterable[Mapping[str, Any]], *, old_world: bool) -> dict[str, Any]:
    """What the cluster knows of its way back: ``{pending, outside, nodes, verdict, due}``.

    ``nodes`` are :func:`migration_status.node_status`; ``old_world`` tells whether Flannel and kube-proxy run, and Cilium does not. ``pending``
    names the nodes that are not back, ``outside`` the pods with an address that is not Flannel's. A report is due of the nodes that are back
    and still have their times.
    """
    nodes = list(nodes)
    pending = [node["name"] for node in nodes if node["labelled"] or node["state"] != Phase.FLANNEL.value]
    untold = [node for node in nodes if node["name"] not in pending and node["times"]]
    outside = [pod for node in nodes for network, pods in node["pods"].items() if network != "flannel" for pod in pods]
    return {
        "pending": pending,
        "outside": outside,
        "nodes": [{"name": node["name"], **timings(node["times"])} for node in untold],
        "verdict": RETURNED if old_world and not pending and not outside else PARTIAL,
        "due": bool(untold),
    }


def _verdict(
    nodes: list[Mapping[str, Any]],
    moved: list[Mapping[str, Any]],
    cleaned: list[Mapping[str, Any]],
    old_world: bool,
    outside: list[str],
) -> str:
    if old_world or not nodes or len(moved) < len(nodes) or len(cleaned) < len(nodes):
        return PARTIAL
    return RESIDUE if outside or any(node["cleaned"]["residue"] for node in cleaned) else MIGRATED
