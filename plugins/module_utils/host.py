# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The thin layer between the pure planners and the machine a module runs on.

Everything that starts a process or writes a file on a node goes through here, so that a module body holds
no I/O of its own and every failure carries what a person needs to understand it.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol


@dataclass(frozen=True)
class CommandResult:
    """One finished process: argument vector, exit status, decoded output and wall-clock seconds."""

    cmd: tuple[str, ...]
    rc: int
    stdout: str
    stderr: str
    seconds: float


class HostError(Exception):
    """Base of everything a module reports with ``fail_json``.

    ``facts`` is merged into the failure: ``cmd, rc, stdout, stderr`` for a command, ``path`` for a file.
    """

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.facts = facts


class Runner(Protocol):
    """What planners and drivers need of the host; tests pass a recording in its place."""

    def __call__(self, argv: Sequence[str], *, stdin: str | None = None, check: bool = True) -> CommandResult:
        """Run ``argv`` without a shell; see :func:`run`."""


class FailableModule(Protocol):
    """The part of ``AnsibleModule`` that reporting a failure needs."""

    def fail_json(self, msg: str, **kwargs: object) -> NoReturn:
        """End the module with a failure."""


def run(argv: Sequence[str], *, stdin: str | None = None, check: bool = True, timeout: float | None = None) -> CommandResult:
    """Run ``argv`` without a shell and in the C locale, feeding it ``stdin``.

    Raises :class:`HostError` when the program is absent, when ``timeout`` (seconds) passes, or, with ``check``,
    when it exits non-zero.
    """
    started = time.monotonic()
    env = dict(os.environ, LC_ALL="C", LANG="C")
    try:
        done = subprocess.run(list(argv), input=stdin, capture_output=True, text=True, errors="surrogateescape", timeout=timeout, env=env, check=False)
    except FileNotFoundError as exc:
        raise HostError(f"{argv[0]} is not installed", cmd=list(argv), rc=127, stdout="", stderr=str(exc)) from exc
    except subprocess.TimeoutExpired as exc:
        raise HostError(f"{argv[0]} did not end within {timeout} s", cmd=list(argv), rc=124, stdout="", stderr="") from exc
    result = CommandResult(tuple(argv), done.returncode, done.stdout, done.stderr, time.monotonic() - started)
    if check and result.rc != 0:
        raise HostError(
            f"{argv[0]} exited {result.rc}: {(result.stderr or result.stdout).strip()[:400]}",
            cmd=list(argv),
            rc=result.rc,
            stdout=result.stdout,
            stderr=result.stderr,
        )
    return result


def read_text(path: str) -> str | None:
    """The file's text with its own line endings, or None when it does not exist. Other failures raise :class:`HostError`."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as handle:
            return handle.read()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise HostError(f"cannot read {path}: {exc.strerror}", path=path) from exc


def write_atomic(path: str, text: str, mode: int) -> None:
    """Replace ``path`` by ``text`` in one step: a reader sees the old file or the new one, never a half.

    The new file is synced before it takes the name, has ``mode``, and keeps the owner of a file it replaces.
    Raises :class:`HostError` with nothing changed.
    """
    folder = os.path.dirname(path) or "."
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=folder)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        os.chmod(temporary, mode)
        if os.path.exists(path):
            owner = os.stat(path)
            os.chown(temporary, owner.st_uid, owner.st_gid)
        os.replace(temporary, path)
    except OSError as exc:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        raise HostError(f"cannot write {path}: {exc.strerror}", path=path) from exc


def fail(module: FailableModule, error: HostError) -> NoReturn:
    """End ``module`` with the error's message and its facts."""
    module.fail_json(msg=str(error), **error.facts)
