# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils import migration_status as status

NETWORKS = {"cilium": "10.245.0.0/16", "flannel": "10.244.0.0/16"}


def node(name: str = "w1", state: str = "", **labels: str) -> dict[str, Any]:
    if state:
        labels["cni-migration.netops/state"] = state
    return {"metadata": {"name": name, "labels": labels}, "spec": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}


def pod(name: str, address: str, on: str = "w1", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "default", "name": name}, "spec": {"nodeName": on, **spec}, "status": {"podIP": address, "phase": "Running"}}


def test_pods_are_sorted_by_network_and_those_without_their_own_are_left_out() -> None:
    ended = pod("job", "10.244.0.9")
    ended["status"]["phase"] = "Succeeded"
    pods = [pod("a", "10.244.0.2"), pod("b", "10.245.1.2"), pod("c", "172.17.0.2"), pod("d", "192.168.10.101", hostNetwork=True), pod("e", ""), ended]
    assert status.pods_by_network(pods, NETWORKS) == {
        "cilium": ["default/b 10.245.1.2"],
        "flannel": ["default/a 10.244.0.2"],
        "other": ["default/c 172.17.0.2"],
    }


@pytest.mark.parametrize(
    ("labelled", "on_flannel", "on_cilium", "cni"),
    [(False, 0, 0, "flannel"), (True, 0, 0, "cilium"), (False, 2, 0, "flannel"), (True, 0, 3, "cilium"), (True, 1, 1, "mixed"), (True, 1, 0, "flannel")],
)
def test_the_pods_say_which_cni_a_node_is_on(labelled: bool, on_flannel: int, on_cilium: int, cni: str) -> None:
    assert status.cni_of(labelled, on_flannel, on_cilium) == cni


def test_the_cluster_is_migrated_when_every_node_is() -> None:
    daemonsets = [{"metadata": {"name": "cilium"}}, {"metadata": {"name": "kube-proxy"}}]
    half = status.cluster_status([node("w1", "migrated"), node("w2")], [pod("a", "10.244.0.2", on="w2")], daemonsets, NETWORKS)
    assert (half["pending"], half["all_migrated"], half["outside"]) == (["w2"], False, ["default/a 10.244.0.2"])
    assert (half["cilium"], half["kube_proxy"], half["flannel"]) == (True, True, False)
    assert status.cluster_status([node("w1", "migrated")], [], daemonsets, NETWORKS)["all_migrated"] is True
    assert status.cluster_status([], [], daemonsets, NETWORKS)["all_migrated"] is False


def test_the_cluster_is_back_when_cilium_is_gone_and_the_old_world_there() -> None:
    daemonsets = [{"metadata": {"name": "kube-flannel-ds", "labels": {"app": "flannel"}}}, {"metadata": {"name": "kube-proxy"}}]
    pods = [pod("a", "10.244.0.2")]
    assert status.cluster_status([node("w1")], pods, daemonsets, NETWORKS)["way_back"]["verdict"] == "returned"
    beside = [*daemonsets, {"metadata": {"name": "cilium"}}]
    assert status.cluster_status([node("w1")], pods, beside, NETWORKS)["way_back"]["verdict"] == "partial"
    assert status.cluster_status([node("w1")], pods, daemonsets[:1], NETWORKS)["way_back"]["verdict"] == "partial"
    labelled = node("w1", **{"io.cilium.migration/cilium-default": "true"})
    assert status.cluster_status([labelled], pods, daemonsets, NETWORKS)["way_back"]["pending"] == ["w1"]


def test_flannel_is_known_by_its_label_and_its_network_by_its_configmap() -> None:
    flannel = {"metadata": {"name": "kube-flannel-ds", "labels": {"app": "flannel"}}}
    assert status.flannel_daemonset([{"metadata": {"name": "x"}}, flannel]) is flannel
    assert status.flannel_network({"data": {"net-conf.json": '{"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}'}}) == "10.244.0.0/16"
    assert status.flannel_network(None) == ""
    assert status.flannel_backend({"data": {"net-conf.json": '{"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}'}}) == "vxlan"
    assert [status.flannel_backend(config) for config in (None, {}, {"data": {"net-conf.json": "{}"}})] == ["", "", ""]


def revision(number: int, state: str, values: dict[str, Any] | None = None) -> dict[str, Any]:
    release = {"config": values, "chart": {"metadata": {"version": "1.17.6"}}}
    stored = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(release).encode()))).decode()
    return {"metadata": {"name": f"sh.helm.release.v1.cilium.v{number}", "labels": {"status": state}}, "data": {"release": stored}}


def test_the_deployed_revision_tells_the_values_and_unfinished_ones_are_named() -> None:
    secrets = [
        revision(1, "superseded", {"a": 0}),
        revision(2, "deployed", {"a": 1}),
        revision(3, "pending-upgrade"),
        revision(4, "failed"),
        revision(5, "uninstalling"),
    ]
    assert status.helm_release(secrets) == {
        "installed": True,
        "values": {"a": 1},
        "chart_version": "1.17.6",
        "unfinished": ["sh.helm.release.v1.cilium.v3", "sh.helm.release.v1.cilium.v4", "sh.helm.release.v1.cilium.v5"],
    }


def test_no_revision_is_no_release() -> None:
    assert status.helm_release([]) == {"installed": False, "values": {}, "chart_version": "", "unfinished": []}
