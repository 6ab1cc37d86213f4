# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from preflight_objects import (
    ADDRESSES,
    APISERVER,
    CILIUM,
    DNS,
    FLANNEL,
    KUBE_PROXY,
    SETTINGS,
    all_facts,
    cluster,
    daemonset,
    deployment,
    facts,
    lines,
    link,
    node,
    pod,
)

from ansible_collections.netops.cni_migration.plugins.module_utils import preflight


@pytest.mark.parametrize(
    ("pod_cidr", "other"),
    [
        ("10.244.128.0/17", "Flannel's pod CIDR 10.244.0.0/16"),
        ("10.0.0.0/8", "the service CIDR 10.96.0.0/16"),
        ("192.168.0.0/16", "the node network 192.168.10.0/24 (eth1 of k8s-ctr)"),
    ],
)
def test_overlapping_networks_are_refused_naming_both(pod_cidr: str, other: str) -> None:
    assert ("refused", "", f"Cilium's pod CIDR {pod_cidr} overlaps {other}") in lines(settings=replace(SETTINGS, pod_cidr=pod_cidr), check="cidr")


def test_flannels_own_network_may_overlap_nothing_either() -> None:
    tunnel = link("tun0", "tun", addresses=("10.244.200.1/24",))
    found = lines(known=all_facts(k8s_w2=facts("k8s-w2", tunnel)), check="cidr")
    assert found == [("refused", "", "Flannel's pod CIDR 10.244.0.0/16 overlaps the node network 10.244.200.0/24 (tun0 of k8s-w2)")]


def test_a_route_to_the_pod_network_is_refused_until_cilium_makes_such_routes() -> None:
    routed = [{"network": "192.168.10.0/24", "device": "eth1"}, {"network": "10.245.7.0/24", "device": "eth1"}]
    known = all_facts(k8s_w2=facts("k8s-w2", routed_networks=routed))
    assert lines(known=known, check="cidr") == [("refused", "", "Cilium's pod CIDR 10.245.0.0/16 overlaps the route to 10.245.7.0/24 (eth1 of k8s-w2)")]
    assert lines(cluster(daemonsets=[FLANNEL, KUBE_PROXY, CILIUM]), known=known) == []


def test_flannel_may_route_by_the_nodes_links() -> None:
    known = all_facts(k8s_w2=facts("k8s-w2", routed_networks=[{"network": "10.244.1.0/24", "device": "eth1"}]))
    assert lines(known=known) == []


def test_what_does_not_overlap_is_named() -> None:
    fact = "Cilium 10.245.0.0/16; Flannel 10.244.0.0/16; Services 10.96.0.0/16; nodes 10.0.2.0/24; nodes 192.168.10.0/24: nothing overlaps"
    assert lines(check="cidr") == [("ok", "", fact)]


@pytest.mark.parametrize("pod_cidr", ["10.245.0.1/16", "10.245.0.0/33", "ten"])
def test_what_is_no_network_is_refused(pod_cidr: str) -> None:
    [(level, _node, fact)] = lines(settings=replace(SETTINGS, pod_cidr=pod_cidr), check="cidr")
    assert level == "refused"
    assert fact.startswith("Cilium's pod CIDR is no network: ")
    assert pod_cidr in fact


def test_an_unreadable_service_cidr_is_said() -> None:
    found = lines(cluster(pods=DNS), check="cidr")
    assert found == [("warning", "", "the service CIDR cannot be read from the API server's flags")]


def test_a_service_cidr_of_both_families_is_read() -> None:
    both = copy.deepcopy(APISERVER)
    both["spec"]["containers"][0]["command"][2] = "--service-cluster-ip-range=10.96.0.0/12,fd00:10:96::/112"
    seen = cluster(pods=[both, *DNS])
    assert lines(seen) == []
    assert ("refused", "", "Cilium's pod CIDR 10.100.0.0/16 overlaps the service CIDR 10.96.0.0/12") in lines(
        seen, replace(SETTINGS, pod_cidr="10.100.0.0/16"), check="cidr"
    )


@pytest.mark.parametrize(
    ("daemonsets", "level", "fact"),
    [
        ([], "refused", "Flannel was not found; found no CNI by a DaemonSet"),
        ([daemonset("calico-node")], "refused", "Flannel was not found; found Calico"),
        ([CILIUM], "refused", "Flannel was not found; found Cilium"),
        ([FLANNEL, daemonset("weave-net")], "refused", "Weave Net runs in this cluster"),
        ([daemonset("kube-flannel-ds", "kube-flannel", ready=2, app="flannel")], "warning", "Flannel is Ready on 2 of 3 nodes"),
        ([FLANNEL], "ok", "DaemonSet kube-flannel/kube-flannel-ds is the only CNI"),
    ],
)
def test_anything_but_a_whole_flannel_is_said_naming_what_was_found(daemonsets: list[Any], level: str, fact: str) -> None:
    other = facts("k8s-w1", links=[], cni_files=["10-other.conf"])
    assert (level, "", fact) in lines(cluster(daemonsets=daemonsets), known={"k8s-w1": other}, check="cni")


