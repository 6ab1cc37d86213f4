# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds, migrates with a kill at a random moment, resumes, verifies and destroys, as often as asked: nothing may be lost, and nothing left behind.

Each round has a fresh lab. migrate.yml is killed with everything it started, at a moment that chance chooses over the length of an undisturbed run, and
run again; it has to exit 0, verify.yml, too, and to leave and cost what the undisturbed run did, which is made first. Then the lab is destroyed, and
the machine is searched for namespaces, links, processes, mounts, cgroups and folders that were not there before. With --restore reset the lab is
restored from a snapshot instead, and destroyed and searched for once, in the end. It all goes to tests/output/soak/, an object a round to rounds.jsonl.

    python tests/bench/soak/soak.py [--rounds N] [--seed N] [--restore reset]

The same seed chooses the same moments. Exit status 0: every round went well; 1: some did not; 130: interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[2])
from bench.soak import leftovers  # noqa: E402
from faults import baseline  # noqa: E402
from faults.end_state import differences, larger  # noqa: E402
from faults.journey import Journey  # noqa: E402
from faults.points import Point, at_moment  # noqa: E402
from lab import Failed, Lab, playbook  # noqa: E402
from processes import ROOT, take_termination_for_interruption  # noqa: E402
from rounds import WELL, exit_status, kept, went_well  # noqa: E402
from tabular import table  # noqa: E402

OUTPUT = ROOT / "tests" / "output" / "soak"
DESTROY = playbook("playbooks/lab_destroy.yml")

Entry = dict[str, Any]


def new_entry(number: int, point: Point) -> Entry:
    """A round that has not begun."""
    unknown = ("killed_s", "resumed_s", "requests", "failed", "excused", "max_gap_ms", "leftovers")
    return {"round": number, "killed_at": point.told(), **dict.fromkeys(unknown), "verdict": "interrupted"}


def summary_table(entries: Sequence[Entry]) -> list[str]:
    """The rounds as a table in Markdown."""
    titles = ["round", "killed at", "verdict", "left on the machine", "until the kill, s", "resumed, s", "requests", "failed", "excused", "longest gap, ms"]
    rows = [
        [
            str(entry["round"]),
            entry["killed_at"],
            entry["verdict"],
            "-" if entry["leftovers"] is None else leftovers.told(entry["leftovers"]),
            *("-" if entry[name] is None else f"{entry[name]:,.0f}" for name in ("killed_s", "resumed_s", "requests", "failed", "excused", "max_gap_ms")),
        ]
        for entry in entries
    ]
    return table(titles, rows, left=4)


class Soak:
    """Rounds on one lab, each in a folder of its own."""

    def __init__(self, folder: Path, lab: Lab, restore: str, reference: baseline.Baseline, clean: leftovers.Seen) -> None:
        self._folder, self._lab, self._restore, self._reference, self._clean = folder, lab, restore, reference, clean
        self.entries: list[Entry] = []

    def round(self, number: int, point: Point) -> None:
        """One round; its entry is written in any case."""
        entry = new_entry(number, point)
        self.entries.append(entry)
        with kept(entry, self._folder / "rounds.jsonl"):
            entry["verdict"] = "; ".join(self._take(entry, point)) or WELL

    def _take(self, entry: Entry, point: Point) -> list[str]:
        self._lab.restore(self._restore)
        journey = Journey(self._lab, self._folder / f"round-{entry['round']:02d}")
        killed, resumed = journey.run(point), journey.run()
        entry.update(killed_s=killed.seconds, resumed_s=resumed.seconds)
        found = [] if killed.killed else [f"not killed: exit {killed.status} in {killed.last}"]
        if resumed.status:
            return [*found, f"resumed run: exit {resumed.status} in {resumed.last}, see {resumed.log}"]
        self._lab.play("verify", playbook("verify.yml"))
        cost = journey.cost()
        if cost:
            entry.update(requests=cost.requests, failed=cost.lost, excused=cost.excused, max_gap_ms=cost.max_gap_ms)
        found += [*differences(self._reference.state, journey.state()), *larger(cost, self._reference.cost)]
        if self._restore == "rebuild":
            found += self.destroy(entry)
        return found

    def destroy(self, entry: Entry) -> list[str]:
        """Destroy the lab and search the machine; what was found, if anything."""
        folder = Path(self._lab.settings["lab"])
        self._lab.play("destroy", DESTROY)
        entry["leftovers"] = leftovers.left(self._clean, leftovers.look(os.environ[leftovers.MARK], folder))
        return [f"left on the machine: {leftovers.told(entry['leftovers'])}"] if entry["leftovers"] else []


def main() -> int:
    """Parse the command line, soak, report; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the moments at which runs are killed")
    parser.add_argument("--restore", choices=["rebuild", "reset"], default="rebuild", help="how a round comes to its lab")
    arguments = parser.parse_args()
    take_termination_for_interruption()
    began = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    folder = OUTPUT / began
    lab = Lab(folder / "lab")
    os.environ[leftovers.MARK] = began  # for everything that is started from here on
    status, soak = 0, None
    try:
        lab.play("destroy", DESTROY)
        clean = leftovers.look(began, Path("/nonexistent"))
        reference = baseline.recorded("") or baseline.measure(lab, "", arguments.restore)
        soak = Soak(folder, lab, arguments.restore, reference, clean)
        chance = random.Random(arguments.seed)
        for number in range(1, arguments.rounds + 1):
            point = at_moment(reference.starts, chance.random())
            print(f"round {number} of {arguments.rounds}: killed at {point.told()}", flush=True)
            soak.round(number, point)
            print(f"  {soak.entries[-1]['verdict']}", flush=True)
        # Where a snapshot was restored, or the last round did not get so far.
        if soak.entries and soak.entries[-1]["leftovers"] is None:
            found = soak.destroy(soak.entries[-1])
            status = int(bool(found))
            print("\n".join(found or ["nothing is left on the machine"]))
    except Failed as failed:
        print(failed)
        status = 1
    except KeyboardInterrupt:
        status = 130
        with contextlib.suppress(Failed):
            lab.play("destroy", DESTROY)
    entries = soak.entries if soak else []
    print("\n".join(summary_table(entries)))
    print(f"{went_well(entries)} of {arguments.rounds} rounds went well; see {folder}")
    return exit_status(entries, arguments.rounds, status)


if __name__ == "__main__":
    sys.exit(main())
