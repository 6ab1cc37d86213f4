# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils import timeline

MIGRATION, MONITOR = timeline.ROLES
MOVE = "netops.cni_migration.cni_migrate_node"


def record(start: float, end: float, phase: str = "prepare", host: str = "w1", **changes: Any) -> dict[str, Any]:
    return {"run": 1.0, "task": f"{phase} {start:g}", "phase": phase, "host": host, "start": start, "end": end, "work": None, "status": "ok", **changes}


@pytest.mark.parametrize(
    ("role", "task", "action", "state", "phase"),
    [
        (MIGRATION, "preflight | Read the network of the node", "netops.cni_migration.cni_node_info", None, "preflight"),
        (MIGRATION, "move_node | Cordon and drain the node", MOVE, "drained", "drain"),
        (MIGRATION, "move_node | Cordon and drain the node, label it and restart its Cilium agent", MOVE, "switched", "drain"),
        (MIGRATION, "move_node | Prove it", MOVE, "verified", "verify"),
        (MIGRATION, "anything | Reboot", "ansible.builtin.reboot", None, "reboot"),
        (MIGRATION, "move_node | Spread cluster DNS", "netops.cni_migration.cni_spread_dns", None, "spread DNS"),
        (MIGRATION, "return_node | Spread cluster DNS", "netops.cni_migration.cni_spread_dns", None, "return"),
        (MIGRATION, "release | Install or upgrade Cilium", "kubernetes.core.helm", None, "prepare"),
        (MIGRATION, "rollback_prepare | Read where the cluster stands", "netops.cni_migration.cni_migration_info", None, "bring back"),
        (MIGRATION, "undo_ending | Create what the ending deleted", "netops.cni_migration.cni_old_network", "restored", "bring back"),
        (MIGRATION, "remove_cilium | Uninstall the release", "kubernetes.core.helm", None, "remove Cilium"),
        (MIGRATION, "clean_cilium | Purge its rules", "netops.cni_migration.iptables_purge", None, "clean"),
        (MIGRATION, "node_facts | Read the network of the node", "netops.cni_migration.cni_node_info", None, "before"),
        (MIGRATION, "move_node | Of a state that is computed", MOVE, "{{ state }}", "before"),
        (MIGRATION, "return_node | Prove the reboot", MOVE, "flannel", "return"),
        (MIGRATION, "Main | Take the chosen step", "ansible.builtin.include_tasks", None, "before"),
        (MONITOR, "start | Apply", "kubernetes.core.k8s", "present", "monitor"),
    ],
)
def test_a_task_belongs_to_the_phase_of_its_file_or_of_what_it_does(role: str, task: str, action: str, state: object, phase: str) -> None:
    assert timeline.phase_of(role, task, action, state, "before") == phase


def test_what_the_preflight_reads_of_a_node_is_the_preflights() -> None:
    task = "node_facts | Read the network of the node"
    assert timeline.phase_of(MIGRATION, task, "netops.cni_migration.cni_node_info", None, "prepare") == "preflight"


def test_cilium_is_brought_to_its_final_values_in_the_ending() -> None:
    assert timeline.phase_of(MIGRATION, "release | Install or upgrade Cilium", "kubernetes.core.helm", None, "ending") == "ending"


def test_a_move_has_a_record_for_each_step() -> None:
    steps = [{"name": name, "seconds": seconds} for name, seconds in (("cordon", 0.2), ("drain", 1.0), ("label", 0.1), ("restart_agent", 12.5))]
    whole = record(10.0, 25.0, "drain", action=MOVE, work=13.8)
    found = timeline.parts(whole, {"steps": steps})
    assert [(part["phase"], part["start"], part["end"], part["work"]) for part in found] == [
        ("drain", 10.0, 11.4, 0.2),  # what it took to start the task is the first one's
        ("drain", 11.4, 12.4, 1.0),
        ("switch", 12.4, 12.5, 0.1),
        ("switch", 12.5, 25.0, 12.5),
    ]
    assert all({**part, **whole} == whole for part in found)


@pytest.mark.parametrize(
    ("phase", "action", "result"),
    [
        ("return", MOVE, {"steps": [{"name": "unlabel", "seconds": 1.0}]}),
        ("drain", MOVE, {"steps": []}),
        ("drain", MOVE, {"msg": "it failed"}),
        ("clean", "netops.cni_migration.another", {"steps": [{"name": "drain", "seconds": 1.0}]}),
    ],
)
def test_what_is_no_step_of_a_move_is_one_record(phase: str, action: str, result: dict[str, Any]) -> None:
    whole = record(10.0, 25.0, phase, action=action)
    assert timeline.parts(whole, result) == [whole]


