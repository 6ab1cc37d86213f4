# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runbook's literal commands against migrate.yml: what each loses, and where its seconds go.

Each contender of each round has a fresh lab (lab_destroy.yml, site.yml) and the same disruption monitor. What a run prints and what it
leaves goes to a folder of its own below tests/output/bench-runbook, and its figures to runs.jsonl there: one object a run, with ``ended``
("well", or how not), ``stopped_in`` (the last thing it did), the moments and costs that figures.py tells, ``idle_s`` (the same
command once more, with nothing to do) and null for what was not measured. A new measurement puts the former runs.jsonl aside, unless
it is to add to it. The lab is removed in the end.

    python bench.py [--rounds N] [--contender NAME ...] [--add] [--keep-lab] [--write README.md]
    python bench.py --table-only [--write README.md]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[0] = str(ROOT / "tests")
sys.path.insert(1, str(ROOT / ".ansible" / "collections"))
from bench.runbook.figures import (  # noqa: E402
    away,
    costs,
    divide,
    migration_nodes,
    migration_pieces,
    parse_phases,
    per_node,
    script_nodes,
    script_pieces,
    tasks,
    total_of,
)
from bench.runbook.table import CONTENDERS, PLACE, tables  # noqa: E402
from lab import playbook  # noqa: E402
from processes import execute, take_termination_for_interruption  # noqa: E402
from tabular import put  # noqa: E402

from ansible_collections.netops.cni_migration.plugins.module_utils import timeline  # noqa: E402

OUTPUT = ROOT / "tests" / "output" / "bench-runbook"
RUNS = OUTPUT / "runs.jsonl"
OPTIONS: dict[str, dict[str, str]] = {
    "reboot": {},
    "in_place": {"cilium_migration_switch": "in_place"},
    "runbook": {"cilium_migration_profile": "runbook"},
}
STEP_SECONDS, CONTENDER_SECONDS = 1200, 3600


class Stopped(Exception):
    """A command that did not end well; the text says which, and how."""


class Contest:
    """One contender in one round, in a folder of its own."""

    def __init__(self, contender: str, number: int, name: str) -> None:
        self._contender = contender
        self._folder = OUTPUT / name
        self._folder.mkdir(parents=True)
        # The callback and the migration must mean the same file.
        self._evidence = self._folder / "evidence"
        self._env = {"CNI_MIGRATION_TIMELINE": str(self._evidence / "unfinished" / "timeline.jsonl")}
        self.record: dict[str, Any] = {
            "schema": 1,
            "round": number,
            "contender": contender,
            "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "cores": os.cpu_count(),
            "ended": "before it began",
            "stopped_in": "",
            **dict.fromkeys(("requests", "failed", "max_gap_ms", "api_silence_ms", "verdict", "total_s", "idle_s")),
            "nodes": {},
            "phases": {},
            "folder": name,
        }

    def run(self) -> None:
        """Build the lab and measure; the record tells how it went."""
        try:
            self._playbook("lab_destroy", "playbooks/lab_destroy.yml")
            self._playbook("site", "site.yml")
            self._script() if self._contender == "script" else self._migration()
        except Stopped as stopped:
            self.record["stopped_in"] = self.record["stopped_in"] or str(stopped)
        except KeyboardInterrupt:
            self.record["ended"] = "interrupted"
            raise

    def _playbook(self, name: str, path: str, **variables: Any) -> None:
        command = playbook(path, **variables)
        # What the monitor's role does for the script is no part of a migration's timeline.
        status, began, ended = execute(
            command, self._folder / f"{name}.log", seconds=STEP_SECONDS, env={"CNI_MIGRATION_TIMELINE": str(self._folder / "other-timeline.jsonl")}
        )
        _say(f"  {name}: {ended - began:.0f} s" + (f", exit {status}, see {self._folder.name}/{name}.log" if status else ""))
        if status:
            raise Stopped(f"{name}, exit {status}")

    def _contend(self, name: str, command: Sequence[str], **places: Any) -> tuple[int, float, float]:
        """Run what is measured."""
        self.record["ended"] = "interrupted"
        status, began, ended = execute(command, self._folder / f"{name}.log", seconds=CONTENDER_SECONDS, **places)
        self.record["total_s"] = round(ended - began, 2)
        _say(f"  {name}: {ended - began:.0f} s, exit {status}")
        return status, began, ended

    def _settle(self, status: int, last: str) -> None:
        """Only a run that came to its end, and of which all is known, ended well."""
        if status:
            self.record |= {"ended": f"exit {status}", "stopped_in": last}
        elif self.record["verdict"] is None:
            self.record |= {"ended": "without the monitor's judgement"}
        else:
            self.record["ended"] = "well"

    def _script(self) -> None:
        folder = str(self._folder)
        watch = str(HERE / "watch.yml")
        self._playbook("settings", "tests/lab_settings.yml", lab_settings_folder=folder)
        settings = json.loads((self._folder / "settings.json").read_text())
        self._playbook("watch-start", watch, bench_step="start", bench_folder=folder)
        env = {
            "PATH": f"{Path(settings['helm']).parent}{os.pathsep}{os.environ['PATH']}",
            "KUBECONFIG": settings["kubeconfig"],
            "CILIUM_CHART": settings["chart"],
            "EXTRA_VALUES": str(self._folder / "values-extra.yaml"),
            "SSH_CONFIG": str(self._folder / "ssh_config"),
        }
        status, began, ended = self._contend("runbook", ("bash", str(HERE / "runbook.sh")), cwd=self._folder, env=env)
        phases = parse_phases((self._folder / "runbook.log").read_text(errors="replace"))
        self.record |= {"phases": divide(script_pieces(phases), began, ended), "nodes": script_nodes(phases)}
        seen = {"disruption_monitor_away": away(phases), "disruption_monitor_timeline": tasks(phases)}
        try:
            self._playbook("watch-collect", watch, bench_step="collect", bench_folder=folder, **seen)
            self.record |= costs(json.loads((self._folder / "disruption.json").read_text()))
            self._playbook("watch-stop", watch, bench_step="stop", bench_folder=folder)
        finally:
            self._settle(status, f"what follows {phases[-1].name} {phases[-1].node}".rstrip() if phases else "its first command")

    def _migration(self) -> None:
        command = playbook("migrate.yml", cilium_migration_evidence_dir=str(self._evidence), **OPTIONS[self._contender])
        status, began, ended = self._contend("migrate", command, env=self._env)
        newest = max(self._evidence.glob("*/summary.json"), default=None)
        folder = newest.parent if newest else self._evidence / "unfinished"
        records = timeline.parse(_text(folder / "timeline.jsonl"))
        summary = json.loads(_text(folder / "summary.json") or "{}")
        self.record |= {"phases": divide(migration_pieces(records, summary, ended), began, ended), "nodes": migration_nodes(records)}
        if disruption := _text(folder / "disruption.json"):
            self.record |= costs(json.loads(disruption))
        self._settle(status, records[-1]["task"] if records else "its first task")
        if self.record["ended"] == "well" and summary.get("verdict") != "migrated":
            self.record |= {"ended": "without a migration", "stopped_in": f"the verdict {summary.get('verdict', 'that is not there')}"}
        elif self.record["ended"] == "well" and self._contender == "reboot":
            status, began, ended = execute(command, self._folder / "idle.log", seconds=STEP_SECONDS, env=self._env)
            self.record["idle_s"] = round(ended - began, 2) if status == 0 else None
            _say(f"  once more: {ended - began:.0f} s, exit {status}")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _say(text: str) -> None:
    print(text, flush=True)


