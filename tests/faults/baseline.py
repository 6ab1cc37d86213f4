# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The undisturbed migration that the disturbed ones are compared with: one for each version of the collection, and each scope."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from dataclasses import asdict, dataclass
from typing import Any

from faults.end_state import Cost
from faults.journey import Journey
from faults.points import Boundary, boundaries, records
from lab import Failed, Lab
from processes import ROOT

OUTPUT = ROOT / "tests" / "output" / "faults"
SOURCES = ("playbooks", "plugins", "roles", "inventories/lab", "migrate.yml")


@dataclass(frozen=True)
class Baseline:
    """What an undisturbed migration left and cost, and the tasks it started."""

    state: dict[str, Any]
    cost: Cost
    seconds: float
    starts: tuple[Boundary, ...]


def name(limit: str) -> str:
    """The folder's name: the scope, and what the collection consists of."""
    listed = subprocess.run(("git", "ls-files", "-co", "--exclude-standard", "-z", *SOURCES), cwd=ROOT, capture_output=True, text=True, check=True)
    digest = hashlib.sha256()
    for path in sorted(filter(None, listed.stdout.split("\0"))):
        if (ROOT / path).is_file():
            digest.update(path.encode() + b"\0" + (ROOT / path).read_bytes())
    return f"baseline-{limit or 'all'}-{digest.hexdigest()[:12]}"


def recorded(limit: str) -> Baseline | None:
    """The one that was measured before, None where there is none."""
    folder = OUTPUT / name(limit)
    if not (folder / "baseline.json").exists():
        return None
    told = json.loads((folder / "baseline.json").read_text(encoding="utf-8"))
    starts = boundaries(records((folder / "run-1" / "boundaries.jsonl").read_text(encoding="utf-8")))
    return Baseline(told["state"], Cost(**told["cost"]), told["seconds"], tuple(starts))


def measure(lab: Lab, limit: str, restore: str) -> Baseline:
    """Migrate undisturbed, and record it. Raises :class:`Failed`."""
    folder = OUTPUT / name(limit)
    shutil.rmtree(folder, ignore_errors=True)
    lab.restore(restore)
    journey = Journey(lab, folder, limit)
    run = journey.run()
    if run.status:
        raise Failed(f"the undisturbed migration ended with exit {run.status} in {run.last}, see {run.log}")
    cost = journey.cost()
    if cost is None:
        raise Failed(f"the undisturbed migration left no evidence in {folder}")
    told: dict[str, Any] = {"state": journey.state(), "cost": asdict(cost), "seconds": run.seconds}
    (folder / "baseline.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
    return Baseline(told["state"], cost, run.seconds, run.starts)
