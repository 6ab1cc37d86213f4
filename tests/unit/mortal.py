# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of tests that end with the test run, also where that is killed and cleans nothing up."""

from __future__ import annotations

import os
import sys

# The kernel sends the signal when the parent ends (PR_SET_PDEATHSIG is 1). One that ended before that has left a process with another parent.
PROLOGUE = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv.pop(1)):
    sys.exit()
"""

AS_SCRIPT = """
import runpy
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def mortal(code: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs Python ``code`` with ``arguments`` as a process that ends with this one."""
    return (sys.executable, "-c", PROLOGUE + code, str(os.getpid()), *arguments)
