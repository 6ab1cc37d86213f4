# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real runs of ansible-playbook, killed and held at a task."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from faults.points import Boundary, boundaries, records
from processes import marked, start, sweep, tool, wait

TESTS = Path(__file__).resolve().parents[2]

MARK = "CNI_MIGRATION_TEST_RUN"
MODULE = """\
from ansible.module_utils.basic import AnsibleModule
AnsibleModule({}).exit_json(changed=False, steps=[{"name": "drain", "seconds": 2.5, "changed": True, "detail": "x"}])
"""


def run(folder: Path, tasks: list[dict[str, Any]], point: dict[str, Any] | None) -> subprocess.Popen[bytes]:
    """Start a playbook with these tasks, to be disturbed at this point."""
    (folder / "library").mkdir()
    (folder / "library" / "walker.py").write_text(MODULE, encoding="utf-8")
    play = {"name": "Play", "hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    (folder / "ansible.cfg").write_text("[defaults]\n", encoding="utf-8")  # not the checkout's
    (folder / "play.yml").write_text(json.dumps([play]), encoding="utf-8")
    env = {
        MARK: str(folder),
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_LIBRARY": str(folder / "library"),
        "ANSIBLE_CALLBACK_PLUGINS": str(TESTS / "faults" / "callback"),
        "CNI_MIGRATION_FAULT_FOLDER": str(folder),
        "CNI_MIGRATION_FAULT_POINT": json.dumps(point),
    }
    interpreter = f"ansible_python_interpreter={sys.executable}"
    return start((tool("ansible-playbook"), "-i", "localhost,", "-e", interpreter, "play.yml"), folder / "log", cwd=folder, env=env)


def announced(folder: Path) -> list[Boundary]:
    return boundaries(records((folder / "boundaries.jsonl").read_text(encoding="utf-8")))


def touch(folder: Path, name: str) -> dict[str, Any]:
    return {"name": f"x | Touch {name}", "ansible.builtin.command": {"argv": ["touch", str(folder / name)]}}


def test_a_run_is_killed_before_the_task_begins_and_after_the_one_before_has_ended(tmp_path: Path) -> None:
    process = run(tmp_path, [touch(tmp_path, "one"), touch(tmp_path, "two"), touch(tmp_path, "three")], {"number": 3, "seconds": 0, "act": "kill"})
    assert wait(process, 60) == -signal.SIGKILL
    sweep(MARK, str(tmp_path))
    assert [name for name in ("one", "two", "three") if (tmp_path / name).exists()] == ["one", "two"]
    assert [start.task for start in announced(tmp_path)] == ["x | Touch one", "x | Touch two", "x | Touch three"]


def test_a_run_is_killed_in_the_middle_of_a_task_and_nothing_of_it_works_on(tmp_path: Path) -> None:
    nap = {"name": "x | Nap", "ansible.builtin.command": {"argv": ["sleep", "300"]}}
    process = run(tmp_path, [nap, touch(tmp_path, "late")], {"task": "x | Nap", "seconds": 1.5, "act": "kill"})
    assert wait(process, 60) == -signal.SIGKILL
    assert sweep(MARK, str(tmp_path)) > 0, "workers have sessions of their own"
    assert marked(MARK, str(tmp_path)) == []
    assert not (tmp_path / "late").exists()


def test_a_task_that_is_quicker_than_its_kill_is_the_last_one(tmp_path: Path) -> None:
    process = run(tmp_path, [touch(tmp_path, "one"), touch(tmp_path, "two")], {"number": 1, "seconds": 300, "act": "kill"})
    assert wait(process, 60) == -signal.SIGKILL
    assert (tmp_path / "one").exists() and not (tmp_path / "two").exists()


def test_a_run_is_held_until_it_may_go_on(tmp_path: Path) -> None:
    process = run(tmp_path, [touch(tmp_path, "one"), touch(tmp_path, "two")], {"task": "x | Touch two", "act": "hold"})
    deadline = time.monotonic() + 60
    while not (tmp_path / "held").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    assert (tmp_path / "one").exists() and not (tmp_path / "two").exists()
    (tmp_path / "go").touch()
    assert wait(process, 60) == 0
    assert (tmp_path / "two").exists()


def test_an_undisturbed_run_tells_what_its_tasks_were_made_of(tmp_path: Path) -> None:
    tasks = [{"name": "x | Walk", "walker": {}}, {"name": "x | Include", "ansible.builtin.include_tasks": "more.yml"}]
    (tmp_path / "more.yml").write_text(json.dumps([touch(tmp_path, "one")]), encoding="utf-8")
    assert wait(run(tmp_path, tasks, None), 60) == 0, (tmp_path / "log").read_text()
    found = announced(tmp_path)
    assert [(start.number, start.play, start.task) for start in found] == [(1, "Play", "x | Walk"), (2, "Play", "x | Include"), (3, "Play", "x | Touch one")]
    assert found[0].steps == (("drain", 2.5),) and found[0].ended > found[0].at and found[1].steps == ()
    assert "WARNING" not in (tmp_path / "log").read_text(encoding="utf-8")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="processes are found in /proc")
def test_only_what_bears_the_mark_is_ended(tmp_path: Path) -> None:
    others = start(("sleep", "60"), tmp_path / "log", env={MARK: "another"})
    mine = start(("sh", "-c", "setsid sleep 60 & sleep 60"), tmp_path / "log", env={MARK: "mine"})
    try:
        while len(marked(MARK, "mine")) < 3:
            time.sleep(0.01)
        assert sweep(MARK, "mine") == 3 and others.poll() is None
        assert sweep(MARK, "mine") == 0
    finally:
        others.kill()
        for process in (others, mine):
            process.wait(timeout=10)
