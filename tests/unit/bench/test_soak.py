# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The soak on a lab that is played, and what counts as left behind."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from bench.soak import leftovers, soak
from faults.baseline import Baseline
from faults.end_state import Cost
from faults.journey import Run
from faults.points import Boundary, Point
from lab import Failed
from processes import start

STATE = {"nodes": {"k8s-w1": {"labels": ["a=b"]}}}
COST = Cost(160_000, 0, 2, 234.0, "ok", "migrated")
POINT = Point(12, 3.5, "move_node | Prove")

MOUNTINFO = """\
22 1 0:20 / / rw,relatime shared:1 - overlay overlay rw,lowerdir=/a
28 22 0:24 / /sys/fs/cgroup rw,nosuid - tmpfs tmpfs rw
31 22 0:4 net:[4026532281] /run/netns/cni-lab rw shared:9 - nsfs nsfs rw
short
"""


def test_mount_points_are_read() -> None:
    assert leftovers.mount_points(MOUNTINFO) == {"/", "/sys/fs/cgroup", "/run/netns/cni-lab"}


def test_cgroups_of_the_lab_are_told_by_their_own_name() -> None:
    found = leftovers.cgroups(
        [
            "/sys/fs/cgroup/cpu/cni-lab-k8s-w1/kubepods/podx",
            "/sys/fs/cgroup/cpu/user.slice",
            "/sys/fs/cgroup/system.slice/cni-lab-k8s-w2.service/k8s-w2",
            "/sys/fs/cgroup/k8s-ctr-supervisor",
        ]
    )
    assert found == {"/sys/fs/cgroup/cpu/cni-lab-k8s-w1", "/sys/fs/cgroup/system.slice/cni-lab-k8s-w2.service", "/sys/fs/cgroup/k8s-ctr-supervisor"}


def test_only_what_is_new_is_left() -> None:
    before = {"links": {"lo", "eth0"}, "namespaces": set()}
    after = {"links": {"lo", "cni-lab0"}, "namespaces": {"cni-lab"}, "processes": set()}
    found = leftovers.left(before, after)
    assert found == {"links": ["cni-lab0"], "namespaces": ["cni-lab"]}
    assert leftovers.told(found) == "links: cni-lab0; namespaces: cni-lab" and leftovers.told({}) == "none"


def test_what_a_soak_has_started_is_seen_on_this_machine(tmp_path: Path) -> None:
    clean = leftovers.look("a-mark", tmp_path / "lab")
    assert "lo" in clean["links"] and "/" in clean["mounts"] and not clean["processes"] and not clean["folders"]
    sleeper = start(("sleep", "60"), tmp_path / "log", env={leftovers.MARK: "a-mark"})
    try:
        (tmp_path / "lab").mkdir()
        # Its parent is told that it runs a moment before its environment can be read.
        deadline = time.monotonic() + 10
        while not Path(f"/proc/{sleeper.pid}/environ").read_bytes() and time.monotonic() < deadline:
            time.sleep(0.01)
        found = leftovers.left(clean, leftovers.look("a-mark", tmp_path / "lab"))
    finally:
        sleeper.kill()
        sleeper.wait(timeout=10)
    assert found["processes"] == [f"{sleeper.pid} sleep 60"] and found["folders"] == [str(tmp_path / "lab")]


class PlayedLab:
    def __init__(self, folder: Path) -> None:
        self.settings = {"lab": str(folder / "lab")}
        self.done: list[str] = []
        self.fails = ""

    def restore(self, way: str) -> None:
        self.play(f"restore {way}", ())

    def play(self, name: str, _command: tuple[str, ...]) -> None:
        self.done.append(name)
        if name == self.fails:
            raise Failed(f"{name} ended with exit 2 after 3 s")


def run(status: int, last: str = POINT.task) -> Run:
    return Run("run-1", status, 200.4, Path("log"), (Boundary(12, "Play", last, "x", 1.0),), 2)


class PlayedJourney:
    statuses: tuple[int, int] = (-9, 0)
    cost_left: Cost | None = COST

    def __init__(self, lab: PlayedLab, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.left = list(self.statuses)

    def run(self, point: Point | None = None) -> Run:
        assert (point is None) == (len(self.left) == 1)
        return run(self.left.pop(0))

    def cost(self) -> Cost | None:
        return self.cost_left

    def state(self) -> dict[str, Any]:
        return STATE


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[soak.Soak, PlayedLab]:
    monkeypatch.setattr(soak, "Journey", PlayedJourney)
    monkeypatch.setitem(os.environ, leftovers.MARK, "no-such-mark")
    lab = PlayedLab(tmp_path)
    clean = leftovers.look("no-such-mark", Path("/nonexistent"))
    return soak.Soak(tmp_path, lab, "rebuild", Baseline(STATE, COST, 330.0, ()), clean), lab  # type: ignore[arg-type]


def test_a_round_goes_well(played: tuple[soak.Soak, PlayedLab], tmp_path: Path) -> None:
    soaked, lab = played
    soaked.round(1, POINT)
    assert lab.done == ["restore rebuild", "verify", "destroy"]
    assert soaked.entries[0]["verdict"] == "well"
    assert json.loads((tmp_path / "rounds.jsonl").read_text(encoding="utf-8")) == soaked.entries[0]
    told = "| 1 | 12 move_node \\| Prove, 3.5 s later | well | none | 200 | 200 | 160,000 | 0 | 2 | 234 |"
    assert soak.summary_table(soaked.entries)[2] == told


def test_what_is_lost_or_left_is_the_verdict(played: tuple[soak.Soak, PlayedLab], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    soaked, _lab = played
    monkeypatch.setattr(PlayedJourney, "cost_left", Cost(160_000, 3, 0, 234.0, "lost", "migrated"))
    (tmp_path / "lab").mkdir()
    soaked.round(1, POINT)
    assert soaked.entries[0]["verdict"] == f"3 requests were lost instead of 0; left on the machine: folders: {tmp_path / 'lab'}"


def test_a_run_that_is_not_resumed_ends_the_round(played: tuple[soak.Soak, PlayedLab], monkeypatch: pytest.MonkeyPatch) -> None:
    soaked, lab = played
    monkeypatch.setattr(PlayedJourney, "statuses", (0, 2))
    soaked.round(1, POINT)
    assert soaked.entries[0]["verdict"] == "not killed: exit 0 in move_node | Prove; resumed run: exit 2 in move_node | Prove, see log"
    assert lab.done == ["restore rebuild"], "the lab stays for who wants to look, until the next round builds its own"


def test_a_lab_that_cannot_be_built_is_a_verdict(played: tuple[soak.Soak, PlayedLab]) -> None:
    soaked, lab = played
    lab.fails = "restore rebuild"
    soaked.round(1, POINT)
    assert soaked.entries[0]["verdict"] == "restore rebuild ended with exit 2 after 3 s"
    assert "| - | - | - |" in soak.summary_table(soaked.entries)[2]
