# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from preflight_objects import SETTINGS, all_facts, budget, cluster, lines, manifests, pod, static_pod

from ansible_collections.netops.cni_migration.plugins.module_utils import preflight
from ansible_collections.netops.cni_migration.plugins.module_utils.eviction import EvictionPolicy

WEB = {"app": "shop"}


def of_w1(check: str, *pods: dict[str, Any], settings: Any = SETTINGS, **changes: Any) -> list[tuple[str, str]]:
    """The lines of a check about k8s-w1."""
    return [(level, fact) for level, name, fact in lines(cluster(*pods, **changes), settings, check=check) if name == "k8s-w1"]


def test_pods_without_a_controller_are_refused_until_accepted() -> None:
    fact = "pod default/bare has no controller: once evicted it is gone"
    accepting = replace(SETTINGS, evict=EvictionPolicy(unmanaged_pods=True))
    assert of_w1("unmanaged", pod("bare", owner="")) == [("refused", fact)]
    assert of_w1("unmanaged", pod("bare", owner=""), settings=accepting) == [("warning", fact)]
    assert of_w1("unmanaged", pod("bare", owner="", phase="Succeeded")) == [("ok", "of 2 pods to be evicted each has a controller")]


def test_local_data_is_refused_until_accepted() -> None:
    keeping = {"volumes": [{"name": "config", "configMap": {"name": "c"}}, {"name": "data", "emptyDir": {}}]}
    fact = "pod default/cache keeps data in an emptyDir: eviction deletes it"
    accepting = replace(SETTINGS, evict=EvictionPolicy(delete_emptydir_data=True))
    assert of_w1("local_data", pod("cache", **keeping)) == [("refused", fact)]
    assert of_w1("local_data", pod("cache", **keeping), settings=accepting) == [("warning", fact)]
    assert of_w1("local_data", pod("agent", owner="DaemonSet", **keeping)) == [("ok", "of 2 pods to be evicted none keeps data in an emptyDir")]


@pytest.mark.parametrize(
    ("status", "level", "fact"),
    [
        ({"disruptionsAllowed": 1, "currentHealthy": 2, "expectedPods": 2, "desiredHealthy": 1}, "ok", "of 3 pods to be evicted no budget holds any back"),
        ({"disruptionsAllowed": 0, "currentHealthy": 2, "expectedPods": 2, "desiredHealthy": 2}, "refused", "budget default/b never lets pod default/shop go"),
        (
            {"disruptionsAllowed": 0, "currentHealthy": 1, "expectedPods": 2, "desiredHealthy": 1},
            "warning",
            "budget default/b lets pod default/shop go only when more of its pods are healthy",
        ),
    ],
)
def test_a_budget_that_never_lets_go_is_refused_and_one_that_does_later_is_said(status: dict[str, int], level: str, fact: str) -> None:
    assert of_w1("budget", pod("shop", labels=WEB), budgets=[budget("b", WEB, **status)]) == [(level, fact)]


def test_a_blocking_budget_can_be_accepted() -> None:
    closed = [budget("b", WEB, disruptionsAllowed=0, expectedPods=1, desiredHealthy=1)]
    [(level, _fact)] = of_w1("budget", pod("shop", labels=WEB), budgets=closed, settings=replace(SETTINGS, accept_blocking_budgets=True))
    assert level == "warning"


def test_a_pod_under_two_budgets_is_refused_though_both_would_allow_it() -> None:
    open_ones = [budget(name, WEB, disruptionsAllowed=1, expectedPods=2, desiredHealthy=1) for name in ("b", "a")]
    fact = "pod default/shop is under the budgets a and b, and the API server evicts no pod that is under more than one"
    assert of_w1("budget", pod("shop", labels=WEB), budgets=open_ones) == [("refused", fact)]


def test_a_pod_that_is_pending_is_held_back_by_no_budget() -> None:
    closed = [budget("b", WEB, disruptionsAllowed=0, expectedPods=1, desiredHealthy=1)]
    [(level, _fact)] = of_w1("budget", pod("shop", labels=WEB, phase="Pending"), budgets=closed)
    assert level == "ok"


