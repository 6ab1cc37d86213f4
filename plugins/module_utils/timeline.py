# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The course of a migration or of the way back, task by task: what the callback records, and what can be told from its records. Pure.

A record is one finished task on one host, or one step of those that move a node, one line of JSON in ``timeline.jsonl``. Moments are seconds since the epoch.

==============  ================================================================================================
``run``         the moment the run began; a migration that was interrupted has records of several runs
``play``        the play's name
``task``        the task's name
``action``      the module or action plugin
``phase``       the phase of the migration, see :func:`phase_of`
``host``        the host the task was for
``delegate``    the host it was carried out on, where that is another one
``start``       when it was started
``end``         when its result was there
``work``        the seconds of it that were the task's own work, None where the task does not tell: see :func:`own_work`
``status``      ``ok``, ``changed``, ``failed``, ``unreachable`` or ``skipped``
==============  ================================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]

COLLECTION = "netops.cni_migration"
CLUSTER = "cluster"

_MOVER = "cni_migrate_node"
_MONITOR_ROLE = f"{COLLECTION}.disruption_monitor"
ROLES = (f"{COLLECTION}.cilium_migration", _MONITOR_ROLE)

_PHASE_OF_FILE = {
    "preflight": "preflight",
    "prepare": "prepare",
    "install_cilium": "prepare",
    "node_config": "prepare",
    "node": "record",
    "record_before": "prepare",
    "reboot_node": "reboot",
    "ending": "ending",
    "finish": "ending",
    "remove_old": "remove old",
    "clean_node": "clean",
    "evidence": "evidence",
    "rollback_prepare": "bring back",
    "undo_ending": "bring back",
    "rollback": "return",
    "return_node": "return",
    "rollback_ending": "remove Cilium",
    "remove_cilium": "remove Cilium",
    "clean_cilium": "clean",
}
_PHASE_OF_PLUGIN = {"reboot": "reboot", "cni_spread_dns": "spread DNS"}
# A move's first step, and the phases of its steps; on the way back all of them are one phase.
_PHASE_OF_STATE = {"drained": "drain", "switched": "drain", "verified": "verify", "migrated": "uncordon", "flannel": "return"}
_PHASE_OF_STEP = {
    "cordon": "drain",
    "drain": "drain",
    "label": "switch",
    "restart_agent": "switch",
    "prove_reboot": "reboot",
    "recreate_pods": "recreate pods",
    "verify": "verify",
    "uncordon": "uncordon",
}

MOVE_PHASES = ("record", "spread DNS", "drain", "switch", "reboot", "recreate pods", "verify", "uncordon")
NODE_PHASES = (*MOVE_PHASES, "clean", "return")
"""The phases in which one node is worked on; in the others it is the cluster as a whole."""

WAY_BACK = ("bring back", "return", "remove Cilium")
"""The phases that there are on the way back only."""

PHASES = ("preflight", "monitor", "prepare", *MOVE_PHASES, "ending", "remove old", "clean", *WAY_BACK, "evidence")
"""Every phase, in the order of a migration, and then of the way back."""

# What only the controller does, in no time worth the name.
_NO_WORK = {"add_host", "assert", "debug", "fail", "group_by", "import_tasks", "include_tasks", "meta", "set_fact"}


def phase_of(role: str, task: str, action: str, state: object, before: str) -> str:
    """The phase a task belongs to, or, for a task that says nothing of it, the phase ``before``.

    ``task`` is the name of a task of ``role``, which begins with its file; ``state`` is the argument of that name.
    """
    if role == _MONITOR_ROLE:
        return "monitor"
    file = task.partition(" | ")[0].lower()
    if file == "return_node":
        return "return"
    plugin = action.rpartition(".")[2]
    if plugin == _MOVER and state in _PHASE_OF_STATE:
        return _PHASE_OF_STATE[str(state)]
    if file == "node_facts":  # what the preflight looks at, and the way back, too
        return "preflight" if before == "prepare" else before
    if file == "release" and before != "ending":
        return "prepare"  # Cilium is installed when the monitor, whose phase was the last, already runs
    return _PHASE_OF_PLUGIN.get(plugin) or _PHASE_OF_FILE.get(file, before)