@pytest.mark.parametrize(
    ("action", "result", "seconds"),
    [
        ("ansible.builtin.set_fact", {}, 0.0),
        (MOVE, {"steps": [{"name": "cordon", "seconds": 0.4}, {"name": "drain", "seconds": 8.1}]}, 8.5),
        ("ansible.builtin.reboot", {"elapsed": 31}, 31.0),
        ("netops.cni_migration.iptables_purge", {"seconds": 0.25}, 0.25),
        ("ansible.builtin.command", {"delta": "0:01:02.500000"}, 62.5),
        ("ansible.builtin.command", {"results": [{"delta": "0:00:01.5"}, {"delta": "0:00:02"}]}, 3.5),
        ("ansible.builtin.command", {"results": [{"delta": "0:00:01.5"}, {"skipped": True}]}, None),
        ("ansible.builtin.command", {"delta": "1 day, 0:00:02"}, None),
        ("kubernetes.core.k8s", {"changed": True}, None),
        ("ansible.builtin.find", {"results": "none"}, None),
    ],
)
def test_own_work_is_what_the_task_tells(action: str, result: dict[str, Any], seconds: float | None) -> None:
    assert timeline.own_work(action, result) == seconds


def test_records_come_by_their_start_and_a_torn_line_is_passed_over() -> None:
    second, first = record(5, 9), record(1, 4)
    text = f'{json.dumps(second)}\n"no record"\n{json.dumps(first)}\n{json.dumps(first)[:30]}'
    assert timeline.parse(text) == [first, second]
    assert timeline.parse("") == []


def test_the_task_of_a_gap_is_the_one_that_covers_most_of_it() -> None:
    records = [record(0, 10), record(10.5, 20), record(12, 13, status="skipped"), record(30, 40)]

    def running(start: float, end: float) -> Any:
        found = timeline.running(records, start, end)
        return found and found["start"]

    assert running(9, 12) == 10.5
    assert running(9, 10.7) == 0
    assert running(22, 25) == 10.5, "between two tasks it is the one before"
    assert running(-5, -4) is None


def stretches(records: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(span["lane"], span["phase"], span["start"], span["end"]) for span in timeline.spans(records)]


def test_what_follows_each_other_in_one_lane_phase_and_run_is_one_stretch() -> None:
    records = [
        record(0, 2, "preflight", "w1"),
        record(0, 3, "preflight", "w2"),
        record(4, 5, "drain"),
        record(5, 8, "drain"),
        record(8, 9, "drain", status="skipped"),
        record(9, 10, "clean", "w1"),
        record(9, 11, "clean", "w2"),
        record(12, 13, "clean", "w1"),
        record(20, 21, "clean", "w1", run=2.0),
        record(30, 31, ""),
    ]
    assert stretches(records) == [
        ("cluster", "preflight", 0, 3),
        ("w1", "drain", 4, 8),
        ("w1", "clean", 9, 13),
        ("w2", "clean", 9, 11),
        ("w1", "clean", 20, 21),
    ]


def test_a_stretch_ends_when_another_phase_begins_in_any_lane() -> None:
    records = [
        record(0, 2, "monitor"),
        record(3, 5, "drain"),
        record(5, 6, "drain"),
        record(7, 8, "monitor"),
        record(8, 9, "monitor"),
        record(10, 11, "drain", "w2"),
        record(12, 13, "monitor", "w2"),
        record(14, 15, "drain"),
    ]
    assert stretches(records) == [
        ("cluster", "monitor", 0, 2),
        ("w1", "drain", 3, 6),
        ("cluster", "monitor", 7, 9),
        ("w2", "drain", 10, 11),
        ("cluster", "monitor", 12, 13),
        ("w1", "drain", 14, 15),
    ]


@pytest.mark.parametrize("between", [record(3, 4, "drain", status="skipped"), record(3, 4, ""), record(3, 4, "drain", run=0.0)])
def test_a_stretch_goes_on_over_what_is_no_other_work_of_its_run(between: dict[str, Any]) -> None:
    assert ("cluster", "monitor", 0, 6) in stretches([record(0, 2, "monitor"), between, record(5, 6, "monitor")])


def test_phases_of_several_nodes_at_once_are_one_stretch_each() -> None:
    records = [record(task + place / 10, task + 0.9, "clean", host) for task in range(4) for place, host in enumerate(("ctr", "w1", "w2"))]
    assert stretches(records) == [("ctr", "clean", 0, 3.9), ("w1", "clean", 0.1, 3.9), ("w2", "clean", 0.2, 3.9)]


def test_overhead_is_the_time_between_tasks_and_that_of_starting_them() -> None:
    records = [record(0, 10, work=6.0), record(2, 10, host="w2", work=8.0), record(11, 14), record(15, 16, work=0.0), record(100, 101, run=2.0, work=5.0)]
    assert timeline.overhead(records) == {"seconds": 17, "between": 2, "starting": 3}, "nobody worked from 0 to 2 and from 15 to 16"
    assert timeline.overhead([]) == {"seconds": 0, "between": 0, "starting": 0}


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00"), (65.4, "1:05"), (3845, "1:04:05")])
def test_a_clock_has_hours_only_when_it_needs_them(seconds: float, shown: str) -> None:
    assert timeline.clock(seconds) == shown