def test_a_budget_of_another_namespace_or_for_other_pods_does_not_matter() -> None:
    elsewhere = budget("b", WEB, disruptionsAllowed=0, expectedPods=1, desiredHealthy=1)
    elsewhere["metadata"]["namespace"] = "other"
    others = budget("c", {"app": "other"}, disruptionsAllowed=0, expectedPods=1, desiredHealthy=1)
    [(level, _fact)] = of_w1("budget", pod("shop", labels=WEB), budgets=[elsewhere, others])
    assert level == "ok"


def test_host_ports_in_use_are_said() -> None:
    ingress = pod("ingress", owner="DaemonSet")
    ingress["spec"]["containers"] = [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 9}]}, {"ports": [{"hostPort": 8443}]}]
    assert of_w1("host_port", ingress) == [("warning", "pod default/ingress uses host port 8080, 8443")]
    on_host = pod("exporter", hostNetwork=True)
    on_host["spec"]["containers"] = [{"name": "c", "ports": [{"containerPort": 9100, "hostPort": 9100}]}]
    assert of_w1("host_port", on_host) == [("ok", "of 3 pods none uses a host port")]


def host_port(port: int, **config: str) -> tuple[str, str, str]:
    """What is said of a pod with this host port where moved nodes serve such, and where they do not."""
    ingress = pod("ingress", owner="DaemonSet")
    ingress["spec"]["containers"] = [{"name": "c", "ports": [{"containerPort": 80, "hostPort": port}]}]

    def said(served: bool) -> dict[str, str]:
        settings = replace(SETTINGS, host_ports_served=served, manifests=manifests(**config))
        [found] = [each for each in preflight.findings(cluster(ingress), settings, all_facts()) if each["check"] == "host_port" and each["level"] != "ok"]
        return found

    served, dead = said(True), said(False)
    assert (served["level"], dead["level"], served["fact"]) == ("warning", "warning", dead["fact"])
    return served["fact"], served["advice"], dead["advice"]


def test_who_serves_a_host_port_on_a_moved_node_is_said() -> None:
    _fact, served, dead = host_port(8080)
    assert served.startswith("Cilium serves it from the move of its node on")
    assert dead == "nothing serves host ports between the move of its node and the ending"


def test_a_host_port_among_the_node_ports_is_never_served_again() -> None:
    advice = "Cilium serves none among its NodePorts (30000-32767), and after the move of its node nothing else does: choose another"
    assert host_port(31080)[1:] == (advice, advice)
    narrow = "Cilium serves none among its NodePorts (8000-9000), and after the move of its node nothing else does: choose another"
    assert host_port(8080, node_port_range="8000,9000")[1:] == (narrow, narrow)
    assert host_port(31080, node_port_range="8000,9000")[2] == "nothing serves host ports between the move of its node and the ending"


def test_a_static_pod_off_the_hosts_network_needs_a_reboot() -> None:
    mine = static_pod("registry", "k8s-w1")
    assert of_w1("static_pod", mine) == [("ok", "the reboot makes static pod default/registry-k8s-w1 anew, with an address of Cilium's")]
    assert of_w1("static_pod", mine, settings=replace(SETTINGS, in_place=True)) == [
        ("refused", "static pod default/registry-k8s-w1 is not on the host's network, and without a reboot nothing makes it anew")
    ]
    on_host = static_pod("etcd", "k8s-w1", hostNetwork=True)
    assert of_w1("static_pod", on_host, settings=replace(SETTINGS, in_place=True)) == [("ok", "no static pod needs an address of Cilium's")]
    assert of_w1("unmanaged", mine)[0][0] == "ok"


def test_pods_that_end_anyway_and_our_own_are_not_counted() -> None:
    ending = pod("ending", owner="")
    ending["metadata"]["deletionTimestamp"] = "2026-01-17T09:30:12Z"
    ours = pod("cni-verify-k8s-w1", owner="", labels={"cni-migration.netops/verify": "true"})
    assert of_w1("unmanaged", ending, ours) == [("ok", "of 2 pods to be evicted each has a controller")]
