# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the seconds of a migration went, and what it cost: from the script's PHASE lines or a migration's timeline. Pure.

All moments are seconds since the epoch. A contender's seconds are told by the rows of ``ROWS``, which add up to its total.
"""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

ROWS = {
    "checks": "checks before anything is changed",
    "install": "Cilium beside Flannel",
    "record": "nodes: look at them, spread DNS",
    "drain": "nodes: cordon and drain",
    "switch": "nodes: label, restart the agent",
    "reboot": "nodes: reboot until back, or recreate the pods",
    "verify": "nodes: verification pod",
    "uncordon": "nodes: uncordon",
    "ending": "final values, agents restarted",
    "removal": "kube-proxy and Flannel removed",
    "clean": "links and rules",
    "monitor": "monitor, evidence and report",
    "ansible": "Ansible itself",
}
"""What is told apart, in the order of a migration. The last is what no other took."""

_ROW_OF_SCRIPT = {
    "check": "checks",
    "install": "install",
    "node_config": "install",
    "cordon": "drain",
    "drain": "drain",
    "switch": "switch",
    "reboot": "reboot",
    "return": "reboot",
    "verify": "verify",
    "uncordon": "uncordon",
    "status": "uncordon",
    "look": "ending",
    "kube_proxy": "removal",
    "upgrade": "ending",
    "node_config_gone": "removal",
    "flannel": "removal",
    "links": "clean",
    "rules": "clean",
}
_ROW_OF_PHASE = {
    "preflight": "checks",
    "prepare": "checks",
    "monitor": "monitor",
    "record": "record",
    "spread DNS": "record",
    "drain": "drain",
    "switch": "switch",
    "reboot": "reboot",
    "recreate pods": "reboot",
    "verify": "verify",
    "uncordon": "uncordon",
    "ending": "ending",
    "remove old": "removal",
    "clean": "clean",
    "evidence": "monitor",
}
# Files whose tasks do not belong to the phase around them. The budget is what the monitor is read for between two nodes.
_ROW_OF_FILE = {
    "install_cilium": "install",
    "node_config": "install",
    "start": "monitor",
    "rejoin": "monitor",
    "collect": "monitor",
    "stop": "monitor",
    "watch": "monitor",
    "budget": "monitor",
}


class Phase(NamedTuple):
    """A stretch of the script; ``node`` is empty where it is for the whole cluster."""

    name: str
    node: str
    start: float
    end: float


class Piece(NamedTuple):
    """A stretch of time that goes to a row."""

    start: float
    end: float
    row: str


def parse_phases(text: str) -> list[Phase]:
    """The PHASE lines of the script's output."""
    found = re.findall(r"^PHASE (\S+) (\S+) (\d+\.\d+) (\d+\.\d+)$", text, re.MULTILINE)
    return [Phase(name, "" if node == "-" else node, float(start), float(end)) for name, node, start, end in found]


def away(phases: Iterable[Phase]) -> dict[str, list[list[float | None]]]:
    """By node, from just before its reboot until it was uncordoned; the end is None where it never was."""
    windows: dict[str, list[list[float | None]]] = {}
    for phase in phases:
        if phase.name == "reboot":
            windows.setdefault(phase.node, []).append([phase.start, None])
        elif phase.name == "uncordon" and phase.node in windows:
            windows[phase.node][-1][1] = phase.end
    return windows


def tasks(phases: Iterable[Phase]) -> list[dict[str, Any]]:
    """The phases as the monitor takes a timeline, so that it can name the one behind a gap."""
    return [{"task": phase.name, "host": phase.node or "cluster", "start": phase.start, "end": phase.end} for phase in phases]


def script_pieces(phases: Iterable[Phase]) -> list[Piece]:
    """The phases by row."""
    return [Piece(phase.start, phase.end, _ROW_OF_SCRIPT[phase.name]) for phase in phases]


def script_nodes(phases: Iterable[Phase]) -> dict[str, float]:
    """By node, the seconds from its cordon until it was uncordoned."""
    return _spans((phase.node, phase.start, phase.end, phase.name) for phase in phases)


def migration_pieces(records: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], end: float) -> list[Piece]:
    """The tasks of a timeline by row, each with the time in which it worked by its own account.

    The monitor's tasks count whole, since without it there were none of them. From the first task of the evidence on nothing is
    recorded: that time, until ``end``, goes to the same row, provided there is a ``summary``, which is the evidence.
    """
    pieces = []
    for record in records:
        row = _row(record)
        if row is None or record["status"] == "skipped":
            continue
        pieces.append(Piece(record["start"] if row == "monitor" else _work_start(record), record["end"], row))
    if summary and records:
        pieces.append(Piece(max(record["end"] for record in records), end, "monitor"))
    return pieces


def migration_nodes(records: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """By node, the seconds from its cordon until it was uncordoned."""
    names = {"drain": "cordon", "uncordon": "uncordon"}
    moves = (record for record in records if _is_move(record) and record["phase"] in names and record["status"] != "skipped")
    return _spans((record["host"], _work_start(record), record["end"], names[record["phase"]]) for record in moves)


def divide(pieces: Sequence[Piece], start: float, end: float) -> dict[str, float]:
    """The seconds of each row; they add up to the time from ``start`` to ``end``.

    Where pieces overlap (a task for several nodes), the one that began last has the time. What is in no piece is Ansible's.
    """
    cuts = sorted({start, end, *(min(max(moment, start), end) for piece in pieces for moment in piece[:2])})
    seconds: dict[str, float] = defaultdict(float)
    for before, after in zip(cuts, cuts[1:]):
        here = [piece for piece in pieces if piece.start <= before and piece.end >= after]
        seconds[max(here).row if here else "ansible"] += after - before
    return {row: round(seconds[row], 2) for row in ROWS if row in seconds}


def costs(disruption: Mapping[str, Any]) -> dict[str, Any]:
    """What the monitor's judgement says, as far as the table tells it."""
    return {
        **{key: disruption[key] for key in ("requests", "failed", "max_gap_ms", "verdict")},
        "api_silence_ms": disruption["api_server"]["longest_silence_ms"],
    }


def total_of(run: Mapping[str, Any]) -> float:
    """The seconds of a run without those of the monitor, which round the script are not counted either."""
    return run["total_s"] - run["phases"].get("monitor", 0.0)


def per_node(run: Mapping[str, Any]) -> float | None:
    """The median of a run's nodes, None where none was moved."""
    return statistics.median(run["nodes"].values()) if run["nodes"] else None


def _is_move(record: Mapping[str, Any]) -> bool:
    return str(record["action"]).rpartition(".")[2] == "cni_migrate_node"


def _row(record: Mapping[str, Any]) -> str | None:
    file = str(record["task"]).partition(" | ")[0]
    if file == "release":
        # What it installs is no check, though its phase is that of the checks.
        return "ending" if record["phase"] == "ending" else "install"
    return _ROW_OF_FILE.get(file) or _ROW_OF_PHASE.get(str(record["phase"]))


def _work_start(record: Mapping[str, Any]) -> float:
    work = record["work"]
    return record["start"] if work is None else max(record["start"], record["end"] - work)


def _spans(stretches: Iterable[tuple[str, float, float, str]]) -> dict[str, float]:
    began: dict[str, float] = {}
    found: dict[str, float] = {}
    for node, start, end, name in stretches:
        if name == "cordon":
            began.setdefault(node, start)
        elif name == "uncordon" and node in began:
            found[node] = round(end - began[node], 2)
    return found
