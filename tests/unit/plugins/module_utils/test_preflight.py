# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The preflight as a whole. What each check says is tested by itself."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

from preflight_objects import (
    ADDRESSES,
    CILIUM,
    FLANNEL,
    KUBE_PROXY,
    SETTINGS,
    all_facts,
    budget,
    cluster,
    facts,
    lines,
    node,
    pod,
)

from ansible_collections.netops.cni_migration.plugins.module_utils import preflight

OF_THE_CLUSTER = {
    *("cni", "kube_proxy", "cidr", "blocks", "routing", "mtu", "dns", "single_replica", "policies", "endpoint", "proxy", "values", "chart", "watcher"),
    "image",
}
OF_A_NODE = {
    *("node", "ready", "cordon", "blocks", "disk", "kubelet", "cni", "leftover", "kernel", "tunnel", "ports", "networkd", "rp_filter", "iptables"),
    *("image", "unmanaged", "local_data", "budget", "host_port", "static_pod"),
}
OF_THE_CONTROL_PLANE = {"etcd"}


def checks(found: list[dict[str, str]], name: str) -> Counter[str]:
    return Counter(each["check"] for each in found if each["node"] == name)


def test_a_sound_cluster_has_one_ok_line_for_each_check() -> None:
    etcd = {"complaints": [], "stacked": True, "members": [], "summary": "the only member of etcd is on this node, and healthy"}
    found = preflight.findings(cluster(), SETTINGS, all_facts(k8s_ctr=facts("k8s-ctr", etcd=etcd)))
    assert {each["level"] for each in found} == {"ok"}
    assert checks(found, "") == Counter(OF_THE_CLUSTER)
    for name in ADDRESSES:
        assert checks(found, name) == Counter(OF_A_NODE | (OF_THE_CONTROL_PLANE if name == "k8s-ctr" else set()))
    assert all(each["fact"] and not each["advice"] for each in found)


def test_each_check_is_documented() -> None:
    text = (Path(__file__).parents[4] / "docs" / "preflight.md").read_text(encoding="utf-8")
    tables = text.split("## The cluster")[1].split("## Each node")
    assert [set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) for table in tables] == [OF_THE_CLUSTER, OF_A_NODE | OF_THE_CONTROL_PLANE]


def test_what_is_not_ok_says_what_to_do() -> None:
    broken = facts(
        "k8s-w1", kernel="4.4.0", bpf=False, kubelet="failed", networkd_deletes=["rules"], tcp_listeners=[{"port": 9879, "process": "socat (7)"}], rp_filter=1
    )
    found = preflight.findings(cluster(pod("bare", owner="")), SETTINGS, all_facts(k8s_w1=broken))
    noted = [each for each in found if each["level"] != "ok"]
    assert len(noted) == 7
    assert all(each["fact"] and each["advice"] for each in noted)
    assert [each["level"] for each in found] == sorted((each["level"] for each in found), key=("refused", "warning", "ok").index)


def test_each_check_still_has_a_line_where_something_is_wrong() -> None:
    broken = facts("k8s-w1", kernel="4.4.0", bpf=False, kubelet="failed")
    found = preflight.findings(cluster(pod("bare", owner="")), SETTINGS, all_facts(k8s_w1=broken))
    assert checks(found, "k8s-w1").keys() == OF_A_NODE


def test_nodes_that_have_moved_are_not_looked_at() -> None:
    nodes = [node("k8s-ctr"), node("k8s-w1", state="migrated", ready="False"), node("k8s-w2")]
    seen = cluster(pod("bare", owner=""), nodes=nodes, daemonsets=[FLANNEL, KUBE_PROXY, CILIUM])
    found = preflight.findings(seen, SETTINGS, all_facts(k8s_w1=facts("k8s-w1", kernel="4.4.0")))
    assert {each["level"] for each in found} == {"ok"}
    assert checks(found, "k8s-w1") == {}


def test_of_a_finished_cluster_there_is_little_to_say() -> None:
    nodes = [node(name, state="migrated") for name in ADDRESSES]
    found = preflight.findings(cluster(nodes=nodes, daemonsets=[CILIUM], flannel_config=None), SETTINGS, all_facts())
    assert [(each["level"], each["fact"]) for each in found] == [
        ("ok", "Flannel was removed by this migration"),
        ("ok", "every node of the cluster has moved"),
    ]


def test_a_node_in_the_middle_of_its_move_may_be_away_cordoned_and_on_either_cni() -> None:
    mine = node("k8s-w1", state="switched", ready="Unknown")
    mine["spec"]["unschedulable"] = True
    seen = cluster(nodes=[node("k8s-ctr"), mine, node("k8s-w2")], daemonsets=[FLANNEL, KUBE_PROXY, CILIUM])
    known = facts("k8s-w1", kubelet="inactive", cni_active="05-cilium.conflist", cni_plugins=["cilium-cni"])
    assert lines(seen, known=all_facts(k8s_w1=known)) == []
    assert lines(seen, check="ready")[1] == ("ok", "k8s-w1", "the node is away in the middle of its move, in state switched")
    assert lines(seen, check="cordon")[1] == ("ok", "k8s-w1", "the node is cordoned by its move")


def test_nodes_outside_the_run_are_asked_of_the_api_server_only() -> None:
    only = {"k8s-w1": facts("k8s-w1")}
    seen = cluster(pod("bare", "k8s-w2", owner=""), nodes=[node("k8s-ctr", ready="Unknown"), node("k8s-w1"), node("k8s-w2")])
    assert lines(seen, known=only) == [
        ("refused", "ready", "the node is not Ready: Kubelet stopped posting node status."),
        ("warning", "node", "no host of this run is this node: it was not looked at"),
        ("warning", "node", "no host of this run is this node: it was not looked at"),
    ]
    begun = cluster(daemonsets=[FLANNEL, KUBE_PROXY, CILIUM])
    assert lines(begun, known=only) == []


def test_a_large_cluster_takes_no_time_worth_the_name() -> None:
    names = [f"n{number}" for number in range(100)]
    nodes: list[dict[str, Any]] = [node(name) for name in names]
    pods = [pod(f"p{number}", names[number % 100], labels={"app": f"a{number % 500}"}) for number in range(10_000)]
    for each in pods:
        each["metadata"]["namespace"] = f"ns{int(each['metadata']['name'][1:]) % 500}"
    budgets = [budget("b", {"app": f"a{number}"}, disruptionsAllowed=1) for number in range(500)]
    for number, each in enumerate(budgets):
        each["metadata"]["namespace"] = f"ns{number}"
    started = time.monotonic()
    found = preflight.findings(cluster(*pods, nodes=nodes, budgets=budgets), SETTINGS, {name: facts() for name in names})
    assert time.monotonic() - started < 5
    assert {each["level"] for each in found} == {"ok"}
