# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory of the runbook's lab under a real ansible-inventory, with a Vagrant that is played, and with a real one where there is one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from vagrant_stand_in import NAMES, Vagrant

from ansible_collections.netops.cni_migration.plugins.module_utils import vagrant as module

ROOT = Path(__file__).resolve().parents[4]
COLLECTIONS = Path(module.__file__).parents[5]


def read(vagrant: Vagrant, **environment: str) -> tuple[dict[str, Any], str]:
    """The inventory by the Vagrant that is played, and what was said beside it."""
    return read_in(vagrant.folder, **{"PATH": f"{vagrant.bin}:{os.environ['PATH']}", **environment})


def read_in(folder: Path, **environment: str) -> tuple[dict[str, Any], str]:
    """The inventory of a run that is started in the folder, and what was said beside it."""
    result = subprocess.run(
        (str(Path(sys.executable).parent / "ansible-inventory"), "--inventory", str(ROOT / "inventories" / "vagrant"), "--list"),
        cwd=folder,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    # What a plugin sets is marked as never to be a template.
    return json.loads(result.stdout, object_hook=lambda item: item.get("__ansible_unsafe", item)), " ".join(result.stderr.split())


def test_machines_that_run_have_a_way_to_them(tmp_path: Path) -> None:
    vagrant = Vagrant(tmp_path, k8s_ctr="running", k8s_w1="running", k8s_w2="running")
    inventory, said = read(vagrant)
    assert inventory["control_plane"]["hosts"] == ["k8s-ctr"]
    assert inventory["workers"]["hosts"] == ["k8s-w1", "k8s-w2"]
    for name in NAMES:
        variables = inventory["_meta"]["hostvars"][name]
        assert (variables["ansible_host"], variables["ansible_port"], variables["ansible_user"]) == ("127.0.0.1", 2222, "vagrant")
        assert variables["ansible_ssh_private_key_file"] == f"/keys/{name}/private_key"
        assert variables["vm_provision_driver"] == "vagrant"
    assert [inventory["_meta"]["hostvars"][name]["cni_migration_node_ip"] for name in NAMES] == ["192.168.10.100", "192.168.10.101", "192.168.10.102"]
    assert "WARNING" not in said
    assert vagrant.asked == ["status --machine-readable", "ssh-config k8s-ctr k8s-w1 k8s-w2"]


def test_a_machine_that_does_not_run_is_there_and_named(tmp_path: Path) -> None:
    vagrant = Vagrant(tmp_path, k8s_ctr="running", k8s_w1="poweroff")
    inventory, said = read(vagrant)
    assert "ansible_host" in inventory["_meta"]["hostvars"]["k8s-ctr"]
    assert "ansible_host" not in inventory["_meta"]["hostvars"]["k8s-w1"]
    assert [inventory["_meta"]["hostvars"][name]["vagrant_state"] for name in NAMES] == ["running", "poweroff", "not_created"]
    assert inventory["workers"]["hosts"] == ["k8s-w1", "k8s-w2"]
    assert "k8s-w1 is poweroff, k8s-w2 is not_created" in said
    assert vagrant.asked[1:] == ["ssh-config k8s-ctr"]


def test_without_a_machine_that_runs_nothing_else_is_asked(tmp_path: Path) -> None:
    vagrant = Vagrant(tmp_path)
    inventory, _said = read(vagrant)
    assert inventory["control_plane"]["hosts"] == ["k8s-ctr"]
    assert vagrant.asked == ["status --machine-readable"]


def test_a_failure_is_told_in_vagrants_words(tmp_path: Path) -> None:
    vagrant = Vagrant(tmp_path)
    (tmp_path / "broken").touch()
    _inventory, said = read(vagrant)
    assert "It is broken, it is." in said


def test_the_lack_of_vagrant_is_told(tmp_path: Path) -> None:
    vagrant = Vagrant(tmp_path)
    (tmp_path / "empty").mkdir()
    _inventory, said = read(vagrant, PATH=str(tmp_path / "empty"))
    assert "Vagrant is not on the path" in said


@pytest.mark.skipif(shutil.which("vagrant") is None, reason="there is no vagrant on the path")
def test_a_real_vagrant_is_understood(tmp_path: Path) -> None:
    """By the Vagrantfile of this repository, with ``VBoxManage`` played: what has an ID runs, and its SSH is forwarded to that port."""
    shutil.copy(ROOT / "Vagrantfile", tmp_path)
    for name, port in (("k8s-ctr", "2222"), ("k8s-w2", "2201")):
        machine = tmp_path / ".vagrant" / "machines" / name / "virtualbox"
        machine.mkdir(parents=True)
        (machine / "id").write_text(port, encoding="utf-8")
        (machine / "private_key").touch(mode=0o600)
    inventory, said = read_in(
        tmp_path,
        PATH=f"{ROOT / 'tests' / 'vagrant' / 'bin'}:{os.environ['PATH']}",
        VAGRANT_DEFAULT_PROVIDER="virtualbox",
        VAGRANT_HOME=str(tmp_path / "home"),
    )
    variables = inventory["_meta"]["hostvars"]
    assert [variables[name].get("ansible_port") for name in NAMES] == [2222, None, 2201]
    assert variables["k8s-w2"]["ansible_ssh_private_key_file"] == f"{tmp_path}/.vagrant/machines/k8s-w2/virtualbox/private_key"
    assert "k8s-w1 is not_created" in said
