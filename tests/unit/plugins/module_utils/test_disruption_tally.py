# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows of time, sums, and the task that ran when."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils.disruption_tally import MODES, PATHS, Counts, Timeline, totals
from ansible_collections.netops.cni_migration.plugins.module_utils.disruption_windows import Windows, seconds
from ansible_collections.netops.cni_migration.plugins.module_utils.probe_log import Interval


def windows(*pairs: tuple[float, float]) -> Windows:
    return Windows(Interval(*pair) for pair in pairs)


def test_windows_are_merged() -> None:
    assert list(windows((5, 6), (1, 3), (2, 4), (4, 4.5), (9, 9))) == [(1, 4.5), (5, 6)]


@pytest.mark.parametrize(
    ("span", "within", "outside"),
    [
        ((0, 10), [(1, 2), (4, 6)], [(0, 1), (2, 4), (6, 10)]),
        ((1.5, 5), [(1.5, 2), (4, 5)], [(2, 4)]),
        ((2, 4), [], [(2, 4)]),
        ((4.5, 5), [(4.5, 5)], []),
        ((7, 8), [], [(7, 8)]),
    ],
)
def test_a_span_is_divided(span: tuple[float, float], within: list[tuple[float, float]], outside: list[tuple[float, float]]) -> None:
    some = windows((1, 2), (4, 6))
    assert some.within(Interval(*span)) == within
    assert some.outside(Interval(*span)) == outside
    assert seconds(some.within(Interval(*span))) + seconds(some.outside(Interval(*span))) == span[1] - span[0]


@pytest.mark.parametrize(("span", "expected"), [((0, 0.9), False), ((0, 1), True), ((2, 3), True), ((2.1, 3.9), False), ((5, 5), True), ((7, 9), False)])
def test_spans_touch(span: tuple[float, float], expected: bool) -> None:
    assert windows((1, 2), (4, 6)).touch(Interval(*span)) is expected


def test_windows_are_widened() -> None:
    assert list(windows((1, 2), (4, 6)).widened(1.0)) == [(0, 7)]
    assert not windows()


def task(name: str, start: float, end: float) -> dict[str, Any]:
    return {"task": name, "host": f"host of {name}", "start": start, "end": end}


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ((15, 16), "drain"),
        ((22, 40), "reboot"),
        ((45, 46), "long"),  # of those that run the last one begun, however long ago
        ((61, 65), "late"),  # none ran when it began
        ((61, 62), ""),
        ((90, 99), ""),
        ((1, 2), ""),
    ],
)
def test_the_task_that_ran(span: tuple[float, float], expected: str) -> None:
    timeline = Timeline([task("late", 64, 70), task("reboot", 20, 40), task("drain", 10, 20), task("long", 5, 60)])
    assert timeline.at(Interval(*span)) == {"task": expected, "host": f"host of {expected}" if expected else ""}


def test_percentiles() -> None:
    counts = Counts(max_ms=7000.0)
    counts.buckets.update({0: 50, 1: 45, 3: 5})
    bounds = [1.0, 10.0, 100.0]
    assert [counts.percentile(share, bounds) for share in (0.5, 0.51, 0.95, 0.99)] == [1.0, 10.0, 10.0, 7000.0]
    assert Counts().percentile(0.5, bounds) == 0.0


def status(kind: str, **changes: Any) -> dict[str, Any]:
    counts = {f"{path}/{mode}": [100, 0, 1, 55.0] for path in PATHS for mode in MODES} if kind != "target" else {}
    return {"run": "r1", "ip": "10.244.0.5", "t": 100.0, "totals": counts, **changes}


def stats(**changes: Any) -> dict[str, Any]:
    return {"t": 101.0, "probers": {**{kind: status(kind) for kind in ("host", "pod", "target")}, **changes}}


def test_totals_leave_the_api_server_out() -> None:
    found = totals("r1", {"w1": stats(), "w2": stats()}, [])
    assert {key: found[key] for key in ("requests", "failed", "late", "max_gap_ms", "waiting_for")} == {
        "requests": 4000,
        "failed": 0,
        "late": 40,
        "max_gap_ms": 55.0,
        "waiting_for": [],
    }
    assert found["paths"]["pod/api-server/reused"] == {"requests": 200, "failed": 0, "late": 2, "max_gap_ms": 55.0}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"pod": None}, "the pod prober of w1"),
        ({"pod": status("pod", run="r0")}, "the pod prober of w1"),
        ({"target": status("target", ip="")}, "the target prober of w1"),
        ({"host": status("host", t=90.0)}, "the host prober of w1"),
        ({"pod": status("pod", totals={**status("pod")["totals"], "dns/new": [3, 3, 0, 0.0]})}, "an answer on dns/new to the pod prober of w1"),
    ],
)
def test_what_is_missing_is_told(changes: dict[str, Any], expected: str) -> None:
    assert totals("r1", {"w1": stats(**changes), "w2": stats()}, [])["waiting_for"] == [expected]


def test_a_node_that_does_not_answer_is_told() -> None:
    assert totals("r1", {"w1": stats()}, ["w2"])["waiting_for"] == ["the probers of w2"]


def test_a_single_node_has_no_other_to_wait_for() -> None:
    counts = {key: value for key, value in status("pod")["totals"].items() if not key.startswith("pod-other")}
    assert totals("r1", {"w1": stats(pod=status("pod", totals=counts))}, [])["waiting_for"] == []
