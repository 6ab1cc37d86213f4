# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The values that the role cilium_migration gives to Cilium's chart, as a real ansible-playbook makes them of its variables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils.eviction import EvictionPolicy
from ansible_collections.netops.cni_migration.plugins.module_utils.preflight_model import Cluster, Settings
from ansible_collections.netops.cni_migration.plugins.module_utils.preflight_values import values as check

ROOT = Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles" / "cilium_migration"
DEVICES = {"k8s-ctr": ["eth0", "eth1"], "k8s-w1": ["eth0", "eth1"], "k8s-w2": ["ens3"]}

NOTHING_YET: dict[str, Any] = {"release": {"installed": False, "values": {}}}
CASES: dict[str, dict[str, Any]] = {
    "before the cluster was looked at": {},
    "first": {"__cilium_migration_status": NOTHING_YET},
    "limited": {"__cilium_migration_status": NOTHING_YET, "hosts": "k8s-w1"},
    "next": {"__cilium_migration_status": {"release": {"installed": True, "values": {"devices": ["eth1", "eth0"]}}}},
    "a string": {"__cilium_migration_status": {"release": {"installed": True, "values": {"devices": "eth1"}}}, "hosts": "k8s-w1"},
    "made without": {"__cilium_migration_status": {"release": {"installed": True, "values": {"MTU": 1450}}}},
    "of the site's own": {"__cilium_migration_status": NOTHING_YET, "cilium_migration_values_extra": {"devices": ["bond0"]}},
    "tunnel": {
        "__cilium_migration_status": NOTHING_YET,
        "cilium_migration_values_extra": {"routingMode": "tunnel", "autoDirectNodeRoutes": False},
    },
    "without kube-proxy at once": {"__cilium_migration_status": NOTHING_YET, "cilium_migration_values_extra": {"kubeProxyReplacement": True}},
    "with kube-proxy for ever": {"__cilium_migration_status": NOTHING_YET, "cilium_migration_values_extra": {"kubeProxyReplacement": False}},
    "runbook": {"__cilium_migration_status": NOTHING_YET, "cilium_migration_profile": "runbook"},
}


def plays(folder: Path) -> list[dict[str, Any]]:
    """For each case a play that writes both sets of values to a file of its name."""
    facts = {"name": "{{ inventory_hostname }}", "facts": {"links": [], "devices": "{{ devices }}"}}
    told = "{{ {'initial': __cilium_migration_values.initial, 'final': __cilium_migration_values.final} | to_json }}"
    return [
        {
            "name": f"Tell the values: {name}",
            "hosts": case.get("hosts", "all"),
            "gather_facts": False,
            "vars_files": [str(ROLE / "defaults" / "main.yml"), str(folder / f"{name}.vars"), str(ROLE / "vars" / "main.yml")],
            "tasks": [
                {"name": "Know the node", "ansible.builtin.set_fact": {"__cilium_migration_facts": facts}},
                {"name": "Tell", "ansible.builtin.copy": {"content": told, "dest": str(folder / name), "mode": "0600"}, "run_once": True},
            ],
        }
        for name, case in CASES.items()
    ]


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """By case, the values of both phases."""
    folder = tmp_path_factory.mktemp("values")
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_host": "192.168.10.100"}
    hosts = {name: {**here, "devices": devices} for name, devices in DEVICES.items()}
    (folder / "hosts.json").write_text(json.dumps({"control_plane": {"hosts": {"k8s-ctr": {}}}, "all": {"hosts": hosts}}), encoding="utf-8")
    for name, case in CASES.items():
        (folder / f"{name}.vars").write_text(json.dumps(case), encoding="utf-8")
    (folder / "play.json").write_text(json.dumps(plays(folder)), encoding="utf-8")
    result = subprocess.run(
        (str(Path(sys.executable).parent / "ansible-playbook"), "--inventory", str(folder / "hosts.json"), str(folder / "play.json")),
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible" / "collections")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return {name: json.loads((folder / name).read_text(encoding="utf-8")) for name in CASES}


@pytest.mark.parametrize(
    ("case", "devices"),
    [
        ("before the cluster was looked at", ["eth0", "eth1", "ens3"]),
        ("first", ["eth0", "eth1", "ens3"]),
        ("limited", ["eth0", "eth1"]),
        ("next", ["eth1", "eth0", "ens3"]),
        ("a string", ["eth1", "eth0"]),
        ("made without", None),
        ("of the site's own", ["bond0"]),
        ("runbook", None),
    ],
)
def test_devices_are_the_nodes_own_links_in_both_phases(values: dict[str, dict[str, Any]], case: str, devices: list[str] | None) -> None:
    assert [values[case][phase].get("devices") for phase in ("initial", "final")] == [devices, devices]


@pytest.mark.parametrize("case", CASES)
def test_the_preflight_accepts_the_values_of_the_role(values: dict[str, dict[str, Any]], case: str) -> None:
    told = {"values_initial": values[case]["initial"], "values_final": values[case]["final"]}
    settings = Settings(pod_cidr="10.245.0.0/16", tunnel_port=8473, evict=EvictionPolicy(), **told)
    flannel = {"metadata": {"name": "kube-flannel-ds", "namespace": "kube-flannel", "labels": {"app": "flannel"}}}
    found = [each.level for each in check(Cluster(nodes=[], daemonsets=[flannel]), settings, [])]
    assert found == ["refused" if "kube-proxy" in case else "ok"]
