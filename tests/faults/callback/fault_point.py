# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes a run of ansible-playbook down to the task: announces each start of a task, and at one of them kills the run or holds it.

The start of a task is announced to callbacks by the controller's own process, before any worker has begun with it and after all results of the task
before are there. A run that is killed in this moment is killed exactly at the boundary, and at the same one whenever it is run again.

==============================  ======================================================================================================
``CNI_MIGRATION_FAULT_FOLDER``  where ``boundaries.jsonl`` is written, see :mod:`faults.points`; without it nothing happens
``CNI_MIGRATION_FAULT_POINT``   JSON: ``number`` of the start, or ``task``, its name, of which the first start is meant; ``act``, which is ``kill``
                                or ``hold``; for a kill also ``seconds`` after the start, at the latest when the next task starts
==============================  ======================================================================================================

``kill`` sends SIGKILL to the controller's process group. Its workers have sessions of their own, and are left to who started the run.
``hold`` writes the file ``held``, and goes on when there is a file ``go``, or is killed when nobody wrote that within ten minutes.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

HOLD_SECONDS = 600


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Loaded by being in a folder of ANSIBLE_CALLBACK_PLUGINS."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "fault_point"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._folder = os.environ.get("CNI_MIGRATION_FAULT_FOLDER", "")
        self._point: dict[str, Any] | None = json.loads(os.environ.get("CNI_MIGRATION_FAULT_POINT", "null"))
        self._play = ""
        self._number = 0
        self._numbers: dict[str, int] = {}
        self._pending = threading.Event()
        self.disabled = not self._folder

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Its name belongs to each of its tasks."""
        self._play = play.get_name()

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """A boundary."""
        if self._pending.is_set():
            self._act()
        self._number += 1
        self._numbers[task._uuid] = self._number
        role = task._role.get_name() if task._role else ""
        self._write({"number": self._number, "play": self._play, "role": role, "task": task.name, "action": task.action, "at": time.time()})
        if self._is_here(task.name):
            self._act_after(float(self._point.get("seconds") or 0))  # type: ignore[union-attr]

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """A boundary like any other."""
        self.v2_playbook_on_task_start(task, False)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """The end of the last task."""
        if self._pending.is_set():
            self._act()

    def v2_runner_on_ok(self, result: Any) -> None:
        """Tell what a task was made of, where it says."""
        steps = result._result.get("steps")
        if isinstance(steps, list):
            taken = [[step["name"], step["seconds"]] for step in steps]
            self._write({"number": self._numbers.get(result._task._uuid, 0), "host": result._host.get_name(), "ended": time.time(), "steps": taken})

    def _is_here(self, task: str) -> bool:
        if not self._point:
            return False
        return self._point["number"] == self._number if "number" in self._point else self._point["task"] == task

    def _act_after(self, seconds: float) -> None:
        if not seconds:
            self._act()
            return
        self._pending.set()
        timer = threading.Timer(seconds, self._act)
        timer.daemon = True
        timer.start()

    def _act(self) -> None:
        point, self._point = self._point, None
        self._pending.clear()
        if point is None:
            return  # the timer and the next task at once
        self._write({"acted": point["act"], "number": self._number, "at": time.time()})
        if point["act"] == "hold" and self._held():
            return
        group = os.getpgrp()
        if group == os.getpid():
            os.killpg(group, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    def _held(self) -> bool:
        """Wait to be let go; whether that came."""
        with open(os.path.join(self._folder, "held"), "w", encoding="utf-8"):
            pass
        deadline = time.monotonic() + HOLD_SECONDS
        while time.monotonic() < deadline:
            if os.path.exists(os.path.join(self._folder, "go")):
                return True
            time.sleep(0.1)
        return False

    def _write(self, record: dict[str, Any]) -> None:
        with open(os.path.join(self._folder, "boundaries.jsonl"), "a", encoding="utf-8") as handle:
            handle.write(json.dumps(record) + "\n")
