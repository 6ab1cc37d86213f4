# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a run can be killed: from what the callback ``fault_point`` wrote of an undisturbed one. Pure."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOVER = "cni_migrate_node"

SHORTEST_STEP = 1.0
"""Steps that take less cannot be hit by a clock from outside; the unit tests die at each of their requests."""


@dataclass(frozen=True)
class Boundary:
    """The start of a task. ``at`` is in seconds since the epoch; ``steps`` (name, seconds) and ``ended`` are told by some tasks only."""

    number: int
    play: str
    task: str
    action: str
    at: float
    steps: tuple[tuple[str, float], ...] = ()
    ended: float = 0.0


@dataclass(frozen=True, order=True)
class Point:
    """A moment in a run: ``seconds`` after the start of the task with this number, 0 for the boundary itself. ``step`` is the one that runs then."""

    number: int
    seconds: float
    task: str
    step: str = ""

    def told(self) -> str:
        """The point in a line."""
        inside = f", {self.seconds:g} s later" + (f" (step {self.step})" if self.step else "") if self.seconds else ""
        return f"{self.number} {self.task}{inside}"


def records(text: str) -> list[dict[str, Any]]:
    """The lines of ``boundaries.jsonl``; one that a kill left unfinished is passed over."""
    found = []
    for line in text.splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def boundaries(lines: Iterable[Mapping[str, Any]]) -> list[Boundary]:
    """The starts of tasks, in order, each with the steps that it told of."""
    starts: dict[int, Boundary] = {}
    for line in lines:
        if "task" in line:
            starts[line["number"]] = Boundary(line["number"], line["play"], line["task"], line["action"], line["at"])
        elif "steps" in line and line["number"] in starts:
            start = starts[line["number"]]
            steps = tuple((str(name), float(seconds)) for name, seconds in line["steps"])
            starts[start.number] = Boundary(start.number, start.play, start.task, start.action, start.at, steps, line["ended"])
    return list(starts.values())


def points(starts: Iterable[Boundary]) -> list[Point]:
    """Every boundary, and the middle of each step of ``cni_migrate_node`` that is long enough to be hit."""
    found = []
    for start in starts:
        found.append(Point(start.number, 0.0, start.task))
        if start.action.rpartition(".")[2] == MOVER:
            found += _inside(start)
    return found


def _inside(start: Boundary) -> Iterable[Point]:
    # What a module does is the last part of its task's time: first Ansible has to get it going.
    moment = max(0.0, start.ended - start.at - sum(seconds for _name, seconds in start.steps))
    for name, seconds in start.steps:
        if seconds >= SHORTEST_STEP:
            yield Point(start.number, round(moment + seconds / 2, 1), start.task, name)
        moment += seconds


def at_moment(starts: Sequence[Boundary], fraction: float) -> Point:
    """The moment at this ``fraction`` of the time from the first to the last of ``starts``."""
    moment = starts[0].at + fraction * (starts[-1].at - starts[0].at)
    here = max((start for start in starts if start.at <= moment), key=lambda start: start.number)
    return Point(here.number, round(moment - here.at, 1), here.task)


def between(found: Sequence[Point], first: int, last: int) -> list[Point]:
    """Those with a number from ``first`` to ``last``."""
    return [point for point in found if first <= point.number <= last]


def sample(found: Sequence[Point], count: int, seed: int) -> list[Point]:
    """``count`` of them by chance, in order: the same ones for the same ``seed``."""
    return sorted(random.Random(seed).sample(list(found), min(count, len(found))))


def parse_range(text: str) -> tuple[int, int]:
    """``12-30``, or ``12`` alone. Raises :class:`ValueError`."""
    first, dash, last = text.partition("-")
    limits = int(first), int(last if dash else first)
    if limits[0] > limits[1]:
        raise ValueError(f"{text} ends before it begins")
    return limits
