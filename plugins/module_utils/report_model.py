# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the evidence of a migration says, in the words and figures that the report shows. Pure.

Where something was not measured or an older evidence lacks it, that is said, and nothing is filled in.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ansible_collections.netops.cni_migration.plugins.module_utils import evidence, move_times, timeline
from ansible_collections.netops.cni_migration.plugins.module_utils.preflight_model import OK
from ansible_collections.netops.cni_migration.plugins.module_utils.report_html import milliseconds, seconds, words

GOOD, BAD, UNSURE = "good", "bad", "unsure"

_DESTINATIONS = {
    "pod-same": "pod, same node",
    "pod-other": "pod, other node",
    "cluster-ip": "ClusterIP",
    "node-port": "NodePort",
    "dns": "DNS name",
    "api-server": "API server",
}
# Behind these there is no pod whose CNI is known.
_NO_CNI = ("service", "api-server")

MOST_BUCKETS = 1500
"""Seconds are summed up to longer stretches where a run has more of them than a screen has room for."""


@dataclass(frozen=True)
class Evidence:
    """What lies in an evidence folder. Without a monitor ``disruption`` is None, without the callback ``records`` is empty."""

    summary: Mapping[str, Any]
    nodes: Sequence[Mapping[str, Any]] = ()
    disruption: Mapping[str, Any] | None = None
    records: Sequence[timeline.Record] = field(default_factory=list)


class Verdict(NamedTuple):
    """The first line of the report: how it is to be taken, the sentence, and what has to be known with it."""

    mood: str
    sentence: str
    reasons: list[str]


def leads_back(found: Evidence) -> bool:
    """Whether it is the evidence of a roll-back."""
    return found.summary.get("direction") == "rollback"


def arrived(found: Evidence) -> list[str]:
    """The names of the nodes that are where the run was to bring them."""
    wanted = "flannel" if leads_back(found) else "migrated"
    return [node["name"] for node in found.nodes if node["state"] == wanted]


def verdict(found: Evidence) -> Verdict:
    """Whether the migration, or the way back, is done and what it cost, in plain words."""
    mood, sentence, reasons = _way_back(found) if leads_back(found) else _migration(found)
    lost_mood, lost_sentence, lost_reasons = _lost(found.disruption)
    return Verdict(max(mood, lost_mood, key=(GOOD, UNSURE, BAD).index), f"{sentence} {lost_sentence}", reasons + lost_reasons)


def _migration(found: Evidence) -> Verdict:
    names, moved = [node["name"] for node in found.nodes], arrived(found)
    reasons = []
    if found.summary["verdict"] == evidence.MIGRATED:
        mood, sentence = GOOD, "Migrated."
    elif found.summary["verdict"] == evidence.RESIDUE:
        mood, sentence = BAD, "Migrated, but something of the old network is left."
    else:
        mood, sentence = UNSURE, f"Not finished: {len(moved)} of {words(len(names), 'node')} moved."
        if waiting := [name for name in names if name not in moved]:
            reasons.append(f"Still to be moved: {', '.join(waiting)}.")
        else:
            reasons.append("Every node has moved, but kube-proxy and Flannel have not left all of them yet.")
    return Verdict(mood, sentence, reasons)


def _way_back(found: Evidence) -> Verdict:
    names, back = [node["name"] for node in found.nodes], arrived(found)
    if found.summary["verdict"] == evidence.RETURNED:
        return Verdict(GOOD, "Back on Flannel.", [])
    if found.summary["verdict"] == evidence.RESIDUE:
        return Verdict(BAD, "Back on Flannel, but something of Cilium is left.", [])
    waiting = [name for name in names if name not in back]
    reason = f"Still on Cilium: {', '.join(waiting)}." if waiting else "Every node is back, and Cilium is still beside Flannel."
    return Verdict(UNSURE, f"{len(back)} of {words(len(names), 'node')} on Flannel.", [reason])


