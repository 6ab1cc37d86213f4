# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module iptables_purge in two steps, the second over a new connection.

The first takes out what leads into the owned chains and arms a roll-back on the node; that the second one gets there at
all is the proof that the node can still be reached, and it calls the roll-back off and deletes the chains.
"""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

_PAUSE = 1.0
# After the roll-back is due, this long is spent on learning from the node how it went.
_AFTERMATH = 60.0

display = Display()


class ActionModule(ActionBase):  # type: ignore[misc]
    """The action of the module of the same name."""

    _requires_connection = True
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Purge, and confirm over a new connection."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        first = self._execute_module(module_args={**arguments, "_phase": "unhook"}, task_vars=task_vars)
        token = first.pop("_armed", None)
        _forget_internals(first)
        result.update(first)
        if not token:
            return result
        second = self._confirm(arguments, token, float(arguments.get("confirm_timeout", 60)), task_vars)
        _forget_internals(second)
        for name in ("failed", "msg", "exception", "rolled_back", "left", "refusals"):
            if name in second:
                result[name] = second[name]
        result["confirmed"] = not boolean(second.get("failed", False))
        result["seconds"] = round(float(result.get("seconds", 0)) + float(second.get("seconds", 0)), 3)
        if second.get("rolled_back"):
            result["changed"] = False
        return result

    def _confirm(self, arguments: dict[str, Any], token: str, seconds: float, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """Run the second step over a new connection, for as long as there is anything to learn."""
        due = time.monotonic() + seconds
        reason = "no attempt was made"
        while time.monotonic() < due + _AFTERMATH:
            self._connection.reset()
            try:
                answer: dict[str, Any] = self._execute_module(module_args={**arguments, "_phase": "delete", "_armed": token}, task_vars=task_vars)
                return answer
            except AnsibleConnectionFailure as exc:
                reason = str(exc)
                display.vv(f"iptables_purge: cannot confirm yet: {reason}")
            time.sleep(_PAUSE)
        return {
            "failed": True,
            "msg": f"the node could not be reached over a new connection in {seconds + _AFTERMATH:.0f} s; by itself it puts the rules back "
            f"after {seconds:.0f} s, but nobody has seen it do so: {reason}",
        }


def _forget_internals(result: dict[str, Any]) -> None:
    """Leave what only the two steps need of each other out of what is shown."""
    for name in ("_phase", "_armed"):
        result.get("invocation", {}).get("module_args", {}).pop(name, None)
