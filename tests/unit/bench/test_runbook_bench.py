# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bench of the runbook: from what a script or a migration leaves to the tables of the README."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from bench.runbook import figures, table
from bench.runbook.figures import Phase, Piece

BENCH = Path(__file__).resolve().parents[2] / "bench" / "runbook"

OUTPUT = """\
node/k8s-w1 cordoned

PHASE install - 100.000000 120.500000
PHASE cordon k8s-w1 120.500000 121.000000
PHASE drain k8s-w1 121.000000 131.000000
eth0@if11 UP 10.245.0.179/32
ok
PHASE reboot k8s-w1 140.000000 140.250000
PHASE return k8s-w1 140.250000 170.000000
PHASE uncordon k8s-w1 175.000000 175.500000
# not one: PHASE drain k8s-w2 1.0 2.0
PHASE cordon k8s-w2 176.000000 176.500000
PHASE reboot k8s-w2 180.000000 180.500000
PHASE return k8s-w2 180.500000 not-yet
"""


def record(task: str, phase: str, start: float, end: float, **more: Any) -> dict[str, Any]:
    """A line of a timeline."""
    return {"task": task, "phase": phase, "host": "k8s-w1", "action": "x", "start": start, "end": end, "work": None, "status": "ok", **more}


def move(task: str, phase: str, start: float, end: float, work: float) -> dict[str, Any]:
    """A line of the module that moves nodes."""
    return record(f"move_node | {task}", phase, start, end, work=work, action="netops.cni_migration.cni_migrate_node")


TIMELINE = [
    record("Main | Take the chosen step", "", 101.0, 101.5, work=0.0),
    record("preflight | Compare", "preflight", 102.0, 104.0),
    record("prepare | Start the disruption monitor", "prepare", 104.0, 104.0),
    record("Main | Take the chosen step", "monitor", 104.0, 104.5, work=0.0),
    record("start | Run the probers", "monitor", 104.5, 114.0),
    record("release | Install or upgrade Cilium", "monitor", 114.0, 130.0),
    record("node_config | Create", "prepare", 130.0, 131.0),
    record("node | Read where the node stands", "record", 131.0, 132.0, work=0.5),
    record("move_node | Start the kubelet", "record", 132.0, 132.0, status="skipped"),
    move("Cordon and drain the node", "drain", 132.0, 143.0, 10.0),
    record("reboot_node | Reboot the node", "reboot", 143.0, 146.0, work=2.0),
    move("Prove that the node was renewed", "reboot", 146.0, 172.0, 25.0),
    move("Prove that the node was renewed", "verify", 172.0, 176.0, 4.0),
    record("rejoin | Wait", "monitor", 176.0, 178.0),
    move("Uncordon the node", "uncordon", 178.0, 179.0, 0.1),
    record("collect | Read and judge the logs", "monitor", 179.0, 189.0),
    record("release | Install or upgrade Cilium", "ending", 190.0, 200.0),
    record("clean_node | Purge its rules", "clean", 200.0, 202.0, work=1.0),
    record("clean_node | Purge its rules", "clean", 200.0, 203.0, work=1.0, host="k8s-w2"),
]
SUMMARY = {"verdict": "migrated"}


def a_run(**more: Any) -> dict[str, Any]:
    """A record of runs.jsonl."""
    return {
        "round": 1,
        "contender": "reboot",
        "began": "2026-01-17T09:30:12Z",
        "cores": 2,
        "ended": "well",
        "stopped_in": "",
        "requests": 1000,
        "failed": 0,
        "max_gap_ms": 120.4,
        "api_silence_ms": 33000.0,
        "verdict": "ok",
        "total_s": 400.0,
        "idle_s": None,
        "nodes": {"k8s-w1": 80.0, "k8s-w2": 90.0, "k8s-ctr": 100.0},
        "phases": {"install": 30.0, "monitor": 40.0, "ansible": 20.0},
        **more,
    }


def test_phases_of_a_script_are_the_whole_lines_it_printed() -> None:
    phases = figures.parse_phases(OUTPUT)
    assert phases[0] == Phase("install", "", 100.0, 120.5)
    assert [phase.name for phase in phases[1:]] == ["cordon", "drain", "reboot", "return", "uncordon", "cordon", "reboot"]


