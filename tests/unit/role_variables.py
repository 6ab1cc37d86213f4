# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role cilium_migration makes of its variables, by a real ansible-playbook on hosts that are this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles" / "cilium_migration"
DEVICES = {"k8s-ctr": ["eth0", "eth1"], "k8s-w1": ["eth0", "eth1"], "k8s-w2": ["ens3"]}
"""The hosts, and what ``cni_node_info`` tells of their devices."""


def evaluated(folder: Path, cases: Mapping[str, Mapping[str, Any]], expression: str) -> dict[str, Any]:
    """By case what the expression comes to with its variables, on all hosts or on the ``hosts`` that it names."""
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_host": "192.168.10.100"}
    hosts = {name: {**here, "devices": devices} for name, devices in DEVICES.items()}
    inventory, playbook = folder / "hosts.json", folder / "play.json"
    inventory.write_text(json.dumps({"control_plane": {"hosts": {"k8s-ctr": {}}}, "all": {"hosts": hosts}}), encoding="utf-8")
    for name, case in cases.items():
        (folder / f"{name}.vars").write_text(json.dumps(case), encoding="utf-8")
    playbook.write_text(json.dumps([_play(folder, name, case.get("hosts", "all"), expression) for name, case in cases.items()]), encoding="utf-8")
    result = subprocess.run(
        (str(Path(sys.executable).parent / "ansible-playbook"), "--inventory", str(inventory), str(playbook)),
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible" / "collections")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return {name: json.loads((folder / name).read_text(encoding="utf-8")) for name in cases}


def _play(folder: Path, name: str, hosts: str, expression: str) -> dict[str, Any]:
    facts = {"name": "{{ inventory_hostname }}", "facts": {"links": [], "devices": "{{ devices }}"}}
    told = {"content": "{{ (" + expression + ") | to_json }}", "dest": str(folder / name), "mode": "0600"}
    return {
        "name": name,
        "hosts": hosts,
        "gather_facts": False,
        "vars_files": [str(ROLE / "defaults" / "main.yml"), str(folder / f"{name}.vars"), str(ROLE / "vars" / "main.yml")],
        "tasks": [
            {"name": "Know the node", "ansible.builtin.set_fact": {"__cilium_migration_facts": facts}},
            {"name": "Tell", "ansible.builtin.copy": told, "run_once": True},
        ],
    }