def _lost(disruption: Mapping[str, Any] | None) -> Verdict:
    if disruption is None:
        return Verdict(UNSURE, "Lost requests were not measured.", ["No disruption monitor ran, so nobody knows whether a request was lost."])
    requests, failed = disruption["requests"], disruption["failed"]
    counted = f"{failed:,} of {words(requests, 'request')} failed; longest gap {milliseconds(disruption.get('max_gap_ms'))}."
    reasons = [f"{str(reason)[:1].upper()}{str(reason)[1:]}".rstrip(".") + "." for reason in disruption.get("reasons", [])]
    if disruption["verdict"] == "ok":
        return Verdict(GOOD, counted, reasons)
    if disruption["verdict"] == "lost":
        return Verdict(BAD, counted, reasons)
    seen = f"; of what was seen, {counted}" if requests else "."
    return Verdict(UNSURE, f"Whether requests were lost is unknown{seen}", reasons)


class Path(NamedTuple):
    """A probe path in words: from where, to where, over which connection, and the CNI at both ends."""

    source: str
    destination: str
    connection: str
    cnis: str


def path_of(key: str) -> Path:
    """The path of a key such as ``pod/pod-other/new/flannel>cilium``, or ``.../cilium>service``; one of another form is shown as it is."""
    parts = key.split("/")
    if len(parts) != 4:
        return Path(key, "", "", "")
    source, destination, connection, cnis = parts
    ends = [end for end in cnis.split(">") if end not in _NO_CNI]
    return Path(source, _DESTINATIONS.get(destination, destination), connection, " → ".join(ends))


def path_order(key: str) -> tuple[Any, ...]:
    """Sorts paths from the pods' to the hosts', from the near to the far, and from the old network to the new one."""
    source, destination, connection, cnis = path_of(key)
    far = list(_DESTINATIONS.values())
    return source != "pod", source, far.index(destination) if destination in far else len(far), connection, [cni != "flannel" for cni in cnis.split(" → ")], key


class Bucket(NamedTuple):
    """One stretch of the series: its start and length in seconds, requests a second, failed and late ones, the slowest answer."""

    start: float
    seconds: int
    rate: float
    failed: int
    late: int
    worst_ms: float | None


def buckets(series: Mapping[str, Any]) -> list[Bucket]:
    """The series of seconds, summed over all kinds of paths, in at most ``MOST_BUCKETS`` stretches of equal length.

    A stretch in which there was no request at all was not observed and is left out.
    """
    kinds = list(series.get("paths", {}).values())
    length = max((len(columns["requests"]) for columns in kinds), default=0)
    width = max(1, math.ceil(length / MOST_BUCKETS))
    found = []
    for place in range(0, length, width):
        requests, failed, late = (sum(sum(columns[name][place : place + width]) for columns in kinds) for name in ("requests", "failed", "late"))
        worst = max(max(columns["worst_ms"][place : place + width], default=0.0) for columns in kinds)
        if requests:
            found.append(Bucket(series["start"] + place, width, requests / width, failed, late, worst or None))
    return found


def spans(found: Evidence) -> list[dict[str, Any]]:
    """The phases in time: by the recorded tasks, else one stretch per node from its own record, which knows no phases."""
    if found.records:
        return timeline.spans(found.records)
    return [
        {"lane": node["name"], "phase": "move", "start": move_times.epoch(node["times"]["started"]), "end": move_times.epoch(node["times"]["finished"])}
        for node in found.nodes
        if {"started", "finished"} <= node["times"].keys()
    ]


def lanes(found: Evidence) -> list[str]:
    """The cluster, then the nodes in the order in which they were moved."""
    order = [timeline.CLUSTER] if found.records else []
    order += [span["lane"] for span in sorted(spans(found), key=lambda span: span["start"]) if span["phase"] in (*timeline.MOVE_PHASES, "move")]
    return list(dict.fromkeys([*order, *(node["name"] for node in found.nodes)]))


