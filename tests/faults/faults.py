# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the faults of the catalogue on the lab, one after the other, during a migration: what is seen, where the cluster stands, and that it goes on.

For each fault the lab is restored and migrate.yml is run. At the start of the fault's task the run is held, the fault is made, and the run goes on: it has to
show its user what the catalogue says, and to fail, or to come to its end where it says so. Then the fault is lifted, the worker has to stand where the
catalogue says, and one more run has to exit 0 and leave what an undisturbed migration leaves. It all goes to tests/output/faults/.

    python tests/faults/faults.py                          all of them
    python tests/faults/faults.py --fault ssh_hangs ...    some
    python tests/faults/faults.py --list                   say which there are, and do nothing
    python tests/faults/faults.py --write docs/faults.md   write the documentation's table, and do nothing

A fault takes three to ten minutes. Exit status 0: all went well; 1: some did not; 130: interrupted.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])
from faults import baseline  # noqa: E402
from faults.catalogue import FAULTS, Fault, Scene, document  # noqa: E402
from faults.end_state import differences  # noqa: E402
from faults.journey import Journey, Run  # noqa: E402
from lab import WORKER, Lab, playbook  # noqa: E402
from processes import take_termination_for_interruption  # noqa: E402
from rounds import WELL, exit_status, kept, went_well  # noqa: E402
from tabular import put, table  # noqa: E402

PLACE = "faults"


def shown(fault: Fault, run: Run, text: str) -> list[str]:
    """What was wrong with the disturbed run and with what its user saw, a line each. ``text`` is all that was printed."""
    found = []
    if fault.survives and run.status:
        found.append(f"it should have come to its end, and ended with exit {run.status} in {run.last}")
    if not fault.survives and not run.status:
        found.append("it should have failed, and came to its end")
    if not re.search(fault.sees, " ".join(text.split())):
        found.append(f"its user did not see {fault.sees}")
    return found


def standing(fault: Fault, state: Mapping[str, Any]) -> list[str]:
    """Where the cluster does not stand as it must after the fault was lifted, a line each. ``state`` is a normalised one."""
    found = []
    for name, node in state["nodes"].items():
        if name == WORKER:
            if node["state"] not in fault.states:
                found.append(f"{name} is {node['state']} instead of {' or '.join(fault.states)}")
            if fault.cordoned is not None and node["unschedulable"] is not fault.cordoned:
                found.append(f"{name} is {'cordoned' if node['unschedulable'] else 'schedulable'}")
        elif fault.limit and (node["state"], node["unschedulable"]) != ("flannel", False):
            found.append(f"{name}, which the run was not about, is {node['state']}{', cordoned' if node['unschedulable'] else ''}")
        if not node["ready"]:
            found.append(f"{name} is not Ready")
    return found


def summary_table(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The faults as a table in Markdown."""
    rows = [[entry["fault"], entry["verdict"], *("-" if entry[name] is None else f"{entry[name]:g}" for name in ("run_s", "resume_s"))] for entry in entries]
    return table(["fault", "verdict", "disturbed run, s", "resumed, s"], rows, left=2)


class Round:
    """The faults that were asked for, each in a folder of its own."""

    def __init__(self, folder: Path, lab: Lab, restore: str) -> None:
        self._folder, self._lab, self._restore = folder, lab, restore
        self.entries: list[dict[str, Any]] = []

    def take(self, fault: Fault) -> None:
        """Make the fault, and see it through; the entry is written in any case."""
        entry: dict[str, Any] = {"fault": fault.name, "run_s": None, "resume_s": None, "verdict": "interrupted"}
        self.entries.append(entry)
        with kept(entry, self._folder / "faults.jsonl"):
            entry["verdict"] = "; ".join(self._see_through(fault, entry)) or WELL

    def _see_through(self, fault: Fault, entry: dict[str, Any]) -> list[str]:
        reference = baseline.recorded(fault.limit) or baseline.measure(self._lab, fault.limit, self._restore)
        self._lab.restore(self._restore)
        scene = Scene(self._lab, self._folder / fault.name)
        journey = Journey(self._lab, scene.folder, fault.limit)
        run = self._disturbed(fault, journey, scene)
        entry["run_s"] = run.seconds
        found = shown(fault, run, scene.seen or journey.log(run.name))
        found += standing(fault, journey.state("state-after-fault"))
        if fault.back:
            self._lab.play("rollback", playbook("rollback.yml", "--limit", WORKER))
        resumed = journey.run()
        entry["resume_s"] = resumed.seconds
        if resumed.status:
            return [*found, f"resumed run: exit {resumed.status} in {resumed.last}, see {resumed.log}"]
        return [*found, *differences(reference.state, journey.state())]

    def _disturbed(self, fault: Fault, journey: Journey, scene: Scene) -> Run:
        """The run during which the fault is made. The fault is lifted at the end, however that comes."""
        variables = fault.variables(self._lab)
        if not fault.task:
            return journey.run(**variables)
        with journey.held(fault.task, **variables) as hold:
            try:
                fault.make(scene)
                hold.let_go()
                run = hold.end()
            finally:
                fault.lift(scene)
        return run


def main() -> int:
    """Parse the command line, make the faults, report; the exit status."""
    by_name = {fault.name: fault for fault in FAULTS}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fault", nargs="+", default=list(by_name), choices=list(by_name), metavar="NAME")
    parser.add_argument("--restore", choices=["reset", "rebuild"], default="reset", help="how the lab is brought back to Flannel")
    parser.add_argument("--list", action="store_true", help="only say which faults there are")
    parser.add_argument("--write", type=Path, metavar="FILE", help="only put the table of faults between the markers of this file")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(f"{name:24} {fault.title}" for name, fault in by_name.items()))
        return 0
    if arguments.write:
        arguments.write.write_text(put(arguments.write.read_text(encoding="utf-8"), PLACE, document()), encoding="utf-8")
        return 0

    take_termination_for_interruption()
    folder = baseline.OUTPUT / time.strftime("faults-%Y%m%dT%H%M%SZ", time.gmtime())
    made = Round(folder, Lab(folder / "lab"), arguments.restore)
    status = 0
    try:
        for name in arguments.fault:
            print(f"{name}: {by_name[name].title}", flush=True)
            made.take(by_name[name])
            print(f"  {made.entries[-1]['verdict']}", flush=True)
    except KeyboardInterrupt:
        status = 130
    print("\n".join(summary_table(made.entries)))
    print(f"{went_well(made.entries)} of {len(arguments.fault)} went well; see {folder}")
    return exit_status(made.entries, len(arguments.fault), status)


if __name__ == "__main__":
    sys.exit(main())