def measure(contenders: Sequence[str], rounds: int, keep_lab: bool) -> None:
    """Run them all; each run's record is written as soon as it is known."""
    session = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    try:
        for number in range(1, rounds + 1):
            for contender in contenders:
                _say(f"round {number} of {rounds}: {contender}")
                contest = Contest(contender, number, f"{session}-{number}-{contender}")
                try:
                    contest.run()
                finally:
                    with RUNS.open("a", encoding="utf-8") as handle:
                        handle.write(json.dumps(contest.record) + "\n")
                    _report(contest.record)
    finally:
        if not keep_lab:
            execute(playbook("playbooks/lab_destroy.yml"), OUTPUT / f"{session}-lab_destroy.log", seconds=STEP_SECONDS)


def _report(record: Mapping[str, Any]) -> None:
    """The run in a line."""
    if record["ended"] != "well":
        _say(f"  ended early: {record['ended']}, {record['stopped_in']}")
    elif record["requests"] is not None:
        _say(f"  {record['failed']} of {record['requests']} failed, {per_node(record) or 0:.0f} s a node, {total_of(record):.0f} s in all: {record['verdict']}")


def main() -> int:
    """Measure what was asked for, then print the tables of all runs that are recorded; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--contender", nargs="+", default=list(CONTENDERS), choices=list(CONTENDERS))
    parser.add_argument("--add", action="store_true", help="keep the runs that are recorded, and add to them")
    parser.add_argument("--keep-lab", action="store_true", help="leave the last lab as it is")
    parser.add_argument("--table-only", action="store_true", help="measure nothing")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables between the markers of this file")
    arguments = parser.parse_args()
    if arguments.write:
        put(arguments.write.read_text(encoding="utf-8"), PLACE, "")  # a file without markers is refused before the work, not after it
    take_termination_for_interruption()
    status = 0
    if not arguments.table_only:
        OUTPUT.mkdir(parents=True, exist_ok=True)
        if RUNS.exists() and not arguments.add:
            RUNS.rename(OUTPUT / time.strftime("runs-until-%Y%m%dT%H%M%SZ.jsonl", time.gmtime()))
        try:
            measure(arguments.contender, arguments.rounds, arguments.keep_lab)
        except KeyboardInterrupt:
            status = 130
    runs = [json.loads(line) for line in _text(RUNS).splitlines()]
    text = tables(runs)
    print(text)
    if arguments.write and status == 0:
        arguments.write.write_text(put(arguments.write.read_text(encoding="utf-8"), PLACE, text), encoding="utf-8")
    return status or int(any(run["ended"] != "well" for run in runs))


if __name__ == "__main__":
    sys.exit(main())
