# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict on a kill, and the walk on a lab that is played."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from faults import journey, walk
from faults.baseline import Baseline
from faults.end_state import Cost
from faults.journey import Run
from faults.points import Boundary, Point, points
from lab import Failed, playbook

POINT = Point(3, 0.0, "move_node | Label")
STATE = {"nodes": {"k8s-w1": {"labels": ["a=b"]}}}
COST = Cost(1000, 0, 1, 200.0, "ok", "partial")


def run(status: int, last: str = POINT.task, left: int = 2) -> Run:
    return Run("run-1", status, 61.5, Path("log"), (Boundary(3, "Play", last, "x", 1.0),), left)


@pytest.mark.parametrize(
    ("killed", "resumed", "troubles", "words"),
    [
        (run(-9), run(0), [], "well"),
        (run(-9), run(0), ["a: 1 instead of 2", "b"], "a: 1 instead of 2; b"),
        (run(-9, "node | Read"), run(0), [], "killed in node | Read instead"),
        (run(-9), run(2, "ending | Read"), [], "resumed run: exit 2 in ending | Read"),
        (run(0, "evidence | Say"), None, [], "not killed: exit 0 in evidence | Say"),
    ],
)
def test_a_verdict(killed: Run, resumed: Run | None, troubles: list[str], words: str) -> None:
    assert walk.verdict(POINT, killed, resumed, troubles) == words


class PlayedLab:
    """Is restored without a trace, unless it is broken."""

    def __init__(self) -> None:
        self.restored: list[str] = []
        self.broken = False

    def restore(self, way: str) -> None:
        self.restored.append(way)
        if self.broken:
            raise Failed("lab_reset.yml ended with exit 2 after 3 s, see restore.log")


class PlayedJourney:
    """A migration that is killed where it is told, and goes on; each time it leaves ``state`` and costs ``cost``."""

    state_left: dict[str, Any] = STATE
    cost_left: Cost | None = COST

    def __init__(self, lab: PlayedLab, folder: Path, limit: str) -> None:
        folder.mkdir(parents=True)
        assert limit == "k8s-w1"

    def run(self, point: Point | None = None) -> Run:
        return run(0, left=0) if point is None else run(-9, point.task)

    def cost(self) -> Cost | None:
        return self.cost_left

    def state(self) -> dict[str, Any]:
        return self.state_left


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[walk.Walk, PlayedLab]:
    monkeypatch.setattr(walk, "Journey", PlayedJourney)
    lab = PlayedLab()
    return walk.Walk(tmp_path, lab, "k8s-w1", "reset", Baseline(STATE, COST, 100.0, ())), lab  # type: ignore[arg-type]


def test_a_walk_restores_kills_resumes_and_compares(played: tuple[walk.Walk, PlayedLab], tmp_path: Path) -> None:
    walked, lab = played
    walked.step(1, POINT)
    walked.step(2, Point(4, 2.5, "move_node | Prove", "verify"))
    assert lab.restored == ["reset", "reset"]
    written = [json.loads(line) for line in (tmp_path / "walk.jsonl").read_text(encoding="utf-8").splitlines()]
    assert written == walked.entries
    assert [entry["verdict"] for entry in written] == ["well", "well"]
    assert walk.summary_table(written)[2:] == [
        "| 3 move_node | Label | well | 61.5 | 2 | 0 | 1 | 200 |".replace("move_node | Label", "move_node \\| Label"),
        "| 4 move_node | Prove, 2.5 s later (step verify) | well | 61.5 | 2 | 0 | 1 | 200 |".replace("move_node | Prove", "move_node \\| Prove"),
    ]


def test_what_differs_or_costs_more_is_told(played: tuple[walk.Walk, PlayedLab], monkeypatch: pytest.MonkeyPatch) -> None:
    walked, _lab = played
    monkeypatch.setattr(PlayedJourney, "state_left", {"nodes": {"k8s-w1": {"labels": ["a=c"]}}})
    monkeypatch.setattr(PlayedJourney, "cost_left", Cost(1000, 3, 0, 200.0, "lost", "partial"))
    walked.step(1, POINT)
    assert walked.entries[0]["verdict"] == ("nodes/k8s-w1/labels: a=b is missing; nodes/k8s-w1/labels: a=c is too much; 3 requests were lost instead of 0")


def test_a_lab_that_breaks_is_a_verdict_and_not_the_end(played: tuple[walk.Walk, PlayedLab]) -> None:
    walked, lab = played
    lab.broken = True
    walked.step(1, POINT)
    lab.broken = False
    walked.step(2, POINT)
    assert [entry["verdict"] for entry in walked.entries] == ["lab_reset.yml ended with exit 2 after 3 s, see restore.log", "well"]
    assert "| - | - | - | - | - |" in walk.summary_table(walked.entries)[2]


def test_points_are_chosen_as_asked() -> None:
    found = points([Boundary(number, "Play", f"task {number}", "x", 1.0) for number in range(1, 101)])
    assert [point.number for point in walk.choose(found, (7, 9), None, 0)] == [7, 8, 9]
    assert len(walk.choose(found, None, 20, 1)) == 20 and walk.choose(found, None, 0, 1) == []
    assert {point.number for point in walk.choose(found, (7, 9), 20, 1)} == {7, 8, 9}


def test_a_playbook_is_run_with_its_variables_as_json() -> None:
    assert playbook("x.yml", "--limit", "a", b={"c": 1})[1:] == ("x.yml", "--limit", "a", "--extra-vars", '{"b": {"c": 1}}')
    assert playbook("x.yml")[1:] == ("x.yml",)


def test_a_run_that_is_gone_before_it_is_held_is_an_error(tmp_path: Path) -> None:
    made = journey.Journey.__new__(journey.Journey)
    process = journey.start(("true",), tmp_path / "log")
    process.wait(timeout=10)
    with pytest.raises(Failed, match="run-1 ended with exit 0 before it got there"):
        journey.Hold(made, "run-1", process, tmp_path).reach()