def test_what_flannel_leaves_on_a_node_is_said_where_no_daemonset_runs_it() -> None:
    """As k3s does, in whose process Flannel is."""
    fact = "Flannel was not found; found no CNI by a DaemonSet, but flannel.1 on k8s-ctr and 2 other nodes"
    assert lines(cluster(daemonsets=[KUBE_PROXY]), check="cni")[0] == ("refused", "", fact)
    [advice] = [each["advice"] for each in preflight.findings(cluster(daemonsets=[KUBE_PROXY]), SETTINGS, all_facts()) if each["level"] == "refused"]
    assert "label app=flannel" in advice
    bare = {name: facts(name, links=[], cni_files=["10-flannel.conflist"]) for name in ("k8s-w1",)}
    assert ("refused", "cni", "Flannel was not found; found no CNI by a DaemonSet, but 10-flannel.conflist on k8s-w1") in lines(
        cluster(daemonsets=[KUBE_PROXY]), known=bare
    )


def test_flannel_in_a_namespace_that_the_ending_would_not_delete_is_refused() -> None:
    elsewhere = cluster(daemonsets=[daemonset("flannel", "net", app="flannel"), KUBE_PROXY])
    fact = "DaemonSet net/flannel is not in kube-flannel, the namespace that the ending deletes"
    assert lines(elsewhere, check="cni")[0] == ("refused", "", fact)
    assert ("ok", "", "DaemonSet net/flannel is the only CNI") in lines(elsewhere, replace(SETTINGS, flannel_namespace="net"), check="cni")


@pytest.mark.parametrize("namespace", ["kube-system", "default", "kube-public"])
def test_flannel_in_a_namespace_that_cannot_be_deleted_is_refused(namespace: str) -> None:
    old = cluster(daemonsets=[daemonset("kube-flannel-ds", namespace, app="flannel"), KUBE_PROXY])
    fact = f"DaemonSet {namespace}/kube-flannel-ds is in a namespace that nobody can delete"
    for settings in (SETTINGS, replace(SETTINGS, flannel_namespace=namespace)):
        assert [line for line in lines(old, settings, check="cni") if line[0] == "refused"] == [("refused", "", fact)]


def test_pods_of_others_in_flannels_namespace_are_refused() -> None:
    here = [
        pod("kube-flannel-ds-x", owner="DaemonSet", hostNetwork=True),
        pod("other", owner="DaemonSet"),
        pod("bare", owner=""),
        pod("job", phase="Succeeded"),
    ]
    for each in here:
        each["metadata"]["namespace"] = "kube-flannel"
    here[0]["metadata"]["ownerReferences"][0]["name"] = "kube-flannel-ds"
    found = [line for line in lines(cluster(*here), check="cni") if line[0] == "refused"]
    assert found == [("refused", "", "the ending deletes the namespace kube-flannel, and with it kube-flannel/bare, kube-flannel/other")]


def test_a_backend_that_was_not_measured_is_said() -> None:
    config = {"data": {"net-conf.json": json.dumps({"Network": "10.244.0.0/16", "Backend": {"Type": "host-gw"}})}}
    assert ("warning", "cni", "Flannel uses its backend host-gw") in lines(cluster(flannel_config=config))


def test_flannel_may_be_gone_once_nodes_were_migrated() -> None:
    nodes = [node(name, state="migrated") for name in ADDRESSES]
    assert lines(cluster(nodes=nodes, daemonsets=[CILIUM], flannel_config=None)) == []


@pytest.mark.parametrize(
    ("daemonsets", "level", "fact"),
    [
        ([FLANNEL], "warning", "there is no DaemonSet kube-proxy"),
        ([FLANNEL, daemonset("kube-proxy", ready=1)], "warning", "kube-proxy is Ready on 1 of 3 nodes"),
        ([FLANNEL, KUBE_PROXY], "ok", "kube-proxy is Ready on every node"),
    ],
)
def test_services_need_their_kube_proxy(daemonsets: list[Any], level: str, fact: str) -> None:
    assert lines(cluster(daemonsets=daemonsets), check="kube_proxy") == [(level, "", fact)]


