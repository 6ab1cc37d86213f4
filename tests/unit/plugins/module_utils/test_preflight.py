# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils import preflight
from ansible_collections.netops.cni_migration.plugins.module_utils.eviction import EvictionPolicy

SETTINGS = preflight.Settings(pod_cidr="10.245.0.0/16", tunnel_port=8473, evict=EvictionPolicy())


def node(name: str, ready: bool = True, state: str = "", address: str = "192.168.10.100") -> dict[str, Any]:
    labels = {"cni-migration.netops/state": state} if state else {}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {},
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "addresses": [{"type": "InternalIP", "address": address}],
            "nodeInfo": {"bootID": "b"},
        },
    }


def pod(name: str, on: str = "w1", labels: dict[str, str] | None = None, owner: str = "ReplicaSet", **spec: Any) -> dict[str, Any]:
    owners = [{"kind": owner, "controller": True}] if owner else []
    return {
        "metadata": {"namespace": "default", "name": name, "labels": labels or {}, "ownerReferences": owners},
        "spec": {"nodeName": on, "containers": [{}], **spec},
        "status": {"phase": "Running"},
    }


def daemonset(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "n", "labels": labels}}


def facts(**changes: Any) -> dict[str, Any]:
    links = [{"name": "eth1", "kind": "", "mtu": 1500, "addresses": ["192.168.10.100/24"]}, *changes.pop("more_links", [])]
    return {
        "kernel": "6.1.0-37-amd64",
        "bpf": True,
        "btf": True,
        "networkd_deletes_rules": False,
        "links": links,
        "udp_ports": [8472],
        "cni_active": "10-flannel.conflist",
        **changes,
    }


