# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what a run announced to the moments at which another one is killed."""

from __future__ import annotations

import json

import pytest
from faults.points import Point, at_moment, between, boundaries, parse_range, points, records, sample

MOVER = "netops.cni_migration.cni_migrate_node"
LINES = [
    {"number": 1, "play": "Move", "role": "", "task": "node | Read", "action": "x", "at": 100.0},
    {"number": 2, "play": "Move", "role": "", "task": "move_node | Label", "action": MOVER, "at": 102.0},
    {"number": 2, "host": "k8s-w1", "ended": 120.0, "steps": [["drain", 0.1], ["label", 0.02], ["restart_agent", 14.0]]},
    {"number": 3, "play": "Move", "role": "", "task": "budget | Read", "action": "x", "at": 121.0},
    {"number": 3, "host": "k8s-w1", "ended": 125.0, "steps": [["drain", 3.0]]},
    {"number": 9, "host": "k8s-w1", "ended": 125.0, "steps": [["drain", 3.0]]},
    {"acted": "kill", "number": 3, "at": 125.0},
]
TEXT = "".join(json.dumps(line) + "\n" for line in LINES)


def test_every_boundary_is_a_point_and_the_middle_of_each_step_that_lasts() -> None:
    found = points(boundaries(records(TEXT)))
    label = "move_node | Label"
    # Of 18 s the last 14.12 are the module's own, and of these the first 0.12 the other steps'.
    assert found == [Point(1, 0, "node | Read"), Point(2, 0, label), Point(2, 11.0, label, "restart_agent"), Point(3, 0, "budget | Read")]


def test_a_line_that_a_kill_left_unfinished_is_passed_over() -> None:
    assert len(boundaries(records(TEXT + '{"number": 4, "pl'))) == 3


def test_points_are_chosen_by_number_and_by_chance() -> None:
    found = points(boundaries(records(TEXT)))
    assert [point.number for point in between(found, 2, 2)] == [2, 2]
    assert sample(found, 2, 7) == sample(found, 2, 7) == sorted(sample(found, 2, 7))
    assert {tuple(sample(found, 2, seed)) for seed in range(20)} != {tuple(sample(found, 2, 7))}
    assert sample(found, 100, 7) == found


@pytest.mark.parametrize(("text", "limits"), [("12-30", (12, 30)), ("12", (12, 12))])
def test_a_range(text: str, limits: tuple[int, int]) -> None:
    assert parse_range(text) == limits


@pytest.mark.parametrize("text", ["", "a-b", "3-", "30-12", "-3"])
def test_a_range_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"invalid literal|ends before"):
        parse_range(text)


def test_a_point_is_told_in_a_line() -> None:
    assert Point(3, 0, "budget | Read").told() == "3 budget | Read"
    assert Point(2, 11.0, "move_node | Label", "restart_agent").told() == "2 move_node | Label, 11 s later (step restart_agent)"
    assert Point(2, 1.5, "x").told() == "2 x, 1.5 s later"


@pytest.mark.parametrize(
    ("fraction", "point"),
    [
        (0.0, Point(1, 0.0, "node | Read")),
        (0.5, Point(2, 8.5, "move_node | Label")),
        (2 / 21, Point(2, 0.0, "move_node | Label")),
        (1.0, Point(3, 0.0, "budget | Read")),
    ],
)
def test_a_moment_is_a_point_in_the_task_that_ran_then(fraction: float, point: Point) -> None:
    assert at_moment(boundaries(records(TEXT)), fraction) == point
