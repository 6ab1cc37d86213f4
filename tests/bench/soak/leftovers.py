# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab leaves on the machine it ran on: read before and after, and compared."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from processes import marked

MARK = "CNI_MIGRATION_SOAK"
"""The variable that everything has in its environment which was started by a soak, the supervisors of the lab's machines included."""

Seen = dict[str, set[str]]

# The driver's cgroups, on both versions; a machine's own are below them.
_CGROUP = re.compile(r".*?/(?:cni-lab[^/]*|k8s-(?:ctr|w\d+)[^/]*)")


def mount_points(mountinfo: str) -> set[str]:
    """The mount points in ``/proc/self/mountinfo`` (proc(5)), of which the fifth field is one."""
    return {fields[4] for line in mountinfo.splitlines() if len(fields := line.split()) > 4}


def cgroups(paths: Iterable[str]) -> set[str]:
    """The lab's cgroups among the folders below ``/sys/fs/cgroup``, each up to its own name."""
    return {found[0] for path in paths if (found := _CGROUP.match(path))}


def left(before: Mapping[str, set[str]], after: Mapping[str, set[str]]) -> dict[str, list[str]]:
    """What is there now and was not before, by kind; a kind of which there is nothing is not there."""
    return {kind: found for kind in after if (found := sorted(after[kind] - before.get(kind, set())))}


def told(found: Mapping[str, list[str]]) -> str:
    """``none``, or each kind with what there is of it."""
    return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in found.items()) or "none"


def look(mark: str, lab: Path) -> Seen:
    """Everything that the lab could leave, and what was there anyway. ``mark`` is the value of the variable, ``lab`` the lab's folder."""
    folders = ("/run/netns", "/sys/class/net")
    namespaces, links = (set(os.listdir(folder)) if os.path.isdir(folder) else set() for folder in folders)
    return {
        "namespaces": namespaces,
        "links": links,
        "mounts": mount_points(Path("/proc/self/mountinfo").read_text(encoding="utf-8")),
        "cgroups": cgroups(folder for folder, _folders, _files in os.walk("/sys/fs/cgroup")),
        "processes": {_process(number) for number in marked(MARK, mark)},
        "folders": {str(lab)} if lab.exists() else set(),
    }


def _process(number: int) -> str:
    try:
        words = (Path("/proc") / str(number) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return f"{number} (ended)"
    return f"{number} {b' '.join(words).decode(errors='replace').strip()[:80]}"