APISERVER = pod("kube-apiserver", on="ctr", labels={"component": "kube-apiserver"}, owner="Node", hostNetwork=True)
APISERVER["spec"]["containers"] = [{"command": ["kube-apiserver", "--service-cluster-ip-range=10.96.0.0/16"]}]
APISERVER["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
DNS = [pod("dns-a", on="ctr", labels={"k8s-app": "kube-dns"}), pod("dns-b", on="w1", labels={"k8s-app": "kube-dns"})]
FLANNEL = daemonset("kube-flannel-ds", app="flannel")


def cluster(pods: list[Any] | None = None, **changes: Any) -> preflight.Cluster:
    config = {"data": {"net-conf.json": json.dumps({"Network": "10.244.0.0/16"})}}
    parts: dict[str, Any] = {"nodes": [node("ctr"), node("w1")], "daemonsets": [FLANNEL], "flannel_config": config, **changes}
    return preflight.Cluster(pods=[APISERVER, *DNS, *(pods or [])], **parts)


def check(seen: preflight.Cluster, settings: preflight.Settings = SETTINGS, **nodes: Any) -> list[tuple[str, str, str, str]]:
    return [(f["level"], f["check"], f["node"], f["fact"]) for f in preflight.findings(seen, settings, nodes)]


def test_a_sound_cluster_has_nothing_against_it() -> None:
    assert check(cluster(), ctr=facts(), w1=facts()) == []


@pytest.mark.parametrize(
    ("pod_cidr", "other"),
    [
        ("10.244.128.0/17", "Flannel's pod CIDR 10.244.0.0/16"),
        ("10.0.0.0/8", "the service CIDR 10.96.0.0/16"),
        ("192.168.0.0/16", "the node network 192.168.10.0/24 (eth1 of ctr)"),
    ],
)
def test_overlapping_networks_are_refused_naming_both(pod_cidr: str, other: str) -> None:
    settings = preflight.Settings(pod_cidr=pod_cidr, tunnel_port=8473, evict=EvictionPolicy())
    found = check(cluster(), settings, ctr=facts())
    assert ("refused", "cidr", "", f"Cilium's pod CIDR {pod_cidr} overlaps {other}") in found


def test_flannels_own_links_are_no_node_network() -> None:
    bridge = {"name": "cni0", "kind": "bridge", "mtu": 1450, "addresses": ["10.244.1.1/24"]}
    assert check(cluster(), w1=facts(more_links=[bridge])) == []


def test_an_unreadable_service_cidr_is_said() -> None:
    seen = preflight.Cluster(nodes=[node("w1")], daemonsets=[FLANNEL])
    assert check(seen) == [("warning", "cidr", "", "the service CIDR cannot be read from the API server's flags")]


def test_a_tunnel_on_the_port_is_refused_naming_the_link() -> None:
    tunnel = {"name": "vxlan9", "kind": "vxlan", "mtu": 1450, "addresses": [], "vni": 9, "port": 8473}
    assert check(cluster(), w1=facts(more_links=[tunnel], udp_ports=[8473])) == [
        ("refused", "tunnel", "w1", "link vxlan9 (VNI 9) already uses UDP port 8473"),
    ]


def test_a_socket_on_the_port_is_refused() -> None:
    assert check(cluster(), w1=facts(udp_ports=[8473])) == [("refused", "tunnel", "w1", "UDP port 8473 is bound on the node")]


def test_ciliums_links_are_refused_only_where_no_cilium_runs() -> None:
    tunnel = {"name": "cilium_vxlan", "kind": "vxlan", "mtu": 1450, "addresses": [], "vni": None, "port": 8473}
    seen = facts(more_links=[tunnel, {"name": "cilium_host", "kind": "veth", "mtu": 1500, "addresses": []}], udp_ports=[8473])
    assert ("refused", "tunnel", "w1", "link cilium_host exists, but this cluster has no Cilium") in check(cluster(), w1=seen)
    assert check(cluster(daemonsets=[FLANNEL, daemonset("cilium")]), w1=seen) == []


@pytest.mark.parametrize(
    ("daemonsets", "fact"),
    [
        ([], "Flannel was not found; found no CNI"),
        ([daemonset("calico-node")], "Flannel was not found; found Calico"),
        ([daemonset("cilium")], "Flannel was not found; found Cilium"),
        ([FLANNEL, daemonset("weave-net")], "Weave Net runs in this cluster"),
    ],
)
def test_anything_but_flannel_is_refused_saying_what_was_found(daemonsets: list[Any], fact: str) -> None:
    assert ("refused", "cni", "", fact) in check(cluster(daemonsets=daemonsets))


def test_flannel_may_be_gone_once_nodes_were_migrated() -> None:
    nodes = [node("ctr", state="migrated"), node("w1", state="migrated")]
    assert check(cluster(nodes=nodes, daemonsets=[daemonset("cilium")]), w1=facts(cni_active="05-cilium.conflist")) == []


def test_a_foreign_active_configuration_is_refused() -> None:
    assert check(cluster(), w1=facts(cni_active="00-multus.conf")) == [("refused", "cni", "w1", "00-multus.conf is the active CNI configuration")]


def test_old_kernels_and_kernels_without_bpf_are_refused() -> None:
    found = check(cluster(), w1=facts(kernel="4.19.0-27-amd64", bpf=False, btf=False, networkd_deletes_rules=True))
    assert [(level, name) for level, name, _node, _fact in found] == [
        ("refused", "kernel"),
        ("refused", "kernel"),
        ("warning", "kernel"),
        ("warning", "networkd"),
    ]


def test_nodes_that_are_not_ready_or_unknown_are_refused() -> None:
    found = check(cluster(nodes=[node("ctr"), node("w1", ready=False)]), stranger=facts())
    assert found == [("refused", "node", "stranger", "the cluster has no node stranger"), ("refused", "ready", "w1", "the node is not Ready")]


def test_a_node_in_the_middle_of_its_move_may_be_away() -> None:
    assert check(cluster(nodes=[node("ctr"), node("w1", ready=False, state="draining")])) == []


def test_unequal_mtus_are_said() -> None:
    small = facts()
    small["links"] = [{"name": "eth1", "kind": "", "mtu": 1400, "addresses": ["192.168.10.101/24"]}]
    found = check(cluster(nodes=[node("ctr"), node("w1", address="192.168.10.101")]), ctr=facts(), w1=small)
    assert found == [("warning", "mtu", "", "the nodes' MTUs differ: 1500 on eth1 of ctr; 1400 on eth1 of w1")]


def test_losses_are_refused_until_accepted() -> None:
    pods = [pod("bare", owner=""), pod("cache", volumes=[{"name": "v", "emptyDir": {}}]), pod("agent", owner="DaemonSet", volumes=[{"emptyDir": {}}])]
    assert [(level, name) for level, name, _node, _fact in check(cluster(pods))] == [("refused", "local_data"), ("refused", "unmanaged")]
    accepting = preflight.Settings(pod_cidr="10.245.0.0/16", tunnel_port=8473, evict=EvictionPolicy(delete_emptydir_data=True, unmanaged_pods=True))
    assert [(level, name) for level, name, _node, _fact in check(cluster(pods), accepting)] == [("warning", "local_data"), ("warning", "unmanaged")]


def test_pods_of_migrated_nodes_are_not_drained_any_more() -> None:
    assert check(cluster([pod("bare", owner="")], nodes=[node("ctr"), node("w1", state="migrated")])) == []


@pytest.mark.parametrize(
    ("status", "level"),
    [
        ({"disruptionsAllowed": 1, "expectedPods": 2, "desiredHealthy": 1}, ""),
        ({"disruptionsAllowed": 0, "expectedPods": 1, "desiredHealthy": 1}, "refused"),
        ({"disruptionsAllowed": 0, "expectedPods": 2, "desiredHealthy": 1}, "warning"),
    ],
)
def test_a_budget_that_never_lets_go_is_refused_and_one_that_does_later_is_said(status: dict[str, int], level: str) -> None:
    budget = {"metadata": {"namespace": "default", "name": "b"}, "spec": {"selector": {"matchLabels": {"app": "web"}}}, "status": status}
    found = check(cluster([pod("web", labels={"app": "web"})], budgets=[budget]))
    assert [entry[:3] for entry in found] == ([(level, "budget", "w1")] if level else [])


def test_host_ports_single_replicas_and_dns_on_one_node_are_said() -> None:
    ports = pod("ingress")
    ports["spec"]["containers"] = [{"ports": [{"hostPort": 443}]}]
    web = {"metadata": {"namespace": "default", "name": "web", "labels": {}}, "spec": {"replicas": 1}}
    config = {"data": {"net-conf.json": "{}"}}
    seen = preflight.Cluster(
        nodes=[node("w1")],
        pods=[APISERVER, DNS[1], pod("dns-c", labels={"k8s-app": "kube-dns"}), ports],
        daemonsets=[FLANNEL],
        deployments=[web],
        flannel_config=config,
    )
    assert [(level, name) for level, name, _node, _fact in check(seen)] == [
        ("warning", "single_replica"),
        ("warning", "dns"),
        ("warning", "host_port"),
    ]


def test_direct_routes_need_one_network() -> None:
    seen = cluster(nodes=[node("ctr"), node("w1", address="192.168.20.101")])
    far = facts()
    far["links"] = [{"name": "eth1", "kind": "", "mtu": 1500, "addresses": ["192.168.20.101/24"]}]
    settings = replace(SETTINGS, direct_routes=True)
    assert check(seen, settings, ctr=facts(), w1=far) == [
        ("refused", "routing", "w1", "the node is in the network 192.168.20.0/24 and ctr in 192.168.10.0/24: there is no direct route between them")
    ]
    assert check(seen, SETTINGS, ctr=facts(), w1=far) == []


def test_a_change_of_the_routing_mode_is_told_with_its_price() -> None:
    found = check(cluster(), replace(SETTINGS, routing_changes=True), ctr=facts(), w1=facts())
    assert [(level, kind) for level, kind, _node, _fact in found] == [("warning", "routing")]
