# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits for a command that the tests or a benchmark run, and leaves nothing of it running."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any

TOOK_TOO_LONG = 124


def wait(process: subprocess.Popen[Any], seconds: float) -> int:
    """The exit status of a process that leads a session of its own.

    If it takes more than ``seconds`` it is ended and has the status 124. An interruption ends it, too.
    """
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        stop(process)
        return TOOK_TOO_LONG
    except BaseException:
        stop(process)
        raise


def stop(process: subprocess.Popen[Any]) -> None:
    """End the process with everything it started, by force after ten seconds."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=10)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
