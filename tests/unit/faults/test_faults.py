# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue of faults against what it speaks of, and the runner on a lab that is played."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from faults import baseline, catalogue, faults
from faults.catalogue import FAULTS, Fault, Scene
from faults.end_state import Cost
from faults.journey import Run
from faults.points import Boundary
from lab import Failed, Lab
from processes import ROOT
from tabular import put

BY_NAME = {fault.name: fault for fault in FAULTS}
STATE = {"nodes": {name: {"state": "flannel", "unschedulable": False, "ready": True} for name in ("k8s-ctr", "k8s-w1", "k8s-w2")}}


def tasks_of(blocks: list[dict[str, Any]]) -> Iterator[str]:
    for each in blocks:
        yield each.get("name", "")
        for part in ("block", "rescue", "always"):
            yield from tasks_of(each.get(part, []))


def test_the_documentation_has_a_row_for_each_fault_and_none_besides() -> None:
    text = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    assert put(text, faults.PLACE, catalogue.document()) == text, "run python tests/faults/faults.py --write docs/faults.md"
    assert [row[0] for row in re.findall(r"^\| .* \| `(\w+)`( )\|$", text, re.MULTILINE)] == list(BY_NAME)
    assert len(BY_NAME) == len(FAULTS)


def test_each_fault_is_made_at_a_task_that_there_is() -> None:
    files = (ROOT / "roles" / "cilium_migration" / "tasks").glob("*.yml")
    names = {name for path in files for name in tasks_of(yaml.safe_load(path.read_text(encoding="utf-8")))}
    assert {fault.task for fault in FAULTS if fault.task} <= names


def test_each_fault_that_is_made_is_lifted() -> None:
    for fault in FAULTS:
        assert (fault.make is catalogue.nothing) == (not fault.task), fault.name
        assert fault.lift is not catalogue.nothing or fault.name in ("agent_crashes", "image_missing", "second_operator"), fault.name


SEEN: dict[str, str] = yaml.safe_load((Path(__file__).parent / "seen.yml").read_text(encoding="utf-8"))


def run(status: int = 2, last: str = "move_node | Prove") -> Run:
    return Run("run-1", status, 100.0, Path("log"), (Boundary(3, "Play", last, "x", 1.0),), 0)


@pytest.mark.parametrize("name", [name for name in BY_NAME if BY_NAME[name].sees])
def test_what_is_seen_is_recognised_and_nothing_else(name: str) -> None:
    fault = BY_NAME[name]
    assert faults.shown(fault, run(0 if fault.survives else 2), SEEN[name]) == []
    others = [text for other, text in SEEN.items() if BY_NAME[other].sees != fault.sees]
    assert not all(re.search(fault.sees, " ".join(text.split())) for text in others)
    assert any("did not see" in line for line in faults.shown(fault, run(), "TASK [preflight | Refuse to start]"))


def test_a_run_that_ends_otherwise_than_it_should_is_told() -> None:
    assert faults.shown(BY_NAME["etcd_slow"], run(2), "") == ["it should have come to its end, and ended with exit 2 in move_node | Prove"]
    assert faults.shown(BY_NAME["ssh_hangs"], run(0), SEEN["ssh_hangs"]) == ["it should have failed, and came to its end"]


def standing_of(**nodes: dict[str, Any]) -> dict[str, Any]:
    return {"nodes": {name: {**node, **nodes.get(name.replace("-", "_"), {})} for name, node in STATE["nodes"].items()}}


def test_where_the_cluster_stands_is_judged() -> None:
    fault = BY_NAME["never_back"]
    switched = {"state": "switched", "unschedulable": True}
    assert faults.standing(fault, standing_of(k8s_w1=switched)) == []
    assert faults.standing(fault, standing_of()) == ["k8s-w1 is flannel instead of switched", "k8s-w1 is schedulable"]
    others = standing_of(k8s_w1=switched, k8s_w2={"state": "draining", "unschedulable": True}, k8s_ctr={"ready": False})
    assert faults.standing(fault, others) == ["k8s-ctr is not Ready", "k8s-w2, which the run was not about, is draining, cordoned"]


def test_a_run_over_all_nodes_may_have_moved_the_others() -> None:
    moved = {"state": "migrated"}
    assert faults.standing(BY_NAME["power_cut_clean"], standing_of(k8s_w1=moved, k8s_w2=moved, k8s_ctr=moved)) == []


