# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which process a run is, and whether it lives: with real processes, and with folders in place of /proc."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils import processes
from ansible_collections.netops.cni_migration.plugins.module_utils.lease import UNKNOWN, Run
from ansible_collections.netops.cni_migration.plugins.module_utils.processes import NoSuchRun, Processes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

HERE = Processes()
# A name that would mislead whoever counts fields from the start of the line.
STAT = "{pid} (a) Z 1 (b) {state} 1 1 1 0 -1 4194560 100 0 0 0 1 1 0 0 20 0 1 0 {started} 1000 10 18446744073709551615"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives until it is killed."""
    with subprocess.Popen(("sleep", "60")) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_run_is_its_process_on_this_machine(sleeper: subprocess.Popen[bytes]) -> None:
    run = HERE.run(sleeper.pid)
    assert run.pid == sleeper.pid and run.person == processes.person()
    assert run.near(HERE.run(os.getpid())) and not run.same(HERE.run(os.getpid()))
    assert run == HERE.run(sleeper.pid) == Run.parse(str(run))
    boots, namespace = run.machine.split(".")
    assert Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").startswith(boots)
    assert os.readlink("/proc/self/ns/pid") == f"pid:[{namespace}]"


def test_a_process_lives_until_it_is_killed_whether_its_parent_knows_or_not(sleeper: subprocess.Popen[bytes]) -> None:
    run = HERE.run(sleeper.pid)
    assert HERE.alive(run)
    sleeper.send_signal(signal.SIGSTOP)
    assert HERE.alive(run), "one that is stopped can go on"
    sleeper.kill()
    stat = Path(f"/proc/{sleeper.pid}/stat")
    deadline = time.monotonic() + 10
    while ") Z " not in stat.read_text(encoding="ascii") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not HERE.alive(run), "a zombie does nothing any more"
    with pytest.raises(NoSuchRun):
        HERE.run(sleeper.pid)
    sleeper.wait()
    assert not HERE.alive(run)


def test_a_later_process_of_the_same_number_is_another_one(sleeper: subprocess.Popen[bytes]) -> None:
    run = HERE.run(sleeper.pid)
    assert not HERE.alive(replace(run, started=str(int(run.started) - 1)))


def test_a_process_that_is_not_there_is_no_run(sleeper: subprocess.Popen[bytes]) -> None:
    sleeper.kill()
    sleeper.wait()
    with pytest.raises(NoSuchRun, match=f"process {sleeper.pid}, for which the Lease is wanted, does not live on this machine"):
        HERE.run(sleeper.pid)


def fake_proc(folder: Path, *, shown: int | None = None) -> Path:
    """A /proc of a machine on which ``shown``, this process by default, looks at itself."""
    (folder / "sys/kernel/random").mkdir(parents=True)
    (folder / "sys/kernel/random/boot_id").write_text("6d0a5ac5-1c1f-4b0e-9d63-0a2ed2d3c1b7\n", encoding="ascii")
    me = str(os.getpid() if shown is None else shown)
    (folder / me / "ns").mkdir(parents=True)
    (folder / me / "ns/pid").touch()
    (folder / "self").symlink_to(me)
    return folder


def stat(proc: Path, pid: int, state: str = "S", started: int = 118734) -> None:
    (proc / str(pid)).mkdir(exist_ok=True)
    (proc / str(pid) / "stat").write_text(STAT.format(pid=pid, state=state, started=started), encoding="ascii")


def test_the_start_is_found_behind_any_name(tmp_path: Path) -> None:
    proc = fake_proc(tmp_path)
    stat(proc, 4242)
    run = Processes(proc).run(4242)
    assert (run.machine, run.pid, run.started) == (f"6d0a5ac5.{os.stat(proc / 'self/ns/pid').st_ino}", 4242, "118734")


@pytest.mark.parametrize(("state", "alive"), [("R", True), ("S", True), ("D", True), ("T", True), ("t", True), ("Z", False), ("X", False)])
def test_every_state_but_those_of_the_end_is_life(state: str, alive: bool, tmp_path: Path) -> None:
    proc = fake_proc(tmp_path)
    stat(proc, 4242, state)
    assert Processes(proc).alive(Run("a@b", "m", 4242, "118734")) is alive


def test_a_process_that_is_hidden_lives(tmp_path: Path) -> None:
    hidden = Processes(fake_proc(tmp_path))
    assert hidden.alive(Run("a@b", "m", 1, "3")), "as with hidepid=2"
    assert not hidden.alive(Run("a@b", "m", 999_999_999, "3"))


def test_without_proc_nothing_is_known_but_the_number(tmp_path: Path) -> None:
    assert Processes(tmp_path / "none").run(4242) == Run(processes.person(), UNKNOWN, 4242, UNKNOWN)


def test_the_proc_of_another_namespace_tells_nothing(tmp_path: Path) -> None:
    assert Processes(fake_proc(tmp_path, shown=os.getpid() + 1)).run(4242).machine == UNKNOWN


def test_a_person_is_written_in_plain_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes.socket, "gethostname", lambda: "ctl.example.org")
    monkeypatch.setattr(processes.pwd, "getpwuid", lambda _uid: type("Entry", (), {"pw_name": "AD\\ann smith/x"}))
    assert processes.person() == "AD-ann-smith-x@ctl.example.org"


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(processes.pwd, "getpwuid", nobody)
    assert processes.person().startswith(f"{os.getuid()}@")
