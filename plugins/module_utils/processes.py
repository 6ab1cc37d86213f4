# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The thin layer that tells which process of which machine a run is, and whether it lives."""

from __future__ import annotations

import os
import pwd
import re
import socket
from pathlib import Path

from ansible_collections.netops.cni_migration.plugins.module_utils.lease import UNKNOWN, Run

_ENDED = "ZXx"
"""The states of a process that does nothing any more, though its parent has not asked for its exit status yet."""


class NoSuchRun(Exception):
    """The process that a run would be is not there."""


class Processes:
    """The processes of this machine, as ``proc`` shows them; where that is not there (macOS), nothing is known of any but its number."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc

    def run(self, pid: int) -> Run:
        """The run that the process is. Raises :class:`NoSuchRun` when it has ended."""
        machine = self._machine()
        if machine == UNKNOWN:
            return Run(person(), UNKNOWN, pid, UNKNOWN)
        started = self._started(pid)
        if started is None:
            raise NoSuchRun(f"process {pid}, for which the Lease is wanted, does not live on this machine")
        return Run(person(), machine, pid, started)

    def alive(self, holder: Run) -> bool:
        """Whether the process of a run that is :meth:`near <Run.near>` lives, and is not a later one of the same number."""
        return self._started(holder.pid) in (holder.started, UNKNOWN)

    def _machine(self) -> str:
        """The kernel's boot and the PID namespace, which together say what a process's number means."""
        try:
            # A namespace may show the processes of another one in its /proc.
            if os.readlink(self._proc / "self") != str(os.getpid()):
                return UNKNOWN
            boot = (self._proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
            return f"{boot[:8]}.{os.stat(self._proc / 'self/ns/pid').st_ino}"
        except OSError:
            return UNKNOWN

    def _started(self, pid: int) -> str | None:
        """When the process was started, in the kernel's ticks; None when it has ended, ``UNKNOWN`` when it is hidden from this user."""
        try:
            # The name of the program, in parentheses, may contain anything.
            fields = (self._proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            return UNKNOWN if _answers(pid) else None
        return None if fields[0] in _ENDED else fields[19]


def person() -> str:
    """``user@host``, in letters that mean nothing to a shell."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())  # as in a container that is run by a number
    return re.sub(r"[^A-Za-z0-9@._-]", "-", f"{user}@{socket.gethostname()}")


def _answers(pid: int) -> bool:
    """Whether there is a process of that number, may one look at it or not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
