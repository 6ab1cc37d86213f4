# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells the module cni_migration_lease which process is the run, for the module itself is only a distant child of it."""

from __future__ import annotations

import os
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.multiprocessing import context


class ActionModule(ActionBase):  # type: ignore[misc]
    """The action of the module of the same name."""

    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module for the process that the workers are forked from: ansible-playbook, or whatever runs Ansible."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        # Unlike getppid(), it still names that process when it was killed a moment ago.
        parent = context.parent_process()
        arguments = {**self._task.args, "_pid": parent.pid if parent else os.getpid()}
        result.update(self._execute_module(module_args=arguments, task_vars=task_vars))
        return result