def test_direct_routes_need_one_network() -> None:
    far = facts("k8s-w1", link("eth2", addresses=("192.168.20.101/24",)))
    seen = cluster(nodes=[node("k8s-ctr"), node("k8s-w1", addresses=[{"type": "InternalIP", "address": "192.168.20.101"}]), node("k8s-w2")])
    direct = replace(SETTINGS, direct_routes=True)
    assert lines(seen, direct, all_facts(k8s_w1=far), "routing") == [
        ("refused", "k8s-w1", "the node is in the network 192.168.20.0/24 and k8s-ctr in 192.168.10.0/24: there is no direct route between them")
    ]
    assert lines(seen, SETTINGS, all_facts(k8s_w1=far)) == []
    assert lines(settings=direct, check="routing") == [("ok", "", "the nodes are in 192.168.10.0/24, and the routing mode stays the same")]


def test_a_node_whose_network_was_not_seen_is_said() -> None:
    nodes = [node("k8s-ctr"), node("k8s-w1", addresses=[{"type": "InternalIP", "address": "203.0.113.7"}]), node("k8s-w2")]
    found = lines(cluster(nodes=nodes), replace(SETTINGS, direct_routes=True), check="routing")
    assert found == [("warning", "k8s-w1", "the node's internal address 203.0.113.7 is on none of its links")]


def test_a_change_of_the_routing_mode_is_told_with_its_price() -> None:
    [(level, _node, fact)] = lines(settings=replace(SETTINGS, routing_changes=True), check="routing")
    assert (level, "12 to 25 s" in fact) == ("warning", True)


def test_unequal_mtus_are_said() -> None:
    small = facts("k8s-w1")
    small["links"][2]["mtu"] = 1400
    assert lines(known=all_facts(k8s_w1=small), check="mtu") == [("warning", "", "the nodes' MTUs differ: 1500 on eth1 of k8s-ctr; 1400 on eth1 of k8s-w1")]
    assert lines(check="mtu") == [("ok", "", "the nodes' links carry 1500 bytes")]


@pytest.mark.parametrize(
    ("replicas", "level", "fact"),
    [
        ([], "warning", "no pod has the label k8s-app=kube-dns"),
        (["k8s-w1"], "warning", "cluster DNS has one replica"),
        (["k8s-w1", "k8s-w1"], "warning", "all 2 replicas of cluster DNS are on k8s-w1"),
        (["k8s-w1", "k8s-ctr"], "ok", "cluster DNS has 2 replicas, on k8s-ctr, k8s-w1"),
    ],
)
def test_dns_on_one_node_is_said(replicas: list[str], level: str, fact: str) -> None:
    pods = [pod(f"coredns-{number}", on, labels={"k8s-app": "kube-dns"}) for number, on in enumerate(replicas)]
    assert lines(cluster(pods=[APISERVER, *pods]), check="dns") == [(level, "", fact)]


def test_deployments_of_one_replica_are_said_each() -> None:
    deployments = [deployment("web", 1), deployment("coredns", 1, **{"k8s-app": "kube-dns"}), deployment("off", 0), deployment("wide", 3)]
    assert lines(cluster(deployments=deployments), check="single_replica") == [("warning", "", "Deployment default/web has one replica")]
    assert lines(check="single_replica") == [("ok", "", "none of 2 Deployments has a single replica")]


def test_a_node_of_the_control_plane_among_the_workers_is_refused() -> None:
    seen = cluster(nodes=[node("k8s-ctr", control_plane=True), node("k8s-w1", control_plane=True), node("k8s-w2")])
    fact = "it is a node of the control plane, but its host is not in the group control_plane: it would be moved with the workers"

    def refused(control_plane: list[str] | None, *known: str) -> list[tuple[str, str]]:
        found = lines(seen, replace(SETTINGS, control_plane=control_plane), {name: facts(name) for name in known or ADDRESSES}, check="node")
        return [(name, said) for level, name, said in found if level == "refused"]

    assert refused(["k8s-ctr"]) == [("k8s-w1", fact)]
    assert refused([]) == [("k8s-ctr", fact), ("k8s-w1", fact)]
    assert refused(["k8s-ctr", "k8s-w1"]) == refused(None) == []
    assert refused([], "k8s-w2") == [], "only nodes of this run are moved"


def test_a_host_that_is_no_node_is_refused() -> None:
    known = {**all_facts(), "stranger": facts("k8s-w1")}
    assert ("refused", "stranger", "the cluster has no node stranger") in lines(known=known, check="node")
    advice = next(each["advice"] for each in preflight.findings(cluster(), SETTINGS, known) if each["level"] == "refused")
    assert "cilium_migration_node_name" in advice
