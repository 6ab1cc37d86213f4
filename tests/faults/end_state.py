# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a migration leaves, brought to a form in which two of them can be compared, and what it cost. Pure.

What differs between any two runs, disturbed or not, is left out: moments, identities, the links and files of single pods, and the numbers of rules
of programs that still run and have as many as there are endpoints.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

State = dict[str, Any]

GAP_SLACK_MS = 250.0
"""By how much the longest gaps of two undisturbed runs may differ, see docs/limits.md: three agents compile on two cores."""

# Not counted as lost, see docs/limits.md: a query under way when its replica is ended, and the API server of a control plane node that reboots.
_EXCUSED = re.compile(r"/(dns|api-server)/")

_LINK_OF_A_POD = re.compile(r"veth|lxc(?!_health$)")
_OF_A_BOOT = ("fdb", "neighbour")  # named by addresses that a link gets when it is made
_CONTAINER = re.compile(r"[0-9a-f]{64}.*")


def normalised(raw: Mapping[str, Any]) -> State:
    """The state as ``state.yml`` reads it, in comparable form: nested mappings that end in lists of text, text or truth values.

    ``raw`` is ``{nodes: [Node], objects: [any object], migration: result of cni_migration_info, facts: {host: result of cni_node_info}, residue:
    {host: result of cni_residue_info}}``; the results of a host that could not be reached say so, and nothing else.
    """
    migration = raw["migration"]
    return {
        "nodes": {
            node["metadata"]["name"]: {**_of_node(node), **_of_host(node["metadata"]["name"], raw), **_of_status(node, migration)} for node in raw["nodes"]
        },
        "objects": sorted(_named(item) for item in raw["objects"]),
        "release": {
            "values": _flat(migration["release"]["values"]),
            "chart": migration["release"]["chart_version"],
            "unfinished": len(migration["release"]["unfinished"]),
        },
        **{key: migration[key] for key in ("pending", "flannel", "kube_proxy", "cilium")},
        "verdict": migration["evidence"]["verdict"],
    }


def _of_node(node: Mapping[str, Any]) -> State:
    metadata, spec = node["metadata"], node.get("spec") or {}
    conditions = (node.get("status") or {}).get("conditions") or []
    return {
        "labels": sorted(f"{key}={value}" for key, value in (metadata.get("labels") or {}).items()),
        "annotations": sorted(metadata.get("annotations") or {}),
        "taints": sorted(f"{taint['key']}:{taint['effect']}" for taint in spec.get("taints") or []),
        "unschedulable": bool(spec.get("unschedulable")),
        "ready": any(each["type"] == "Ready" and each["status"] == "True" for each in conditions),
    }


def _named(item: Mapping[str, Any]) -> str:
    """What it is, and of what has pods, how many of them are ready."""
    status = item.get("status") or {}
    ready = next((f"{status[key]} ready" for key in ("numberReady", "readyReplicas") if key in status), "")
    return " ".join(filter(None, (item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"], ready)))


def _of_host(name: str, raw: Mapping[str, Any]) -> State:
    facts, residue = raw["facts"].get(name, {}), raw["residue"].get(name, {})
    if "links" not in facts or "residue" not in residue:
        return {"reached": False}
    return {
        "reached": True,
        "cni_files": sorted(facts["cni_files"]),
        "links": sorted(link["name"] for link in facts["links"] if not _LINK_OF_A_POD.match(link["name"])),
        "routes_through": sorted(name for name in facts["routes"] if not _LINK_OF_A_POD.match(name)),
        "rules": sorted({*_owners(residue["rules"]), *_owners(residue["kept_rules"])}),
        "residue": sorted({_item(item) for item in residue["residue"] if item["kind"] != "rules"}),
    }


def _of_status(node: Mapping[str, Any], migration: Mapping[str, Any]) -> State:
    here = next(each for each in migration["nodes"] if each["name"] == node["metadata"]["name"])
    return {"state": here["state"], "cni": here["cni"]}


def _owners(counts: Mapping[str, Any]) -> Iterable[str]:
    """Whose rules there are in which table; of nobody's, which nothing may change, how many."""
    for backend, families in counts.items():
        for family, tables in families.items():
            for table, by_owner in tables.items():
                for owner, numbers in by_owner.items():
                    amount = f" {numbers['chains']} chains {numbers['rules']} rules" if owner == "foreign" else ""
                    yield f"{backend} {family} {table} {owner}{amount}"


def _item(item: Mapping[str, str]) -> str:
    name = "..." if item["kind"] in _OF_A_BOOT else _CONTAINER.sub("...", item["name"])
    return f"{item['kind']} {name} {item['owner']}"


def _flat(values: Any, path: str = "") -> list[str]:
    if isinstance(values, Mapping):
        return sorted(line for key, value in values.items() for line in _flat(value, f"{path}.{key}" if path else str(key)))
    return [f"{path}={values}"]


def differences(expected: Any, actual: Any, where: str = "") -> list[str]:
    """What of two normalised states is not the same, a line each; empty when they are identical."""
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        keys = sorted({*expected, *actual})
        return [line for key in keys for line in differences(expected.get(key), actual.get(key), f"{where}/{key}" if where else str(key))]
    if isinstance(expected, Sequence) and isinstance(actual, Sequence) and not isinstance(expected, str) and not isinstance(actual, str):
        missing = [f"{where}: {item} is missing" for item in expected if item not in actual]
        return missing + [f"{where}: {item} is too much" for item in actual if item not in expected]
    return [] if expected == actual else [f"{where}: {actual!r} instead of {expected!r}"]


@dataclass(frozen=True)
class Cost:
    """What the monitor saw. ``lost`` are the failed requests that count, ``excused`` those that do not."""

    requests: int
    lost: int
    excused: int
    max_gap_ms: float
    disruption: str
    verdict: str


def cost(summaries: Iterable[Mapping[str, Any]]) -> Cost | None:
    """The cost by the ``summary.json`` of a migration; None where there is none that measured anything.

    A run that was killed when it had told of itself may be followed by one that tells less, since the monitor is gone: the fullest counts.
    """
    measured = [summary for summary in summaries if summary.get("requests")]
    if not measured:
        return None
    fullest = max(measured, key=lambda summary: summary["requests"])
    failed = {path: figures["failed"] for path, figures in fullest["by_path"].items()}
    excused = sum(count for path, count in failed.items() if _EXCUSED.search(path))
    return Cost(fullest["requests"], sum(failed.values()) - excused, excused, fullest["max_gap_ms"], fullest["disruption"], fullest["verdict"])


def larger(cost_now: Cost | None, reference: Cost) -> list[str]:
    """In what a disturbed migration cost more than the undisturbed one, a line each."""
    if cost_now is None:
        return ["nothing was measured"]
    found = []
    if cost_now.lost > reference.lost:
        found.append(f"{cost_now.lost} requests were lost instead of {reference.lost}")
    if cost_now.max_gap_ms > reference.max_gap_ms + GAP_SLACK_MS:
        found.append(f"the longest gap was {cost_now.max_gap_ms:.0f} ms instead of {reference.max_gap_ms:.0f} ms")
    return found
