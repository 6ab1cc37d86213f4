# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the logs of the disruption monitor's probers, line by line, so that a long run takes no more memory than a short one. Pure.

The lines are those that ``roles/disruption_monitor/files/prober.py`` writes; the role's README.md describes them. Times are seconds
since the epoch by the node's clock, corrected by what the reader was told of it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

FORMAT = 1


class Interval(NamedTuple):
    """A stretch of time."""

    start: float
    end: float


class Path(NamedTuple):
    """One flow to one target. Where the target is whatever a Service picks, ``node`` and ``incarnation`` are empty."""

    name: str
    mode: str
    node: str
    address: str
    incarnation: str


@dataclass
class Prober:
    """One incarnation of a prober: from its start to its last line."""

    node: str
    kind: str
    address: str
    incarnation: str
    boot: str
    started: float
    interval_ms: float
    late_ms: float
    bounds_ms: list[float]
    last: float
    stopped: bool = False
    cpu_seconds: float = 0.0
    max_lag_ms: float = 0.0
    observed: list[Interval] = field(default_factory=list)
    stalls: list[Interval] = field(default_factory=list)


class Figures(NamedTuple):
    """What one path did in one second. ``gap_ms`` is the longest silence that ended in it, or that lasts."""

    prober: Prober
    path: Path
    time: float
    answered: int
    failed: int
    worst_ms: float
    gap_ms: float
    buckets: list[int]


class Event(NamedTuple):
    """A probe that failed or was late (``error`` is None), or a gap (``what``).

    ``by`` is the target that answered, ``lost`` the one at the other end of a connection that broke, both ``node/incarnation``; they are
    empty where nobody knows. ``port`` is the prober's own, and 0 where nobody knows.
    """

    what: str
    prober: Prober
    path: Path
    time: float
    ms: float
    error: str | None
    by: str
    lost: str
    port: int = 0

    @property
    def span(self) -> Interval:
        """The time it took."""
        return Interval(self.time, self.time + self.ms / 1000)


class LogError(Exception):
    """A line that no prober wrote."""


# A second without a line is a hole when it is missing for so long; a line can be that much late without one.
HOLE_SECONDS = 3.0


class LogReader:
    """The logs of one run. Segments of one incarnation are read in their order, incarnations in any."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.probers: dict[str, Prober] = {}
        self._targets: dict[str, list[Prober]] = defaultdict(list)

    def targets(self, node: str) -> list[Prober]:
        """The targets a node had, as far as they were read, in order."""
        return self._targets[node]

    def read(self, lines: Iterable[str], clock_offset: float = 0.0) -> Iterator[Figures | Event]:
        """Yield what one segment tells; its prober is in :attr:`probers` from the first line on.

        ``clock_offset`` is how far the node's clock is ahead. A last line that was cut off ends the segment. Raises :class:`LogError`.
        """
        prober: Prober | None = None
        paths: dict[int, Path] = {}
        for line in lines:
            try:
                entry = json.loads(line)
                kind = entry["k"]
                if kind == "start":
                    prober = self._begin(entry, clock_offset)
                    if prober is None:
                        return
                    continue
                if prober is None:
                    raise LogError(f"a log begins without a start line: {line[:100]}")
                if kind == "path":
                    paths[entry["p"]] = Path(entry["path"], entry["mode"], entry["node"], entry["address"], entry["incarnation"])
                elif kind == "s":
                    yield from _second(prober, paths, entry, clock_offset)
                elif kind in ("probe", "gap"):
                    failed = entry.get("error") is not None
                    by, lost = ("", entry["by"]) if failed else (entry["by"], entry.get("lost", ""))
                    yield Event(kind, prober, paths[entry["p"]], entry["t"] - clock_offset, entry["ms"], entry.get("error"), by, lost, entry.get("port", 0))
                elif kind == "stop":
                    prober.stopped = True
            except ValueError:
                return  # what a node without power did not write to its end
            except (KeyError, TypeError, IndexError) as exc:
                raise LogError(f"not a line of a prober ({exc!r}): {line[:200]}") from exc

    def _begin(self, entry: dict[str, Any], clock_offset: float) -> Prober | None:
        if entry["run"] != self.run:
            return None
        if entry["format"] != FORMAT:
            raise LogError(f"the log of {entry['node']} has format {entry['format']}, not {FORMAT}")
        if entry["incarnation"] in self.probers:
            return self.probers[entry["incarnation"]]
        started = entry["t"] - clock_offset
        prober = Prober(
            node=entry["node"],
            kind=entry["kind"],
            address=entry["ip"],
            incarnation=entry["incarnation"],
            boot=entry["boot"],
            started=started,
            interval_ms=entry["interval_ms"],
            late_ms=entry["late_ms"],
            bounds_ms=entry["bounds_ms"],
            last=started,
            observed=[Interval(started, started)],
        )
        self.probers[prober.incarnation] = prober
        if prober.kind == "target":
            self._targets[prober.node].append(prober)
            self._targets[prober.node].sort(key=lambda target: target.started)
        return prober


def _second(prober: Prober, paths: dict[int, Path], entry: dict[str, Any], clock_offset: float) -> Iterator[Figures]:
    time = entry["t"] - clock_offset
    if time - prober.last > HOLE_SECONDS:
        prober.observed.append(Interval(time, time))
    prober.observed[-1] = Interval(prober.observed[-1].start, time)
    prober.last = time
    prober.cpu_seconds = entry["cpu"]
    prober.max_lag_ms = max(prober.max_lag_ms, entry["lag"])
    for start, ms in entry["stalls"]:
        prober.stalls.append(Interval(start - clock_offset, start - clock_offset + ms / 1000))
    for number, _sent, answered, failed, _late, worst_ms, gap_ms, buckets in entry["f"]:
        yield Figures(prober, paths[number], time, answered, failed, worst_ms, gap_ms, buckets)
