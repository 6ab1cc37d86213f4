# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sums over many probes, and which task ran when. Pure."""

from __future__ import annotations

import bisect
import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils.probe_log import Figures, Interval


@dataclass
class Counts:
    """Sums over the probes of one path. What fails, is late or is a long gap is added one by one, by whether it is excused."""

    requests: int = 0
    failed: int = 0
    excused: int = 0
    late: int = 0
    max_ms: float = 0.0
    max_gap_ms: float = 0.0
    buckets: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, figures: Figures) -> None:
        """Add a second of a path."""
        self.requests += figures.answered + figures.failed
        self.max_ms = max(self.max_ms, figures.worst_ms)
        if figures.gap_ms <= figures.prober.late_ms:
            self.max_gap_ms = max(self.max_gap_ms, figures.gap_ms)
        for bucket, count in zip(figures.buckets[::2], figures.buckets[1::2]):
            self.buckets[bucket] += count

    def percentile(self, share: float, bounds_ms: Sequence[float]) -> float:
        """The upper bound of the bucket that the given share of the answers reaches."""
        wanted = share * sum(self.buckets.values())
        reached = 0
        for bucket, count in sorted(self.buckets.items()):
            reached += count
            if reached >= wanted:
                return min([*bounds_ms[bucket : bucket + 1], self.max_ms])
        return 0.0

    def report(self, bounds_ms: Sequence[float]) -> dict[str, Any]:
        """The sums as they are shown."""
        return {
            "requests": self.requests,
            "failed": self.failed,
            "excused": self.excused,
            "late": self.late,
            "p50_ms": round(self.percentile(0.5, bounds_ms), 2),
            "p99_ms": round(self.percentile(0.99, bounds_ms), 2),
            "max_ms": round(self.max_ms, 2),
            "max_gap_ms": round(self.max_gap_ms, 2),
        }


class Series:
    """Per second and kind of path: requests, failed, excused, late, and the longest time an answer took."""

    COLUMNS = ("requests", "failed", "excused", "late", "worst_ms")

    def __init__(self) -> None:
        self._rows: dict[str, dict[int, list[float]]] = defaultdict(dict)

    def row(self, kind: str, time: float) -> list[float]:
        """The figures of one second, in the order of :attr:`COLUMNS`, to be changed in place."""
        return self._rows[kind].setdefault(int(time), [0, 0, 0, 0, 0.0])

    def report(self) -> dict[str, Any]:
        """Columns of equal length, which begin at ``start``."""
        times = [time for rows in self._rows.values() for time in rows]
        if not times:
            return {"start": 0, "paths": {}}
        span = range(min(times), max(times) + 1)
        nothing: list[float] = [0, 0, 0, 0, 0.0]
        return {
            "start": span.start,
            "paths": {
                kind: {column: [rows.get(time, nothing)[index] for time in span] for index, column in enumerate(self.COLUMNS)}
                for kind, rows in sorted(self._rows.items())
            },
        }


@dataclass(frozen=True)
class Task:
    """A task of Ansible while it ran on a host."""

    task: str
    host: str
    start: float
    end: float


class Timeline:
    """Which task ran when."""

    def __init__(self, tasks: Iterable[Mapping[str, Any]]) -> None:
        self._tasks = sorted((Task(item["task"], item["host"], item["start"], item["end"]) for item in tasks), key=lambda task: task.start)
        self._starts = [task.start for task in self._tasks]
        # The latest end of a task and all before it: how far back one may have to look.
        self._latest: list[float] = []
        for task in self._tasks:
            self._latest.append(max([task.end, *self._latest[-1:]]))

    def at(self, span: Interval) -> dict[str, str]:
        """The task that ran when ``span`` began, the one begun last if there were several; else the first one begun within it."""
        after = bisect.bisect_right(self._starts, span.start)
        for index in range(after - 1, -1, -1):
            if self._latest[index] < span.start:
                break
            if self._tasks[index].end >= span.start:
                return {"task": self._tasks[index].task, "host": self._tasks[index].host}
        for task in self._tasks[after : after + 1]:
            if task.start <= span.end:
                return {"task": task.task, "host": task.host}
        return {"task": "", "host": ""}


FRESH_SECONDS = 5.0
PATHS = ("pod-same", "pod-other", "cluster-ip", "node-port", "dns", "api-server")
MODES = ("new", "reused")


def totals(run: str, stats: Mapping[str, Mapping[str, Any]], silent: Iterable[str]) -> dict[str, Any]:
    """The probers' own counters added up, by node as the host probers hand them out, and what is missing in them."""
    paths: dict[str, dict[str, float]] = {}
    waiting_for = [f"the probers of {node}" for node in silent]
    alone = len(stats) + len(waiting_for) == 1
    for node, answer in stats.items():
        for kind, status in answer["probers"].items():
            if not status or status["run"] != run or not status["ip"] or answer["t"] - status["t"] > FRESH_SECONDS:
                waiting_for.append(f"the {kind} prober of {node}")
                continue
            for path, mode in itertools.product(PATHS, MODES) if kind != "target" else ():
                requests, failed, late, gap_ms = status["totals"].get(f"{path}/{mode}", (0, 0, 0, 0.0))
                if requests == failed and not (alone and path == "pod-other"):
                    waiting_for.append(f"an answer on {path}/{mode} to the {kind} prober of {node}")
                total = paths.setdefault(f"{kind}/{path}/{mode}", {"requests": 0, "failed": 0, "late": 0, "max_gap_ms": 0.0})
                total["requests"] += requests
                total["failed"] += failed
                total["late"] += late
                total["max_gap_ms"] = max(total["max_gap_ms"], gap_ms)
    counted = [total for key, total in paths.items() if "/api-server/" not in key]
    return {
        **{name: sum(total[name] for total in counted) for name in ("requests", "failed", "late")},
        "max_gap_ms": max((total["max_gap_ms"] for total in counted), default=0.0),
        "paths": paths,
        "waiting_for": waiting_for,
    }
