# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The armed roll-back: a process on the node that puts the rules back unless somebody confirms in time.

Its state is a folder under /run, which a reboot empties together with the rules it is about:

* what :meth:`purge_host.Node.unhook` puts there
* ``armed``: whoever renames this file decides: to ``confirmed``, and nothing is put back; to ``expired``, and all of it is
* ``outcome.json``: how putting back ended

A confirmed one is removed at once.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable

from ansible_collections.netops.cni_migration.plugins.module_utils.host import HostError, read_text, write_atomic
from ansible_collections.netops.cni_migration.plugins.module_utils.xt_kernel import xtables_lock

FOLDER = "/run/cni-migration"
_ARMED = "armed"
_ATTEMPTS = 10
_LOOK_EVERY = 0.2


def prepare() -> str:
    """A new folder for a roll-back. Raises :class:`HostError`; then nothing must be taken out."""
    try:
        os.makedirs(FOLDER, mode=0o700, exist_ok=True)
        return tempfile.mkdtemp(prefix="iptables-purge-", dir=FOLDER)
    except OSError as exc:
        raise HostError(f"cannot prepare the roll-back in {FOLDER}: {exc.strerror}; nothing was changed", path=FOLDER) from exc


def arm(folder: str, seconds: float, undo: Callable[[str], None]) -> None:
    """Start the process that calls ``undo(folder)`` in ``seconds``, unless the roll-back is called off before."""
    write_atomic(os.path.join(folder, _ARMED), "", 0o600)
    deadline = time.monotonic() + seconds
    child = os.fork()
    if child == 0:
        _detach(folder, deadline, undo)
    os.waitpid(child, 0)


def call_off(folder: str) -> bool:
    """Call the roll-back off; False when it has begun already."""
    if not _claim(folder, "confirmed"):
        return False
    shutil.rmtree(folder, ignore_errors=True)
    return True


def confirm(folder: str) -> None:
    """Call the roll-back off. Raises :class:`HostError` when it has begun, after waiting for its end.

    A folder that is no more was confirmed before, by a step whose answer got lost.
    """
    if call_off(folder) or not os.path.isdir(folder):
        return
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        outcome = read_text(os.path.join(folder, "outcome.json"))
        if outcome is not None:
            error = json.loads(outcome)["error"]
            if error:
                raise HostError(f"nobody confirmed in time, and putting the rules back failed: {error}. What they were is in {folder}", rolled_back=False)
            raise HostError("nobody confirmed over a new connection in time, so the rules were put back as they were", rolled_back=True)
        time.sleep(_LOOK_EVERY)
    raise HostError(f"the roll-back in {folder} has begun and does not end", rolled_back=False)


def _claim(folder: str, name: str) -> bool:
    """Decide the outcome; False when it has been decided already."""
    try:
        os.rename(os.path.join(folder, _ARMED), os.path.join(folder, name))
    except OSError:
        return False
    return True


def _detach(folder: str, deadline: float, undo: Callable[[str], None]) -> None:
    """In a child: become a process of its own that no ending of this session takes along, and watch."""
    status = 1
    try:
        os.setsid()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        if os.fork() == 0:
            os.chdir("/")
            nowhere = os.open(os.devnull, os.O_RDWR)
            # The module's output ends, and its lock is free, only when nobody holds them open any more.
            for descriptor in (0, 1, 2):
                os.dup2(nowhere, descriptor)
            os.closerange(3, 1 + max(map(int, os.listdir("/proc/self/fd"))))
            _watch(folder, deadline, undo)
        status = 0
    finally:
        os._exit(status)


def _watch(folder: str, deadline: float, undo: Callable[[str], None]) -> None:
    while time.monotonic() < deadline:
        if not os.path.exists(os.path.join(folder, _ARMED)):
            return
        time.sleep(_LOOK_EVERY)
    if not _claim(folder, "expired"):
        return
    error = ""
    for _attempt in range(_ATTEMPTS):
        try:
            with xtables_lock():
                undo(folder)
            error = ""
            break
        except Exception as exc:  # whatever it is, the rules are still missing, and this process is the last that knows them
            error = str(exc)
            time.sleep(1)
    write_atomic(os.path.join(folder, "outcome.json"), json.dumps({"error": error}), 0o600)
