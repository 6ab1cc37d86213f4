# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the programs share that take one round after the other on the lab: each has an entry, and the entries decide the exit status."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lab import Failed

WELL = "well"
"""The verdict of a round that went well; any other says what did not."""


@contextlib.contextmanager
def kept(entry: dict[str, Any], file: Path) -> Iterator[None]:
    """Take a round whose ``entry`` is appended to ``file`` in any case; what :class:`Failed` in it becomes its verdict."""
    try:
        yield
    except Failed as failed:
        entry["verdict"] = str(failed)
    finally:
        with file.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(entry) + "\n")


def went_well(entries: Sequence[dict[str, Any]]) -> int:
    """How many rounds did."""
    return sum(entry["verdict"] == WELL for entry in entries)


def exit_status(entries: Sequence[dict[str, Any]], asked: int, status: int) -> int:
    """``status`` unless that is 0, else whether fewer rounds went well than were asked for."""
    return status or int(went_well(entries) < asked)
