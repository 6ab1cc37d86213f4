# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The values that the role cilium_migration gives to Cilium's chart, as a real ansible-playbook makes them of its variables."""

from __future__ import annotations

from typing import Any

import pytest
from role_variables import evaluated

from ansible_collections.netops.cni_migration.plugins.module_utils.eviction import EvictionPolicy
from ansible_collections.netops.cni_migration.plugins.module_utils.preflight_model import Cluster, Settings
from ansible_collections.netops.cni_migration.plugins.module_utils.preflight_values import values as check

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


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """By case, the values of both phases."""
    both = "{'initial': __cilium_migration_values.initial, 'final': __cilium_migration_values.final}"
    return evaluated(tmp_path_factory.mktemp("values"), CASES, both)


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