def parts(record: dict[str, Any], result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The record, or, where the task tells of the steps of a move that it took, one record for each, in their order.

    What it took Ansible to start the task goes to the first.
    """
    steps = result.get("steps")
    if record["action"].rpartition(".")[2] != _MOVER or not steps or record["phase"] not in _PHASE_OF_STEP.values():
        return [record]
    found: list[dict[str, Any]] = []
    end = record["end"]
    for step in reversed(steps):
        seconds = float(step["seconds"])
        found.insert(0, {**record, "phase": _PHASE_OF_STEP[step["name"]], "start": round(end - seconds, 3), "end": end, "work": seconds})
        end = found[0]["start"]
    found[0]["start"] = record["start"]
    return found


def own_work(action: str, result: Mapping[str, Any]) -> float | None:
    """The seconds a task worked by its own account, without what Ansible needed to start it; None where it gives none."""
    if action.rpartition(".")[2] in _NO_WORK:
        return 0.0
    items = result.get("results")
    if isinstance(items, list):
        told = [own_work(action, item) if isinstance(item, Mapping) else None for item in items]
        known = [seconds for seconds in told if seconds is not None]
        return round(sum(known), 3) if known and len(known) == len(told) else None
    if isinstance(result.get("steps"), list):
        return round(sum(float(step["seconds"]) for step in result["steps"]), 3)
    for key in ("seconds", "elapsed"):
        value = result.get(key)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return round(float(value), 3)
    return _delta(result.get("delta"))


def _delta(text: object) -> float | None:
    """Seconds of the ``0:00:01.234567`` that a command returns; one that took days is not told apart from one that says nothing."""
    try:
        hours, minutes, seconds = str(text).split(":")
        return round(int(hours) * 3600 + int(minutes) * 60 + float(seconds), 3)
    except ValueError:
        return None


def parse(text: str) -> list[dict[str, Any]]:
    """The records of a ``timeline.jsonl`` by their start. A line that a killed run left unfinished is passed over."""
    records = []
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and {"host", "task", "start", "end"} <= record.keys():
            records.append(record)
    return sorted(records, key=lambda record: (record["start"], record["end"]))


def running(records: Iterable[Record], start: float, end: float) -> Record | None:
    """The record of the task that ran between ``start`` and ``end``: of several the one that covers most of it, then the later one.

    Between two tasks it is the one that ended last before, since its effects are what may be seen. None before the first task.
    """
    before = [record for record in records if record["start"] <= end and record["status"] != "skipped"]
    return max(before, key=lambda record: (min(record["end"], end) - max(record["start"], start), record["start"]), default=None)


def lane(record: Record) -> str:
    """Whose time the record is: the node's in a phase of a node, else the cluster's."""
    return str(record["host"]) if record.get("phase") in NODE_PHASES else CLUSTER


def spans(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The phases as stretches of time, ``{lane, phase, start, end}``.

    What follows each other in one lane, phase and run is one stretch, unless another phase of the run began in between in any lane.
    """
    found: list[dict[str, Any]] = []
    last: dict[tuple[Any, str], dict[str, Any]] = {}
    begun: dict[Any, dict[str, float]] = {}
    for record in records:
        phase, run, where = record.get("phase"), record.get("run"), lane(record)
        if not phase or record["status"] == "skipped":
            continue
        latest = begun.setdefault(run, {})
        latest[phase] = record["start"]
        span = last.get((run, where))
        if span and span["phase"] == phase and not any(start >= span["end"] for other, start in latest.items() if other != phase):
            span["end"] = max(span["end"], record["end"])
        else:
            last[run, where] = {"lane": where, "phase": phase, "start": record["start"], "end": record["end"]}
            found.append(last[run, where])
    return found


def overhead(records: Sequence[Record]) -> dict[str, float]:
    """Where the time of the runs went: ``{seconds, between, starting}``.

    ``seconds`` is the length of all runs, ``between`` of it when no task ran on any host, ``starting`` when tasks ran but by
    their own account none worked. Both are Ansible's own. A task that gives no account counts as working all the time.
    """
    runs: dict[Any, list[Record]] = {}
    for record in records:
        runs.setdefault(record.get("run"), []).append(record)
    seconds = sum(max(record["end"] for record in run) - min(record["start"] for record in run) for run in runs.values())
    ran = _covered((record["start"], record["end"]) for record in records)
    worked = _covered((_work_start(record), record["end"]) for record in records if record["status"] != "skipped")
    return {"seconds": seconds, "between": seconds - ran, "starting": ran - worked}


def _work_start(record: Record) -> float:
    """The own work of a task is the last part of its time: first Ansible has to get it going."""
    work = record.get("work")
    return record["start"] if work is None else max(record["start"], record["end"] - work)


def _covered(intervals: Iterable[tuple[float, float]]) -> float:
    """The length of the union of the intervals."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def clock(seconds: float) -> str:
    """Seconds as ``4:05``, or ``1:04:05`` from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


PREPARE_SECONDS, NODE_SECONDS, ENDING_SECONDS = 60.0, 90.0, 120.0
"""What is taken for the length of each part until this run has measured it (a move: the mean of the nodes moved so far)."""


class Progress:
    """What the terminal shows of a run: where it is, and about how long it will still take."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._phases: dict[str, tuple[str, float]] = {}
        self._hosts: set[str] = set()
        self._migrated: dict[str, bool] = {}
        self._over = False
        self._requests: tuple[int, int] | None = None
        self._moves: dict[str, float] = {}
        self._measured: list[float] = []
        self._ending: float | None = None
        self._back = False

    def task_started(self, host: str, phase: str, now: float) -> str | None:
        """Take notice of a task; the line to show when a new phase begins with it."""
        self._hosts.add(host)
        where = lane({"host": host, "phase": phase})
        if not phase or self._phases.get(where, ("",))[0] == phase:
            return None
        self._phases[where] = (phase, now)
        if where != CLUSTER and phase != "clean":
            self._moves.setdefault(host, now)
        if phase == "ending":
            self._ending = now if self._ending is None else self._ending
        self._back = self._back or phase in WAY_BACK
        left = None if self._back else self._seconds_left(now)
        return self._line(f"{where}: {phase}", now, "" if left is None else f"about {clock(left)} left")

    def task_ended(self, host: str, action: str, result: Mapping[str, Any], now: float) -> None:
        """Learn from a result how many nodes have moved and how many requests were made."""
        plugin = action.rpartition(".")[2]
        if plugin == "cni_migration_info" and "nodes" in result:
            self._migrated = {node["name"]: node["state"] == "migrated" for node in result["nodes"]}
            self._over = result["evidence"]["verdict"] == "migrated"
        elif plugin == _MOVER and result.get("state_after") == "migrated" and host in self._moves:
            if host in self._migrated:
                self._migrated[host] = True
            self._measured.append(now - self._moves.pop(host))
        elif plugin == "disruption_info" and "by_path" in result:
            # What failed is summed up here, since Ansible takes a key of that name for the state of the task.
            failed = sum(figures["failed"] for path, figures in result["by_path"].items() if "/api-server/" not in path)
            self._requests = result["requests"], failed

    def ended(self, now: float) -> str | None:
        """The last line, None when there was nothing to show."""
        return self._line("end", now, "") if self._phases else None

    def _line(self, place: str, now: float, left: str) -> str:
        done = f"{sum(self._migrated.values())} of {len(self._migrated)} nodes moved" if self._migrated else ""
        requests = "{:,} requests, {:,} failed".format(*self._requests) if self._requests else ""
        return " | ".join(filter(None, (f"[{clock(now - self._began)}] {place}", done, requests, left)))

    def _seconds_left(self, now: float) -> float | None:
        """The estimate, None when nothing is known of the nodes or nothing is left to do."""
        if not self._migrated or self._over:
            return None
        waiting = [name for name, moved in self._migrated.items() if not moved]
        # With --limit some nodes are none of this run's, and then it does not come to the ending either.
        mine = [name for name in waiting if name in self._hosts] if self._hosts & self._migrated.keys() else waiting
        a_move = sum(self._measured) / len(self._measured) if self._measured else NODE_SECONDS
        left = sum(max(0.0, a_move - (now - self._moves.get(name, now))) for name in mine)
        if not self._moves and not self._measured and self._ending is None:
            left += max(0.0, PREPARE_SECONDS - (now - self._began))
        if len(mine) == len(waiting):
            left += max(0.0, ENDING_SECONDS - (0.0 if self._ending is None else now - self._ending))
        return left
