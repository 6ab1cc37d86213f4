# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a command for the tests or a benchmark, and leaves nothing of it running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TOOK_TOO_LONG = 124


def tool(name: str) -> str:
    """The program of this name beside the interpreter that runs."""
    return str(Path(sys.executable).parent / name)


def start(command: Sequence[str], log: Path, *, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start the command as the leader of a session of its own, with its output at the end of the log and nothing to read."""
    with log.open("ab") as handle:
        return subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, "PWD": str(cwd), "ANSIBLE_NOCOLOR": "1", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def execute(command: Sequence[str], log: Path, *, seconds: float, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> tuple[int, float, float]:
    """Run the command with its output in the log: its status (124 if it took too long), and when it began and ended."""
    began = time.time()
    return wait(start(command, log, cwd=cwd, env=env), seconds), began, time.time()


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


def marked(name: str, value: str) -> list[int]:
    """The processes, without this one, that were started with the variable ``name`` set to ``value``: whoever their parent is by now."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue  # it has ended, or is none of ours
            if f"{name}={value}".encode() in environment.split(b"\0"):
                found.append(int(entry.name))
    return found


def sweep(name: str, value: str, seconds: float = 10) -> int:
    """Kill all that are :func:`marked`, and what they start meanwhile; how many there were. Raises TimeoutError if some are left."""
    killed: set[int] = set()
    deadline = time.monotonic() + seconds
    while left := marked(name, value):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {left} with {name}={value} do not end")
        for process in left:
            try:
                os.kill(process, signal.SIGKILL)
                killed.add(process)
            except ProcessLookupError:
                continue
        time.sleep(0.02)
    return len(killed)


def take_termination_for_interruption() -> None:
    """From now on a request to end is taken for Ctrl-C, so that whoever waits cleans up and nothing is left running."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
