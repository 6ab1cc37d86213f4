# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes importable what the tests import, under plain pytest from a checkout as under ansible-test.

That is ``ansible_collections.netops.cni_migration`` itself, which ansible-test brings along, and the modules that tests share: of the folders
of the tests, plain pytest puts each on the path when it comes to it, and ansible-test none.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COLLECTIONS = ROOT / ".ansible" / "collections"
SHARED = ("tests", "tests/unit", "tests/unit/plugins/module_utils", "tests/unit/security")


def _link_checkout() -> None:
    """Give the checkout the path that Python and Ansible expect of a collection."""
    link = COLLECTIONS / "ansible_collections" / "netops" / "cni_migration"
    if not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(ROOT)


if importlib.util.find_spec("ansible_collections") is None or "ansible_collections" not in str(ROOT):
    _link_checkout()
    sys.path.insert(0, str(COLLECTIONS))
sys.path[:0] = [str(ROOT / folder) for folder in SHARED]
