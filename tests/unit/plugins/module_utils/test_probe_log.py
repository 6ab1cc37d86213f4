# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a prober's log, whole or cut off."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from probe_lines import BEGAN, Log, failure, gap, path, to

from ansible_collections.netops.cni_migration.plugins.module_utils.probe_log import Event, Figures, Interval, LogError, LogReader, Prober

TARGET = Log("w1", "target")
SOURCE = Log("w2", "pod", end=5.0, paths={1: to(TARGET), 2: path("dns", "reused")}, events=[failure(1, 4.5), gap(1, 4.5, 700.0, by=TARGET.by)])


def read(lines: Iterable[str], **options: Any) -> tuple[Prober, list[Figures | Event]]:
    reader = LogReader("r1")
    items = list(reader.read(lines, **options))
    prober = next(iter(reader.probers.values()))
    return prober, items


def test_a_log() -> None:
    prober, items = read(SOURCE.lines())
    assert (prober.node, prober.kind, prober.incarnation) == ("w2", "pod", "w2-pod-0")
    assert (prober.started, prober.last, prober.stopped, prober.cpu_seconds) == (BEGAN, BEGAN + 5, True, 0.1)
    assert prober.observed == [Interval(BEGAN, BEGAN + 5)]
    figures = [item for item in items if isinstance(item, Figures)]
    assert len(figures) == 10
    assert (figures[0].path.name, figures[0].path.incarnation, figures[0].time, figures[0].answered) == ("pod-other", TARGET.incarnation, BEGAN + 1, 20)
    events = [item for item in items if isinstance(item, Event)]
    assert [(event.what, event.error, event.by, event.lost) for event in events] == [("probe", "timeout", "", ""), ("gap", None, TARGET.by, "")]
    assert events[0].span == Interval(BEGAN + 4.5, BEGAN + 6.5)


def test_a_failure_lost_the_connection_to_whom_it_names() -> None:
    log = Log("w2", "pod", end=5.0, paths={1: path("cluster-ip", "reused")}, events=[failure(1, 4.5, "reset", by=TARGET.by)])
    (event,) = (item for item in read(log.lines())[1] if isinstance(item, Event))
    assert (event.by, event.lost) == ("", TARGET.by)


def test_the_clock_of_a_node_is_corrected() -> None:
    prober, items = read(Log("w2", "pod", end=5.0, paths={1: to(TARGET)}, events=[failure(1, 4.5)], stalls=[[2.5, 100.0]]).lines(), clock_offset=100.0)
    assert (prober.started, prober.last) == (BEGAN - 100, BEGAN - 95)
    assert prober.stalls == [Interval(BEGAN - 97.5, BEGAN - 97.4)]
    assert items[-1].time == BEGAN - 95.5


def test_a_line_that_was_cut_off_ends_the_log() -> None:
    lines = SOURCE.lines()
    prober, items = read([*lines[:5], lines[5][:20]])
    assert not prober.stopped
    assert len(items) == 4


def test_a_missing_second_is_borne_and_several_are_not() -> None:
    assert len(read(Log("w2", "pod", silent=[4.0]).lines())[0].observed) == 1
    assert read(Log("w2", "pod", end=10.0, silent=[4.0, 5.0, 6.0]).lines())[0].observed == [Interval(BEGAN, BEGAN + 3), Interval(BEGAN + 7, BEGAN + 10)]


def test_segments_of_one_prober_are_one() -> None:
    lines = SOURCE.lines()
    reader = LogReader("r1")
    assert len(list(reader.read(lines[:5]))) == 4
    assert len(list(reader.read(lines[:3] + lines[5:]))) == 8
    prober = next(iter(reader.probers.values()))
    assert prober.observed == [Interval(BEGAN, BEGAN + 5)]


def test_another_run_is_left_out() -> None:
    reader = LogReader("r2")
    assert list(reader.read(SOURCE.lines())) == []
    assert reader.probers == {}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([SOURCE.lines()[3]], "begins without a start line"),
        ([SOURCE.lines()[0].replace('"format": 1', '"format": 2')], "has format 2, not 1"),
        ([json.dumps({"k": "start", "run": "r1"})], "not a line of a prober"),
        ([SOURCE.lines()[0], SOURCE.lines()[3]], "not a line of a prober"),  # a path that was not declared
        (["[]"], "not a line of a prober"),
    ],
)
def test_what_no_prober_wrote_is_refused(lines: list[str], words: str) -> None:
    with pytest.raises(LogError, match=words):
        read(lines)
