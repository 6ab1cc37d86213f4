# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two operators with real ansible-playbooks: one wins, the other is told who; a killed run is followed at once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "tests/unit/plugins/module_utils"))
from fake_lease_server import LeaseServer

ROOT = Path(__file__).resolve().parents[4]
PLAYBOOK = Path(__file__).with_name("hold.yml")
ELSEWHERE = {
    "holderIdentity": "alice@elsewhere/0badc0de.4026531836/4242/118734",
    "leaseDurationSeconds": 3600,
    "acquireTime": "2026-01-17T20:30:12.000000Z",
    "renewTime": "2099-01-17T20:30:12.000000Z",
    "leaseTransitions": 0,
}


class Operator:
    """Runs the playbook, or has it run while the test goes on."""

    def __init__(self, server: LeaseServer, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.running: list[subprocess.Popen[str]] = []

    def start(self, *options: str) -> subprocess.Popen[str]:
        command = [str(Path(sys.executable).with_name("ansible-playbook")), str(PLAYBOOK), f"--extra-vars=hold_folder={self.folder}"]
        env = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible" / "collections"),
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
            "ANSIBLE_NOCOLOR": "1",
        }
        self.running.append(subprocess.Popen([*command, *options], env=env, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        return self.running[-1]

    def run(self, *options: str) -> tuple[int, str]:
        """The exit status and the output, in one line."""
        process = self.start(*options)
        output, _none = process.communicate(timeout=90)
        return process.returncode, " ".join(output.split())

    def holder(self, process: subprocess.Popen[str]) -> str:
        """Wait until the process holds the Lease; its identity."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            lease = self.server.lease
            if lease and lease["spec"]["holderIdentity"].split("/")[2] == str(process.pid):
                return str(lease["spec"]["holderIdentity"])
            time.sleep(0.1)
        raise AssertionError(f"process {process.pid} does not hold the Lease: {self.server.lease}")

    def go(self) -> None:
        """Let those that wait go on."""
        (self.folder / "go").touch()


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    server = LeaseServer()
    made = Operator(server, tmp_path)
    with server.running(tmp_path):
        try:
            yield made
        finally:
            made.go()  # also for what a killed run has left
            for process in made.running:
                process.kill()
                process.communicate()


def test_one_run_holds_it_and_leaves_nothing(operator: Operator) -> None:
    operator.go()
    status, output = operator.run()
    assert status == 0 and "changed=0" in output, output
    assert operator.server.writes == ["POST", "PATCH", "DELETE"] and operator.server.lease is None


def test_the_second_is_refused_while_the_first_lives_and_follows_when_it_is_killed(operator: Operator) -> None:
    first = operator.start()
    holder = operator.holder(first)
    status, output = operator.run()
    assert status == 2 and f"process {first.pid}, holds the Lease kube-system/cni-migration since" in output, output
    assert f"cilium_migration_take_over={holder}" in output and "TASK [Hold | Work]" not in output
    assert operator.server.writes == ["POST"]
    first.kill()
    first.wait()
    operator.go()
    status, output = operator.run()
    assert status == 0 and operator.server.lease is None, output


def test_who_is_taken_over_from_stops_at_its_next_step_and_says_by_whom(operator: Operator) -> None:
    first = operator.start()
    second = operator.start(f"--extra-vars=cilium_migration_take_over={operator.holder(first)}")
    operator.holder(second)
    second.kill()
    second.wait()
    operator.go()
    output, _none = first.communicate(timeout=60)
    told = " ".join(output.split())
    assert first.returncode == 2 and "This run has lost the Lease kube-system/cni-migration and stops here." in told, told
    assert f"process {second.pid}, holds it since" in told and "TASK [netops.cni_migration.cilium_migration : lease | Keep other" in told


@pytest.mark.parametrize("options", [["--check"], ["--tags=preflight"]])
def test_who_changes_nothing_is_only_told(options: list[str], operator: Operator) -> None:
    operator.go()
    operator.server.write(ELSEWHERE)
    status, output = operator.run(*options)
    assert status == 0 and "Another run is changing this cluster: alice@elsewhere, process 4242," in output, output
    assert operator.server.writes == [] and operator.server.lease
    operator.server.write(None)
    status, output = operator.run(*options)
    assert status == 0 and "Another run" not in output, output
    assert operator.server.writes == [] and operator.server.lease is None


def test_a_run_elsewhere_is_respected_until_it_is_named(operator: Operator) -> None:
    operator.go()
    operator.server.write(ELSEWHERE)
    status, output = operator.run()
    assert status == 2 and "until 2099-01-17T21:30:12Z unless it renews it. Nothing was changed." in output, output
    assert operator.server.writes == []
    status, output = operator.run(f"--extra-vars=cilium_migration_take_over={ELSEWHERE['holderIdentity']}")
    assert status == 0 and operator.server.lease is None, output
