# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs of the disruption monitor, for tests: what probers would have written of a cluster in which all goes well, until told otherwise."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils.disruption import Analysis
from ansible_collections.netops.cni_migration.plugins.module_utils.disruption_excuses import Scope

BEGAN = 1_768_642_000.0
CIDR = "10.245.0.0/16"
NODES = ("ctr", "w1", "w2")

Line = dict[str, Any]


@dataclass
class Log:
    """The lines of one prober that lives from ``start`` to ``end``, in seconds of the run."""

    node: str
    kind: str
    start: float = 0.0
    end: float = 60.0
    ip: str = ""
    stopped: bool = True
    run: str = "r1"
    paths: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    events: list[Line] = field(default_factory=list)
    stalls: list[list[float]] = field(default_factory=list)
    silent: Iterable[float] = ()

    @property
    def incarnation(self) -> str:
        """A name that no other log has."""
        return f"{self.node}-{self.kind}-{self.start:g}"

    @property
    def by(self) -> str:
        """The name under which it answers."""
        return f"{self.node}/{self.incarnation}"

    def lines(self) -> list[str]:
        """The log."""
        moment = BEGAN + self.start
        header = {
            "k": "start",
            "format": 1,
            "run": self.run,
            "node": self.node,
            "kind": self.kind,
            "ip": self.ip or f"10.244.{NODES.index(self.node)}.5",
            "incarnation": self.incarnation,
            "boot": "x",
            "t": moment,
            "interval_ms": 50.0,
            "late_ms": 250.0,
            "bounds_ms": [1.0, 10.0, 100.0, 1000.0],
        }
        lines: list[Line] = [header]
        lines += [{"k": "path", "p": number, "node": "", "address": "10.96.0.1", "incarnation": "", **path} for number, path in self.paths.items()]
        time = self.start + 1
        while time <= self.end:
            if time not in self.silent:
                figures = [[number, 20, 20, 0, 0, 2.5, 52.5, [0, 15, 1, 5]] for number in self.paths]
                stalls = [[BEGAN + start, ms] for start, ms in self.stalls if time - 1 <= start < time]
                lag = max((ms for _start, ms in stalls), default=1.0)
                lines.append({"k": "s", "t": BEGAN + time, "lag": lag, "stalls": stalls, "cpu": (time - self.start) / 50, "f": figures})
            time += 1
        lines += [{**event, "t": BEGAN + event["t"]} for event in self.events]
        if self.stopped:
            lines.append({"k": "stop", "t": BEGAN + self.end})
        return [json.dumps(line) for line in lines]


def path(name: str, mode: str = "new", **changes: str) -> dict[str, str]:
    return {"path": name, "mode": mode, **changes}


def to(target: Log, name: str = "pod-other", mode: str = "new") -> dict[str, str]:
    """A path to a target."""
    return path(name, mode, node=target.node, address=target.ip or f"10.244.{NODES.index(target.node)}.5", incarnation=target.incarnation)


def failure(number: int, at: float, error: str | None = "timeout", ms: float = 2000.0, by: str = "") -> Line:
    """A probe that failed, or was late when there is no error."""
    return {"k": "probe", "p": number, "t": at, "ms": ms, "error": error, "by": by, "port": 40123, "lag": 0.0}


def gap(number: int, at: float, ms: float, lost: str = "", by: str = "") -> Line:
    """A gap that began then."""
    return {"k": "gap", "p": number, "t": at, "ms": ms, "by": by, "lost": lost}


def healthy() -> dict[tuple[str, str], Log]:
    """A prober of each kind on each node, which have nothing to probe yet."""
    return {(node, kind): Log(node, kind) for node in NODES for kind in ("target", "host", "pod")}


def analyse(logs: Iterable[Log], *, timeline: Iterable[Mapping[str, Any]] = (), **scope: Any) -> dict[str, Any]:
    """The report on a minute of three nodes, unless the scope is said to be another one."""
    logs = sorted(logs, key=lambda log: log.kind != "target")
    until = dict.fromkeys(NODES, BEGAN + 60.5)
    away = {node: [[BEGAN + start, BEGAN + end] for start, end in windows] for node, windows in scope.pop("away", {}).items()}
    found = {"run": "r1", "nodes": NODES, "since": BEGAN, "until": until, "away": away, "control_plane": ("ctr",), "cilium_cidr": CIDR, **scope}
    analysis = Analysis(Scope(**found))
    for log in logs:
        analysis.read(log.lines())
    return analysis.report(timeline)
