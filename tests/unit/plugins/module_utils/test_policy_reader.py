# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policies of a cluster, through the real client and over real connections to an API server that answers as it is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_api_server import FakeApiServer

from ansible_collections.netops.cni_migration.plugins.module_utils import cluster
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_reader import ClusterReader
from ansible_collections.netops.cni_migration.plugins.module_utils.policy_reader import read_policies

pytest.importorskip("kubernetes")

POLICY = {"metadata": {"name": "database", "namespace": "shop"}, "spec": {"podSelector": {}}}
TENANTS = {"metadata": {"name": "tenants"}, "spec": {}}


def test_every_kind_that_is_defined_is_read(tmp_path: Path) -> None:
    served = {
        "/apis/networking.k8s.io/v1/networkpolicies": {"items": [POLICY]},
        "/apis/cilium.io/v2/ciliumnetworkpolicies": {"items": []},
        "/apis/policy.networking.k8s.io/v1alpha1/adminnetworkpolicies": {"items": [TENANTS]},
    }
    server = FakeApiServer(served, {})
    with server.running(tmp_path) as kubeconfig:
        found = read_policies(ClusterReader(kubeconfig))
    assert found == {
        "NetworkPolicy": [POLICY],
        "CiliumNetworkPolicy": [],
        "CiliumClusterwideNetworkPolicy": [],
        "AdminNetworkPolicy": [TENANTS],
        "BaselineAdminNetworkPolicy": [],
    }
    assert [path for path, _query in server.asked] == [
        "/apis/networking.k8s.io/v1/networkpolicies",
        "/apis/cilium.io/v2/ciliumnetworkpolicies",
        "/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies",
        "/apis/policy.networking.k8s.io/v1alpha1/adminnetworkpolicies",
        "/apis/policy.networking.k8s.io/v1alpha1/baselineadminnetworkpolicies",
    ]


def test_an_api_server_that_is_away_is_not_a_cluster_without_policies(tmp_path: Path) -> None:
    with FakeApiServer({}, {}).running(tmp_path) as kubeconfig:
        api = ClusterReader(kubeconfig)
    with pytest.raises(cluster.ApiUnavailable, match=r"^list networkpolicies: "):
        read_policies(api)