def test_a_node_is_away_from_its_reboot_until_it_is_uncordoned() -> None:
    assert figures.away(figures.parse_phases(OUTPUT)) == {"k8s-w1": [[140.0, 175.5]], "k8s-w2": [[180.0, None]]}


def test_the_monitor_is_told_of_phases_as_of_tasks() -> None:
    assert figures.tasks([Phase("look", "", 1.0, 2.0)]) == [{"task": "look", "host": "cluster", "start": 1.0, "end": 2.0}]


def test_a_node_of_the_script_counts_from_cordon_to_uncordon() -> None:
    assert figures.script_nodes(figures.parse_phases(OUTPUT)) == {"k8s-w1": 55.0}


def test_seconds_of_the_script_add_up() -> None:
    seconds = figures.divide(figures.script_pieces(figures.parse_phases(OUTPUT)), 99.0, 181.0)
    assert seconds == {"install": 20.5, "drain": 11.0, "reboot": 30.5, "uncordon": 0.5, "ansible": 19.5}
    assert sum(seconds.values()) == pytest.approx(82.0)


def test_every_phase_of_the_script_has_a_row() -> None:
    names = re.findall(r"^ *phase (\w+) ", (BENCH / "runbook.sh").read_text(), re.MULTILINE)
    assert len(names) == 18
    pieces = figures.script_pieces(Phase(name, "", 0.0, 1.0) for name in names)
    assert {piece.row for piece in pieces} == figures.ROWS.keys() - {"record", "monitor", "ansible"}


def test_seconds_of_a_migration_add_up_and_what_nobody_worked_in_is_ansibles() -> None:
    seconds = figures.divide(figures.migration_pieces(TIMELINE, SUMMARY, 210.0), 100.0, 212.0)
    assert seconds == {
        "checks": 2.0,
        "install": 17.0,
        "record": 0.5,
        "drain": 10.0,
        "reboot": 27.0,  # 2 s of the command, 25 s until it was proved
        "verify": 4.0,
        "uncordon": 0.1,
        "ending": 10.0,
        "clean": 2.0,  # the two nodes' tasks one after the other, as they worked
        "monitor": 29.0,  # 10 to start, 2 to come back, 10 to read, and 7 after the last task that is recorded
        "ansible": 10.4,
    }
    assert sum(seconds.values()) == pytest.approx(112.0)


def test_a_migration_without_evidence_has_no_evidence_to_be_counted() -> None:
    assert "monitor" not in figures.divide(figures.migration_pieces(TIMELINE[:2], {}, 110.0), 100.0, 110.0)


def test_a_node_of_a_migration_counts_from_the_work_of_its_drain() -> None:
    assert figures.migration_nodes(TIMELINE) == {"k8s-w1": 46.0}
    assert figures.migration_nodes(TIMELINE[:10]) == {}


STUB = """\
#!/bin/sh
name=$(basename "$0")
echo "$name $*" >> "$CALLS"
case "$name $*" in
*" reboot") touch "$CALLS.$3"; exit 255 ;;
*" get node "*bootID*Ready*) [ -e "$CALLS.$4" ] && echo "new True" || echo "old True" ;;
*bootID*) echo old ;;
*"link del cni0") exit 1 ;;
*"$FAILS"*) exit 7 ;;
esac
"""


def run_script(folder: Path, fails: str = "nothing") -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """The runbook's script among programs that only take down how they were called; one call, if any, fails."""
    for name in ("kubectl", "helm", "ssh"):
        (folder / name).write_text(STUB)
        (folder / name).chmod(0o755)
    given = {name: name.lower() for name in ("KUBECONFIG", "CILIUM_CHART", "EXTRA_VALUES", "SSH_CONFIG")}
    env = {**os.environ, **given, "PATH": f"{folder}:{os.environ['PATH']}", "CALLS": str(folder / "calls"), "FAILS": fails}
    done = subprocess.run(["bash", str(BENCH / "runbook.sh")], cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)
    return done, (folder / "calls").read_text().splitlines()


