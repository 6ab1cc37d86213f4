# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One migration, through as many runs of migrate.yml as it takes, in a folder of its own: killed, held, resumed, and what became of it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults import end_state
from faults.points import Boundary, Point, boundaries, records
from lab import Failed, Lab, playbook
from processes import ROOT, execute, start, sweep, wait

RUN_SECONDS = 3600
HELD_SECONDS = 1200
MARK = "CNI_MIGRATION_TEST_RUN"
"""The variable that every process of a run has in its environment, so that it is found when the run itself is gone."""


@dataclass(frozen=True)
class Run:
    """A run that has ended. ``status`` is that of a process, -9 for one that was killed; ``left`` says how many processes it left behind."""

    name: str
    status: int
    seconds: float
    log: Path
    starts: tuple[Boundary, ...]
    left: int

    @property
    def killed(self) -> bool:
        """Whether the run was killed by its own callback."""
        return self.status == -signal.SIGKILL

    @property
    def last(self) -> str:
        """The task that was started last."""
        return self.starts[-1].task if self.starts else "its first task"


class Journey:
    """``limit`` restricts each run to a host, unless it is empty; ``variables`` go to each of them."""

    def __init__(self, lab: Lab, folder: Path, limit: str = "", **variables: Any) -> None:
        self.folder = folder
        self._lab = lab
        self._evidence = folder / "evidence"
        self._options = ("--limit", limit) if limit else ()
        self._variables = {"cilium_migration_evidence_dir": str(self._evidence), **variables}
        self._names = itertools.count(1)
        folder.mkdir(parents=True)

    def run(self, point: Point | None = None, **variables: Any) -> Run:
        """Run migrate.yml, killed at ``point`` if there is one."""
        act = None if point is None else {"number": point.number, "seconds": point.seconds, "act": "kill"}
        name, env = self._prepared(act)
        try:
            status, began, ended = execute(self._command(variables), self.folder / f"{name}.log", seconds=RUN_SECONDS, env=env)
        finally:
            # Workers and SSH masters have sessions of their own, and would work on.
            left = sweep(MARK, env[MARK])
        return self._ended(name, status, ended - began, left)

    @contextlib.contextmanager
    def held(self, task: str, **variables: Any) -> Iterator[Hold]:
        """Run migrate.yml until the first start of ``task`` and hold it there; the run is ended with the block. Raises :class:`Failed`."""
        name, env = self._prepared({"task": task, "act": "hold"})
        process = start(self._command(variables), self.folder / f"{name}.log", env=env)
        hold = Hold(self, name, process, self.folder / name)
        try:
            hold.reach()
            yield hold
        finally:
            sweep(MARK, env[MARK])
            process.wait()

    def log(self, name: str) -> str:
        """What a run of this name printed."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def cost(self) -> end_state.Cost | None:
        """What the monitor saw of the whole journey, None where there is no evidence."""
        found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(self._evidence.glob("*/summary.json"))]
        return end_state.cost(found)

    def state(self, name: str = "state") -> dict[str, Any]:
        """The state of nodes and cluster now, normalised. Raises :class:`Failed`."""
        path = self.folder / f"{name}.json"
        self._lab.play("state", playbook("tests/faults/state.yml", state_file=str(path)))
        return end_state.normalised(json.loads(path.read_text(encoding="utf-8")))

    def _command(self, variables: Mapping[str, Any]) -> tuple[str, ...]:
        return playbook("migrate.yml", *self._options, **{**self._variables, **variables})

    def _prepared(self, point: Mapping[str, Any] | None) -> tuple[str, dict[str, str]]:
        name = f"run-{next(self._names)}"
        (self.folder / name).mkdir()
        return name, {
            MARK: f"{os.getpid()}-{self.folder.name}-{name}",
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "tests" / "faults" / "callback"),
            "CNI_MIGRATION_FAULT_FOLDER": str(self.folder / name),
            "CNI_MIGRATION_FAULT_POINT": json.dumps(point),
            # The callback and the migration must mean the same file.
            "CNI_MIGRATION_TIMELINE": str(self._evidence / "unfinished" / "timeline.jsonl"),
        }

    def _ended(self, name: str, status: int, seconds: float, left: int) -> Run:
        path = self.folder / name / "boundaries.jsonl"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return Run(name, status, round(seconds, 1), self.folder / f"{name}.log", tuple(boundaries(records(text))), left)


class Hold:
    """A run that waits at the start of a task."""

    def __init__(self, journey: Journey, name: str, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.name = name
        self._journey = journey
        self._process = process
        self._folder = folder
        self._began = time.monotonic()

    def reach(self) -> None:
        """Wait until it is held. Raises :class:`Failed` when it ends before, or does not get there."""
        while not (self._folder / "held").exists():
            if self._process.poll() is not None:
                raise Failed(f"{self.name} ended with exit {self._process.returncode} before it got there")
            if time.monotonic() - self._began > HELD_SECONDS:
                raise Failed(f"{self.name} did not get there within {HELD_SECONDS} s")
            time.sleep(0.1)

    def let_go(self) -> None:
        """Let it go on."""
        (self._folder / "go").touch()

    def end(self) -> Run:
        """Wait for its end."""
        began = time.monotonic()
        status = wait(self._process, RUN_SECONDS)
        return self._journey._ended(self.name, status, time.monotonic() - began, 0)
