# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of this repository, and the tasks in them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
Task = dict[str, Any]


def files(*folders: str) -> Iterator[Path]:
    """What git has, or would take, of the folders; without any, of everything."""
    command = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *folders)
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return (ROOT / name for name in sorted(filter(None, listed.split("\0"))) if (ROOT / name).is_file())


@cache
def tasks(*folders: str) -> list[tuple[Path, Task]]:
    """Every task in the YAML files of the folders, those in blocks and handlers, too, with its file."""
    texts = ((path, path.read_text(encoding="utf-8")) for path in files(*folders) if path.suffix == ".yml")
    return [(path, task) for path, text in texts for each in yaml.safe_load_all(text) for task in _tasks(each)]


def _tasks(node: Any) -> Iterator[Task]:
    if isinstance(node, list):
        for each in node:
            yield from _tasks(each)
    elif isinstance(node, dict):
        if any("." in str(key) and not str(key).endswith("import_playbook") for key in node):
            yield node
        for key in ("tasks", "handlers", "pre_tasks", "post_tasks", "block", "rescue", "always"):
            yield from _tasks(node.get(key))
