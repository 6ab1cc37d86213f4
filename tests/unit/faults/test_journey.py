# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A journey with a small playbook in the place of the migration: killed, resumed, held, and what is read of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from faults import journey
from faults.journey import MARK, Journey
from faults.points import Point
from lab import Failed, Lab
from processes import marked, tool


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Journey:
    """Each run adds a line to ``done`` by each of its two tasks."""
    done = tmp_path / "done"
    add = {"ansible.builtin.shell": {"cmd": f"echo $PPID >> {done}"}}
    tasks = [{"name": f"x | Add {name}", **add} for name in ("one", "two")]
    play = {"name": "Play", "hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    (tmp_path / "play.yml").write_text(json.dumps([play]), encoding="utf-8")
    interpreter = f"ansible_python_interpreter={sys.executable}"

    def playbook(path: str, *options: str, **variables: Any) -> tuple[str, ...]:
        assert (path, options) == ("migrate.yml", ("--limit", "k8s-w1"))
        assert variables.pop("cilium_migration_evidence_dir") == str(tmp_path / "journey" / "evidence")
        assert variables in ({"switch": "reboot"}, {"switch": "reboot", "short": True})
        return tool("ansible-playbook"), "-i", "localhost,", "-e", interpreter, str(tmp_path / "play.yml")

    monkeypatch.setattr(journey, "playbook", playbook)
    return Journey(Lab(tmp_path / "lab"), tmp_path / "journey", "k8s-w1", switch="reboot")


def lines(tmp_path: Path) -> int:
    return len((tmp_path / "done").read_text(encoding="utf-8").splitlines())


def test_a_run_is_killed_and_resumed(made: Journey, tmp_path: Path) -> None:
    killed = made.run(Point(2, 0.0, "x | Add two"))
    assert killed.killed and killed.last == "x | Add two" and killed.name == "run-1"
    assert lines(tmp_path) == 1
    resumed = made.run()
    assert (resumed.status, resumed.killed, resumed.last) == (0, False, "x | Add two")
    assert lines(tmp_path) == 3 and "PLAY RECAP" in made.log("run-2")


def test_a_run_is_held_and_goes_on(made: Journey, tmp_path: Path) -> None:
    with made.held("x | Add two", short=True) as hold:
        assert lines(tmp_path) == 1
        hold.let_go()
        assert hold.end().status == 0
    assert lines(tmp_path) == 2


def test_a_run_that_is_held_ends_with_who_held_it(made: Journey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marks: list[str] = []
    prepared = Journey._prepared

    def remember(self: Journey, point: Any) -> Any:
        name, env = prepared(self, point)
        marks.append(env[MARK])
        return name, env

    monkeypatch.setattr(Journey, "_prepared", remember)
    with pytest.raises(Failed, match="no such machine"), made.held("x | Add two"):
        raise Failed("no such machine")
    assert lines(tmp_path) == 1 and marked(MARK, marks[0]) == []


def test_a_task_that_never_starts_is_an_error(made: Journey) -> None:
    with pytest.raises(Failed, match="run-1 ended with exit 0 before it got there"), made.held("x | Another"):
        pass


def test_the_cost_is_read_from_the_evidence(made: Journey, tmp_path: Path) -> None:
    assert made.cost() is None
    folder = tmp_path / "journey" / "evidence" / "20260102T030405Z"
    folder.mkdir(parents=True)
    told = {"requests": 10, "by_path": {"pod/service/new": {"failed": 1}}, "max_gap_ms": 5.0, "disruption": "lost", "verdict": "partial"}
    (folder / "summary.json").write_text(json.dumps(told), encoding="utf-8")
    found = made.cost()
    assert found is not None and (found.requests, found.lost) == (10, 1)
