# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kills migrate.yml on the lab at one moment after the other, runs it again, and demands the end of a run that nobody killed.

The moments are every start of a task, and the middle of every step of cni_migrate_node that lasts. For each of them the lab is restored, a run is killed
there (SIGKILL, with everything it started), and a second run has to exit 0, to leave what an undisturbed one leaves, and the two together may disturb no
more than it does. The undisturbed run is made first, once for each version of the collection. It all goes to tests/output/faults/.

    python tests/faults/walk.py --limit k8s-w1                     every moment of a worker's move
    python tests/faults/walk.py --sample 20 --seed 1               20 of them by chance, of the whole migration
    python tests/faults/walk.py --limit k8s-w1 --boundaries 40-60  those of a part
    python tests/faults/walk.py --limit k8s-w1 --list              say which there are, and do nothing

A moment takes about as long as two migrations and a restore. Exit status 0: all went well; 1: some did not; 130: interrupted.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])
from faults import baseline  # noqa: E402
from faults.end_state import differences, larger  # noqa: E402
from faults.journey import Journey, Run  # noqa: E402
from faults.points import Point, between, parse_range, points, sample  # noqa: E402
from lab import RESTORES, WORKER, Failed, Lab  # noqa: E402
from processes import take_termination_for_interruption  # noqa: E402
from rounds import WELL, exit_status, kept, went_well  # noqa: E402
from tabular import table  # noqa: E402


def verdict(point: Point, killed: Run, resumed: Run | None, troubles: Sequence[str]) -> str:
    """``well``, or what was not as it has to be. ``resumed`` is None where the first run was not killed."""
    if resumed is None:
        return f"not killed: exit {killed.status} in {killed.last}"
    if resumed.status:
        return f"resumed run: exit {resumed.status} in {resumed.last}"
    misplaced = [] if killed.last == point.task else [f"killed in {killed.last} instead"]
    return "; ".join([*misplaced, *troubles]) or WELL


def summary_table(entries: Sequence[dict[str, Any]]) -> list[str]:
    """The walk as a table in Markdown."""
    titles = ["killed at", "verdict", "resumed, s", "left behind", "lost", "excused", "longest gap, ms"]
    columns = ("resume_s", "left", "lost", "excused", "max_gap_ms")
    rows = [[entry["point"], entry["verdict"], *("-" if entry[name] is None else f"{entry[name]:g}" for name in columns)] for entry in entries]
    return table(titles, rows, left=2)


class Walk:
    """A walk over chosen points, each in a folder of its own."""

    def __init__(self, folder: Path, lab: Lab, limit: str, restore: str, reference: baseline.Baseline) -> None:
        self._folder, self._lab, self._limit, self._restore, self._reference = folder, lab, limit, restore, reference
        self.entries: list[dict[str, Any]] = []

    def step(self, number: int, point: Point) -> None:
        """Kill there, resume, compare; the entry is written in any case."""
        entry: dict[str, Any] = {
            "point": point.told(),
            "number": point.number,
            "task": point.task,
            "step": point.step,
            "seconds": point.seconds,
            **dict.fromkeys(("resume_s", "left", "lost", "excused", "max_gap_ms")),
            "verdict": "interrupted",
        }
        self.entries.append(entry)
        with kept(entry, self._folder / "walk.jsonl"):
            self._take(entry, f"{number:03d}", point)

    def _take(self, entry: dict[str, Any], name: str, point: Point) -> None:
        self._lab.restore(self._restore)
        journey = Journey(self._lab, self._folder / name, self._limit)
        killed = journey.run(point)
        entry["left"] = killed.left
        if not killed.killed:
            entry["verdict"] = verdict(point, killed, None, ())
            return
        resumed = journey.run()
        cost = journey.cost()
        entry["resume_s"] = resumed.seconds
        if cost:
            entry.update(lost=cost.lost, excused=cost.excused, max_gap_ms=cost.max_gap_ms)
        troubles = [] if resumed.status else [*differences(self._reference.state, journey.state()), *larger(cost, self._reference.cost)]
        entry["verdict"] = verdict(point, killed, resumed, troubles)


def choose(found: list[Point], boundaries: tuple[int, int] | None, count: int | None, seed: int) -> list[Point]:
    """The points that were asked for."""
    chosen = between(found, *boundaries) if boundaries else found
    return chosen if count is None else sample(chosen, count, seed)


def main() -> int:
    """Parse the command line, walk, report; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", default="", metavar="HOST", help="move this host alone")
    parser.add_argument("--boundaries", type=parse_range, metavar="FROM-TO", help="only moments in the tasks with these numbers")
    parser.add_argument("--sample", type=int, metavar="N", help="only N of them, by chance")
    parser.add_argument("--seed", type=int, default=0, help="of the chance")
    parser.add_argument("--restore", choices=list(RESTORES), default="reset", help="how the lab is brought back to Flannel; rollback needs --limit k8s-w1")
    parser.add_argument("--list", action="store_true", help="only say which moments there are, by the undisturbed run that is recorded")
    arguments = parser.parse_args()
    if arguments.restore == "rollback" and arguments.limit != WORKER:
        parser.error(f"--restore rollback needs --limit {WORKER}")
    take_termination_for_interruption()
    reference = baseline.recorded(arguments.limit)
    if arguments.list:
        if reference is None:
            parser.error("no undisturbed run of this version is recorded: --sample 0 makes one")
        for point in choose(points(reference.starts), arguments.boundaries, arguments.sample, arguments.seed):
            print(point.told())
        return 0

    folder = baseline.OUTPUT / time.strftime("walk-%Y%m%dT%H%M%SZ", time.gmtime())
    lab = Lab(folder / "lab")
    status = 0
    try:
        reference = reference or baseline.measure(lab, arguments.limit, arguments.restore)
    except Failed as failed:
        print(failed)
        return 1
    chosen = choose(points(reference.starts), arguments.boundaries, arguments.sample, arguments.seed)
    walk = Walk(folder, lab, arguments.limit, arguments.restore, reference)
    try:
        for number, point in enumerate(chosen, start=1):
            print(f"{number} of {len(chosen)}: {point.told()}", flush=True)
            walk.step(number, point)
            print(f"  {walk.entries[-1]['verdict']}", flush=True)
    except KeyboardInterrupt:
        status = 130
    print("\n".join(summary_table(walk.entries)))
    print(f"{went_well(walk.entries)} of {len(chosen)} went well; see {folder}")
    return exit_status(walk.entries, len(chosen), status)


if __name__ == "__main__":
    sys.exit(main())