def test_the_script_does_what_the_runbook_does_in_its_order(tmp_path: Path) -> None:
    done, calls = run_script(tmp_path)
    assert done.returncode == 0, done.stderr
    reboot, verify = "ssh -F ssh_config {} reboot", "kubectl -n kube-system run --attach --rm --restart=Never verify-network"
    node = ("kubectl cordon {}", "kubectl drain {} ", "kubectl label node {}", reboot, verify, "kubectl uncordon {}")
    wanted = (
        "helm install cilium",
        "kubectl apply --server-side",
        *(command.format(name) for name in ("k8s-w1", "k8s-w2", "k8s-ctr") for command in node),
        "kubectl -n kube-system delete ds kube-proxy",
        "helm upgrade --namespace kube-system cilium",
        "kubectl -n kube-system rollout restart daemonset cilium",
        "kubectl delete -n kube-system ciliumnodeconfig cilium-default",
        "helm uninstall -n kube-flannel flannel",
        "ssh -F ssh_config k8s-ctr ip link del flannel.1",
        "ssh -F ssh_config k8s-w2 iptables-save",
    )
    rest = iter(calls)
    for start in wanted:
        assert any(call.startswith(start) for call in rest), start
    phases = figures.parse_phases(done.stdout)
    assert [phase.node for phase in phases if phase.name == "return"] == ["k8s-w1", "k8s-w2", "k8s-ctr"]
    assert all(end is not None for windows in figures.away(phases).values() for _start, end in windows)


def test_the_script_ends_at_the_first_command_that_fails(tmp_path: Path) -> None:
    done, calls = run_script(tmp_path, fails="drain k8s-w2")
    assert done.returncode == 7
    assert calls[-1].startswith("kubectl drain k8s-w2")
    assert figures.parse_phases(done.stdout)[-1][:2] == ("cordon", "k8s-w2")


def test_of_overlapping_pieces_the_later_one_has_the_time() -> None:
    assert figures.divide([Piece(0, 10, "ending"), Piece(4, 6, "clean")], 0, 12) == {"ending": 8, "clean": 2, "ansible": 2}


def test_costs_are_taken_from_the_judgement() -> None:
    judged = {"requests": 9, "failed": 1, "max_gap_ms": 2.5, "verdict": "lost", "late": 3, "api_server": {"longest_silence_ms": 7.0}}
    assert figures.costs(judged) == {"requests": 9, "failed": 1, "max_gap_ms": 2.5, "verdict": "lost", "api_silence_ms": 7.0}


@pytest.mark.parametrize(
    ("values", "told"),
    [([], "not measured yet"), ([None], "not measured yet"), ([1234.4], "1,234"), ([3.0, 1.0, None, 20.0], "3 (1-20)")],
)
def test_several_values_are_told_by_median_lowest_and_highest(values: list[float | None], told: str) -> None:
    assert table.spread(values, ",.0f") == told


def test_a_total_is_without_the_monitor() -> None:
    text = table.tables([a_run(), a_run(total_s=500.0, failed=3, verdict="lost", idle_s=9.0)])
    costs = "1,000 (1,000-1,000) | 2 (0-3) | 120 (120-120) | 33.0 (33.0-33.0) | 90 (90-90) | 410 (360-460) | 450 (400-500) | 1 ok, 1 lost"
    assert f"| `migrate.yml` | {costs} |" in text
    assert "| **all of it** | not measured yet | 450.0 (400.0-500.0) |" in text
    assert "| run again, with nothing to do | - | 9.0 | - | - |" in text
    assert "Three nodes on 2 cores, 2026-01-17. Medians of 2 runs" in text


def test_a_script_has_no_monitor_to_count() -> None:
    text = table.tables([a_run(contender="script", phases={"install": 30.0}, total_s=300.0)])
    assert "| the runbook's commands | 1,000 | 0 | 120 | 33.0 | 90 | 300 | - | ok |" in text
    assert "| monitor, evidence and report | - | not measured yet |" in text


def test_a_run_that_ended_early_is_told_of_and_not_counted() -> None:
    broken = a_run(contender="script", round=2, ended="exit 1", stopped_in="what follows drain k8s-w2", requests=None, verdict=None)
    text = table.tables([a_run(), broken])
    assert "Ended early, and in none of the figures: the runbook's commands, round 2, exit 1, in what follows drain k8s-w2." in text
    assert "| the runbook's commands | not measured yet |" in text


def test_tables_without_a_run_say_so() -> None:
    assert "not measured yet" in table.tables([])


@pytest.mark.parametrize(("scripts", "told"), [(1, "One run each."), (3, "Medians of 1 to 3 runs")])
def test_how_many_runs_there_were_is_told(scripts: int, told: str) -> None:
    assert told in table.tables([a_run(), *(a_run(contender="script") for _run in range(scripts))])
