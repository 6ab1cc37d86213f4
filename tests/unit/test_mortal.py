# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from mortal import AS_SCRIPT, mortal

PARENT = """
import subprocess, sys
sys.path.insert(0, sys.argv[1])
from mortal import mortal
child = subprocess.Popen(mortal("print('started', flush=True); import time; time.sleep(600)"), stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""


def lives(pid: int) -> bool:
    """Whether the process does anything; nobody may have asked for its end yet."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return False


def test_it_ends_with_a_parent_that_is_killed() -> None:
    with subprocess.Popen((sys.executable, "-c", PARENT, str(Path(__file__).parent)), stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert lives(pid)
        parent.kill()
    deadline = time.monotonic() + 10
    while lives(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not lives(pid)


def test_it_does_not_begin_when_its_parent_has_ended() -> None:
    python, option, code, _parent = mortal("print('here')")
    assert subprocess.run((python, option, code, "1"), capture_output=True, text=True, check=True).stdout == ""


def test_arguments_and_scripts_are_as_they_would_be_without_it(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import sys\nprint(__name__, *sys.argv)\n", encoding="utf-8")
    said = subprocess.run(mortal(AS_SCRIPT, str(script), "a", "b"), capture_output=True, text=True, check=True).stdout
    assert said == f"__main__ {script} a b\n"
