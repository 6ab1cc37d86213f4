# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver `vagrant` of the role vm_provision under a real ansible-playbook, with a Vagrant that is played and machines that are this one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from vagrant_stand_in import Vagrant

ROOT = Path(__file__).resolve().parents[3]

SITE = """\
- name: Provide the machines
  hosts: k8s_nodes
  gather_facts: false
  vars:
    ansible_connection: local
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  roles:
    - role: netops.cni_migration.vm_provision
  post_tasks:
    - name: Say how the machine is reached
      ansible.builtin.debug:
        msg: "{{ inventory_hostname }} is at {{ ansible_host }}:{{ ansible_port }}"
"""


def play(vagrant: Vagrant, playbook: Path, *options: str, inventory: Path = ROOT / "inventories" / "vagrant") -> str:
    """What ansible-playbook says on its standard output."""
    result = subprocess.run(
        (str(Path(sys.executable).parent / "ansible-playbook"), "--inventory", str(inventory), str(playbook), *options),
        cwd=vagrant.folder,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible" / "collections"),
            "PATH": f"{vagrant.bin}:{os.environ['PATH']}",
            "PWD": str(vagrant.folder),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def site(vagrant: Vagrant, *options: str) -> str:
    playbook = vagrant.folder / "site.yml"
    playbook.write_text(SITE, encoding="utf-8")
    return play(vagrant, playbook, *options)


def test_machines_that_do_not_run_are_started_and_then_reached(tmp_path: Path) -> None:
    vagrant = Vagrant(tmp_path, k8s_w1="running", k8s_w2="poweroff")
    said = site(vagrant)
    assert [command for command in vagrant.asked if command.startswith("up")] == ["up k8s-ctr k8s-w2"]
    assert vagrant.states == ["running"] * 3
    for name in ("k8s-ctr", "k8s-w1", "k8s-w2"):
        assert f"{name} is at 127.0.0.1:2222" in said


def test_machines_that_run_are_left_alone(tmp_path: Path) -> None:
    vagrant = Vagrant(tmp_path, k8s_ctr="running", k8s_w1="running", k8s_w2="running")
    said = site(vagrant)
    assert [command.split()[0] for command in vagrant.asked] == ["status", "ssh-config"], "by the inventory alone"
    assert "changed=0" in said
    assert "changed=1" not in said


def test_check_mode_starts_nothing_and_says_what_it_would_start(tmp_path: Path) -> None:
    vagrant = Vagrant(tmp_path, k8s_ctr="running")
    said = " ".join(site(vagrant, "--check").split())
    assert vagrant.states == ["running", "not_created", "not_created"]
    assert "k8s-w1 (192.168.10.101) does not run: Vagrant would start it" in said
    assert "k8s-ctr is at 127.0.0.1:2222" in said
    assert "k8s-w1 is at" not in said


def test_the_machines_that_there_are_are_destroyed(tmp_path: Path) -> None:
    vagrant = Vagrant(tmp_path, k8s_ctr="running", k8s_w1="poweroff")
    destroy = ROOT / "playbooks" / "lab_destroy.yml"
    assert "changed=1" in play(vagrant, destroy)
    assert [command for command in vagrant.asked if command.startswith("destroy")] == ["destroy --force k8s-ctr k8s-w1"]
    assert vagrant.states == ["not_created"] * 3
    assert "changed=0" in play(vagrant, destroy)


def test_machines_that_vagrant_does_not_tell_of_are_not_passed_over(tmp_path: Path) -> None:
    vagrant = Vagrant(tmp_path, k8s_ctr="running")
    hosts = tmp_path / "hosts.yml"  # the machines without the plugin
    hosts.write_text((ROOT / "inventories" / "vagrant" / "hosts.yml").read_text(encoding="utf-8"), encoding="utf-8")
    play(vagrant, ROOT / "playbooks" / "lab_destroy.yml", "--extra-vars", "vm_provision_driver=vagrant", inventory=hosts)
    assert [command for command in vagrant.asked if command.startswith("destroy")] == ["destroy --force k8s-ctr k8s-w1 k8s-w2"]