def phase_seconds(found: Evidence) -> dict[str, dict[str, float]]:
    """The seconds of each phase by lane, in the order of a migration."""
    totals: dict[str, Counter[str]] = {}
    for span in timeline.spans(found.records):
        totals.setdefault(span["phase"], Counter())[span["lane"]] += span["end"] - span["start"]
    return {phase: dict(totals[phase]) for phase in timeline.PHASES if phase in totals}


def gaps(found: Evidence) -> list[dict[str, Any]]:
    """The gaps in the order of time, each with the task and the host that were at work."""
    told = []
    for gap in sorted((found.disruption or {}).get("gaps", []), key=lambda each: each["t"]):
        record = None if gap["task"] else timeline.running(found.records, gap["t"], gap["end"])
        told.append({**gap, "task": record["task"], "host": record["host"]} if record else dict(gap))
    return told


def api_absence(found: Evidence) -> str:
    """How long the API server was silent and what of it was whose, in a sentence; empty when it never was or that is not known."""
    told = ((found.disruption or {}).get("api_server") or {}).get("absence")
    if not told:
        return ""
    silent = f"The API server was silent for {seconds(told['ms'] / 1000)} while"
    if told["node"] is None:
        return f"{silent} no node of the control plane was away."
    shares = [f"{share['what']} {seconds(share['seconds'])} ({100_000 * share['seconds'] / told['ms']:.0f} %)" for share in told["shares"]]
    return f"{silent} {told['node']} was away" + (f": {', '.join(shares)}." if shares else "; what of it took how long is not known.")


def causes(failures: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, str, int]]:
    """The ledger by destination, what happened and why it does not count against the network, the most frequent first."""
    found = Counter((path_of(entry["path"]).destination or entry["path"], entry.get("error") or "late", entry.get("excused") or "") for entry in failures)
    return [(*kind, number) for kind, number in found.most_common()]


def rules_by_owner(counts: Mapping[str, Any] | None) -> dict[str, int | None]:
    """The rules of nested counts of ``iptables_purge`` by their owner; None where a table was not counted."""
    found: dict[str, int | None] = {}
    for families in (counts or {}).values():
        for tables in families.values():
            for owners in tables.values():
                for owner, figures in owners.items():
                    found[owner] = total(found.get(owner, 0), figures["rules"])
    return found


def total(one: int | None, other: int | None) -> int | None:
    """The sum, None where one of them was not counted."""
    return None if one is None or other is None else one + other


def rule_details(node: Mapping[str, Any]) -> list[tuple[str, str, str, str, Any, Any, Any]]:
    """A node's rules, a row for each backend, family, table and owner: how many before, how many removed, how many after."""
    before, after = node["before"].get("rules", {}), node["after"].get("rules", {})
    figures: dict[tuple[str, str, str, str], dict[str, int | None]] = {}
    for name, counts in (("before", before.get("removed")), ("before", before.get("kept")), ("removed", after.get("removed")), ("after", after.get("kept"))):
        for backend, families in (counts or {}).items():
            for family, tables in families.items():
                for table, owners in tables.items():
                    for owner, found in owners.items():
                        row = figures.setdefault((backend, family, table, owner), {})
                        row[name] = total(row.get(name, 0), found["rules"])
    rows = []
    for key, row in sorted(figures.items()):
        known = {"before": 0 if before else None, "removed": 0 if after else None, "after": 0 if after else None, **row}
        rows.append((*key, known["before"], known["removed"], known["after"]))
    return rows


def decisions(nodes: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What preflight found, each thing once, what is ok last: what concerns the cluster stands in the file of every node."""
    found = {tuple(sorted(finding.items())): finding for node in nodes for finding in node.get("decisions", [])}
    return sorted(found.values(), key=lambda finding: (finding["level"] == OK, finding["level"], finding["node"], finding["check"]))
