# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: timeline
type: notification
short_description: Records the course of a migration, and shows how far it is
version_added: "1.0.0"
author:
  - netops.cni_migration authors (@netops)
description:
  - Appends each finished task of the roles C(cilium_migration) and C(disruption_monitor) of this collection to a file, as one
    line of JSON for each host. The report of a migration names by it what ran when a request was lost. Tasks of anything else are
    not recorded, so it can stay enabled for every playbook.
  - Nothing is written before a task has changed something, and nothing in check mode. A run that finds nothing to do leaves no file.
  - From the first task of the evidence on nothing is recorded, since the evidence files the timeline itself.
  - A line holds names, moments and the task's status, never its arguments or its result.
  - Shows a line on the terminal at each change of phase, with the time since the start, the node, the nodes that have moved,
    the requests that the disruption monitor has counted, and about how long it will still take. The estimate takes the mean of the
    moves that this run has measured. Until there is one, it takes 60 seconds for the preparation, 90 for a node and 120 for the ending.
    Nothing is shown when the standard output is not written by P(ansible.builtin.default#callback).
options:
  path:
    description:
      - The file to append to. Its folder is created.
      - A relative path begins where the playbook was started (E(PWD)), as the folder of the evidence does.
    type: str
    default: evidence/unfinished/timeline.jsonl
    env:
      - name: CNI_MIGRATION_TIMELINE
    ini:
      - section: callback_cni_migration_timeline
        key: path
requirements:
  - enabling in the configuration
"""

EXAMPLES = r"""
enabling: |
  # in ansible.cfg
  [defaults]
  callbacks_enabled = netops.cni_migration.timeline
sample output: |
  [2:31] k8s-w1: reboot | 0 of 3 nodes moved | 48,210 requests, 0 failed | about 5:40 left
"""

import json
import os
import time
from typing import Any

from ansible import constants
from ansible.plugins.callback import CallbackBase

from ansible_collections.netops.cni_migration.plugins.module_utils.timeline import COLLECTION, ROLES, Progress, own_work, parts, phase_of


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Listens to the tasks; what they mean is told by the module utility of the same name."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = f"{COLLECTION}.timeline"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._run = round(time.time(), 3)
        self._play = ""
        self._phase = ""
        self._started: dict[tuple[str, str], tuple[float, str]] = {}
        self._unwritten: list[str] = []
        self._changed = False
        self._filed = False
        self._broken = False
        self._progress = Progress(self._run)
        self._visible = constants.DEFAULT_STDOUT_CALLBACK in ("default", "ansible.builtin.default")

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """A play begins in no phase."""
        self._play, self._phase = play.get_name(), ""

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """The phase is the task's, whichever hosts it is for."""
        if self._concerns(task):
            self._phase = phase_of(task._role.get_name(), task.name, task.action, task.args.get("state"), self._phase)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """Note when the task begins on the host, and show a new phase."""
        if self._concerns(task):
            now = time.time()
            self._started[host.get_name(), task._uuid] = now, self._phase
            self._show(self._progress.task_started(host.get_name(), self._phase, now))

    def v2_runner_on_ok(self, result: Any) -> None:
        """Record a success."""
        self._ended(result, "changed" if result.is_changed() else "ok")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Record a failure."""
        self._ended(result, "failed")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Record that the host was away."""
        self._ended(result, "unreachable")

    def v2_runner_on_skipped(self, result: Any) -> None:
        """Record that there was nothing to do."""
        self._ended(result, "skipped")

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Show how it ended."""
        self._show(self._progress.ended(time.time()))

    @staticmethod
    def _concerns(task: Any) -> bool:
        """Whether the task is part of a migration, and for real."""
        return task._role is not None and task._role.get_name() in ROLES and not task.check_mode

    def _show(self, line: str | None) -> None:
        if line and self._visible:
            self._display.display(line, color=constants.COLOR_HIGHLIGHT)

    def _ended(self, result: Any, status: str) -> None:
        host, task = result._host.get_name(), result._task
        start, phase = self._started.pop((host, task._uuid), (None, ""))
        if start is None:
            return
        end = time.time()
        if status not in ("skipped", "unreachable"):
            self._progress.task_ended(host, task.action, result._result, end)
        self._changed = self._changed or status == "changed"
        self._filed = self._filed or phase == "evidence"
        if self._filed:
            return
        delegate = result._task_fields.get("delegate_to")
        record = {
            "run": self._run,
            "play": self._play,
            "task": task.name,
            "action": task.action,
            "phase": phase,
            "host": host,
            "delegate": delegate if delegate != host else None,
            "start": round(start, 3),
            "end": round(end, 3),
            "work": own_work(task.action, result._result),
            "status": status,
        }
        self._unwritten += [json.dumps(part) + "\n" for part in parts(record, result._result)]
        if self._changed:
            self._write()

    def _write(self) -> None:
        """Append what was recorded. The file is opened each time: the run may have moved it away since."""
        if self._broken:
            return
        path = os.path.join(os.environ.get("PWD", ""), os.path.expanduser(self.get_option("path")))
        try:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            with open(path, "a", encoding="utf-8") as handle:
                handle.writelines(self._unwritten)
        except OSError as error:
            # A migration is not stopped for want of its diary.
            self._broken = True
            self._display.warning(f"the timeline is not recorded any more: cannot write {path}: {error.strerror}")
        self._unwritten.clear()