class PlayedLab(Lab):
    """Notes what is done to it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._settings = {"lab": str(folder), "values_extra": {"devices": ["eth1"], "envoy": {"enabled": False}}}
        self.done: list[str] = []

    def on(self, node: str, script: str) -> str:
        self.done.append(f"{node}: {script}")
        return ""

    def kubectl(self, *arguments: str, given: str = "") -> str:
        self.done.append(f"kubectl {' '.join(arguments)}")
        return ""

    def power_off(self, node: str) -> None:
        self.done.append(f"off {node}")

    def power_on(self) -> None:
        self.done.append("on")

    def restore(self, way: str) -> None:
        self.done.append(f"restore {way}")

    def play(self, name: str, command: tuple[str, ...], seconds: float = 0) -> None:
        self.done.append(f"play {name}")


def test_what_lasts_for_a_while_is_a_command_that_a_shell_understands(tmp_path: Path) -> None:
    lab = PlayedLab(tmp_path)
    for name in ("api_away_drain", "etcd_slow"):
        BY_NAME[name].make(Scene(lab, tmp_path))
    catalogue._port_closed(Scene(lab, tmp_path))
    for line in lab.done:
        words = shlex.split(line.partition(": ")[2])
        assert words[:4] == ["systemd-run", "--quiet", "--collect", "--unit=cni-fault"] and words[5:7] == ["/bin/sh", "-c"] and len(words) == 8
        undo = shlex.split(words[4].removeprefix("--property=ExecStopPost="))
        assert undo[:2] == ["/bin/sh", "-c"] and len(undo) == 3
        for script in (words[7], undo[2]):
            subprocess.run(["sh", "-n", "-c", script], check=True)


def test_what_fills_and_empties_is_understood_by_a_shell(tmp_path: Path) -> None:
    lab = PlayedLab(tmp_path)
    catalogue.fill_run(Scene(lab, tmp_path))
    catalogue.empty_run(Scene(lab, tmp_path))
    assert [line.partition(": ")[0] for line in lab.done] == ["k8s-w1"] * 3
    for line in lab.done:
        subprocess.run(["sh", "-n", "-c", line.partition(": ")[2]], check=True)


def test_a_value_that_crashes_agents_leaves_what_the_lab_needs(tmp_path: Path) -> None:
    given = catalogue.bad_routing_cidr(PlayedLab(tmp_path))["cilium_migration_values_extra"]
    assert given == {"devices": ["eth1"], "envoy": {"enabled": False}, "ipv4NativeRoutingCIDR": "nonsense"}


class PlayedHold:
    def __init__(self, lab: PlayedLab) -> None:
        self.lab = lab

    def let_go(self) -> None:
        self.lab.done.append("go")

    def end(self) -> Run:
        self.lab.done.append("end")
        return run()


class PlayedJourney:
    """A migration that fails at its fault, and goes on afterwards; its user sees what ``log`` says."""

    states: tuple[dict[str, Any], ...] = (standing_of(k8s_w1={"state": "draining", "unschedulable": True}), STATE)

    def __init__(self, lab: PlayedLab, folder: Path, limit: str) -> None:
        folder.mkdir(parents=True)
        self.lab, self.left = lab, list(self.states)

    @contextlib.contextmanager
    def held(self, task: str, **variables: Any) -> Iterator[PlayedHold]:
        self.lab.done.append(f"held at {task}")
        assert variables == catalogue.SHORT
        yield PlayedHold(self.lab)

    def run(self, **variables: Any) -> Run:
        self.lab.done.append("run")
        return run(0)

    def log(self, _name: str) -> str:
        return SEEN["eviction_refused"]

    def state(self, _name: str = "") -> dict[str, Any]:
        return self.left.pop(0)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[faults.Round, PlayedLab]:
    monkeypatch.setattr(faults, "Journey", PlayedJourney)
    reference = baseline.Baseline(STATE, Cost(1, 0, 0, 1.0, "ok", "partial"), 1.0, ())
    monkeypatch.setattr(baseline, "recorded", lambda _limit: reference)
    lab = PlayedLab(tmp_path / "lab")
    return faults.Round(tmp_path, lab, "reset"), lab


def test_a_fault_is_made_seen_lifted_and_gone_on_from(played: tuple[faults.Round, PlayedLab], tmp_path: Path) -> None:
    made, lab = played
    made.take(BY_NAME["eviction_refused"])
    patch = "kubectl --namespace default patch poddisruptionbudget webpod --type merge --patch"
    assert lab.done == [
        "restore reset",
        "held at move_node | Cordon and drain the node, label it and restart its Cilium agent",
        f'{patch} {{"spec": {{"minAvailable": null, "maxUnavailable": 0}}}}',
        "go",
        "end",
        f'{patch} {{"spec": {{"minAvailable": 1, "maxUnavailable": null}}}}',
        "play rollback",
        "run",
    ]
    assert made.entries == [{"fault": "eviction_refused", "run_s": 100.0, "resume_s": 100.0, "verdict": "well"}]
    assert json.loads((tmp_path / "faults.jsonl").read_text(encoding="utf-8")) == made.entries[0]
    assert faults.summary_table(made.entries)[2] == "| eviction_refused | well | 100 | 100 |"


def test_a_fault_is_lifted_when_it_cannot_be_made(played: tuple[faults.Round, PlayedLab]) -> None:
    made, lab = played

    def fail(_scene: Scene) -> None:
        raise Failed("ssh ended with exit 255: no route")

    made.take(dataclasses.replace(BY_NAME["eviction_refused"], make=fail))
    assert made.entries[0]["verdict"] == "ssh ended with exit 255: no route" and made.entries[0]["run_s"] is None
    assert '"minAvailable": 1' in lab.done[-1]


def test_what_is_not_as_it_should_be_is_the_verdict(played: tuple[faults.Round, PlayedLab], monkeypatch: pytest.MonkeyPatch) -> None:
    made, _lab = played
    monkeypatch.setattr(PlayedJourney, "states", (STATE, standing_of(k8s_w1={"ready": False})))
    made.take(BY_NAME["eviction_refused"])
    assert made.entries[0]["verdict"] == "k8s-w1 is flannel instead of draining; k8s-w1 is schedulable; nodes/k8s-w1/ready: False instead of True"


def test_a_fault_of_variables_alone_holds_nothing(played: tuple[faults.Round, PlayedLab]) -> None:
    made, lab = played
    made.take(BY_NAME["image_missing"])
    assert lab.done == ["restore reset", "run", "run"]
    assert "it should have failed, and came to its end" in made.entries[0]["verdict"]


def test_every_fault_is_a_fault() -> None:
    assert all(isinstance(fault, Fault) and fault.states for fault in FAULTS)