def status(moved: dict[str, bool], verdict: str = "partial") -> dict[str, Any]:
    return {"nodes": [{"name": name, "state": "migrated" if done else "flannel"} for name, done in moved.items()], "evidence": {"verdict": verdict}}


class Run:
    """A run whose clock the test sets."""

    def __init__(self, moved: dict[str, bool] | None = None, hosts: tuple[str, ...] = ("w1", "w2"), verdict: str = "partial") -> None:
        self.progress = timeline.Progress(0)
        for host in hosts:
            self.progress.task_started(host, "preflight", 0)
        if moved:
            self.progress.task_ended("w1", "netops.cni_migration.cni_migration_info", status(moved, verdict), 1)

    def start(self, host: str, phase: str, now: float) -> str | None:
        return self.progress.task_started(host, phase, now)

    def moved(self, host: str, now: float) -> None:
        self.progress.task_ended(host, MOVE, {"state_after": "migrated"}, now)


def test_a_line_comes_with_a_new_phase_only() -> None:
    run = Run()
    assert run.start("w1", "preflight", 5) is None
    assert run.start("w1", "", 6) is None
    assert run.start("w1", "drain", 7) == "[0:07] w1: drain"
    assert run.start("w1", "drain", 8) is None
    assert run.start("w2", "drain", 8) == "[0:08] w2: drain"


def test_without_a_phase_nothing_is_shown_in_the_end() -> None:
    assert timeline.Progress(0).ended(5) is None
    assert Run().progress.ended(65) == "[1:05] end"


def test_requests_are_shown_as_soon_as_they_are_judged() -> None:
    run = Run()
    judged = {"pod/dns/new/cilium>service": {"failed": 3}, "pod/api-server/new/cilium>api-server": {"failed": 9}}
    run.progress.task_ended("w1", "netops.cni_migration.disruption_info", {"requests": 12345, "by_path": judged}, 3)
    assert run.start("w1", "drain", 7) == "[0:07] w1: drain | 12,345 requests, 3 failed"


def test_counters_of_a_monitor_that_is_not_complete_are_not_shown() -> None:
    run = Run()
    run.progress.task_ended("w1", "netops.cni_migration.disruption_info", {"requests": 99, "paths": {"pod-other/new": {"failed": 2}}}, 3)
    assert run.start("w1", "drain", 7) == "[0:07] w1: drain"


def test_the_first_estimate_takes_the_stated_lengths_and_the_next_the_measured_ones() -> None:
    run = Run({"w1": False, "w2": False})
    assert run.start("w1", "prepare", 20) == "[0:20] cluster: prepare | 0 of 2 nodes moved | about 5:40 left"
    assert run.start("w1", "drain", 60) == "[1:00] w1: drain | 0 of 2 nodes moved | about 5:00 left"
    assert run.start("w1", "reboot", 80) == "[1:20] w1: reboot | 0 of 2 nodes moved | about 4:40 left"
    run.moved("w1", 100)
    assert run.start("w2", "drain", 100) == "[1:40] w2: drain | 1 of 2 nodes moved | about 2:40 left"
    run.moved("w2", 150)
    assert run.start("w1", "ending", 150) == "[2:30] cluster: ending | 2 of 2 nodes moved | about 2:00 left"
    assert run.start("w1", "clean", 200) == "[3:20] w1: clean | 2 of 2 nodes moved | about 1:10 left"


def test_with_a_limit_only_these_nodes_count_and_no_ending_comes() -> None:
    run = Run({"ctr": False, "w1": False, "w2": True}, hosts=("w1",))
    assert run.start("w1", "drain", 60) == "[1:00] w1: drain | 1 of 3 nodes moved | about 1:30 left"


def test_hosts_that_are_not_called_like_their_nodes_count_all_the_same() -> None:
    run = Run({"node-1": False, "node-2": False})
    run.start("w1", "drain", 60)
    run.moved("w1", 100)
    assert run.start("w2", "drain", 100) == "[1:40] w2: drain | 0 of 2 nodes moved | about 3:20 left"


def test_nothing_is_estimated_on_the_way_back_or_when_all_is_done() -> None:
    assert Run({"w1": True, "w2": True}).start("w1", "return", 9) == "[0:09] w1: return | 2 of 2 nodes moved"
    back = Run({"w1": True, "w2": True}, hosts=())
    assert back.start("w1", "bring back", 9) == "[0:09] cluster: bring back | 2 of 2 nodes moved"
    assert back.start("w1", "monitor", 10) == "[0:10] cluster: monitor | 2 of 2 nodes moved"
    assert Run({"w1": True, "w2": True}, verdict="migrated").start("w1", "ending", 9) == "[0:09] cluster: ending | 2 of 2 nodes moved"
