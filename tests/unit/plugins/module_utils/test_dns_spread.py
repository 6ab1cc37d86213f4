# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When cluster DNS is to be spread, how it is asked for, and when that is done."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils import dns_spread


def node(name: str, *, ready: bool = True, cordoned: bool = False) -> dict[str, Any]:
    spec = {"unschedulable": True} if cordoned else {}
    return {"metadata": {"name": name}, "spec": spec, "status": {"conditions": [{"type": "Ready", "status": str(ready)}]}}


def replica(name: str, on: str = "w1", *, terminating: bool = False, ready: bool = True, phase: str = "Running") -> dict[str, Any]:
    metadata = {"name": name, "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}}
    return {
        "metadata": {**metadata, **({"deletionTimestamp": "2026-01-02T03:04:05Z"} if terminating else {})},
        "spec": {"nodeName": on} if on else {},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def deployment(*counts: int, mark: str = "", generation: int = 4, observed: int = 4) -> dict[str, Any]:
    """``counts`` are those of the status: replicas, updated and available ones, 2 of each when not given."""
    status = dict(zip(("replicas", "updatedReplicas", "availableReplicas"), counts or (2, 2, 2)))
    annotations = {"cni-migration.netops/spread-for": mark} if mark else None
    return {
        "metadata": {"name": "coredns", "generation": generation},
        "spec": {"replicas": 2, "template": {"metadata": {"annotations": annotations}}},
        "status": {"observedGeneration": observed, **{name: count for name, count in status.items() if count}},
    }


TWO = [node("w1"), node("w2")]
BOTH = [replica("b"), replica("a")]
PROBE = {"tcpSocket": {"port": 53}, "periodSeconds": 1, "failureThreshold": 60}


def test_dns_that_is_all_on_the_node_is_spread() -> None:
    assert dns_spread.replicas_to_replace("w1", BOTH, TWO, [deployment()]) == ["a", "b"]


@pytest.mark.parametrize(
    "pods",
    [
        [],
        [replica("a"), replica("b", on="w2")],
        [replica("a", on="w2"), replica("b", on="w2")],
        [replica("a", terminating=True), replica("b", phase="Failed")],
    ],
)
def test_dns_that_is_elsewhere_too_or_nowhere_is_left_alone(pods: list[dict[str, Any]]) -> None:
    assert dns_spread.replicas_to_replace("w1", pods, TWO, [deployment()]) == []


def test_replicas_that_end_or_have_no_node_yet_do_not_count() -> None:
    pods = [*BOTH, replica("old", on="w2", terminating=True), replica("new", on="")]
    assert dns_spread.replicas_to_replace("w1", pods, TWO, [deployment()]) == ["a", "b"]


@pytest.mark.parametrize("others", [[], [node("w2", ready=False)], [node("w2", cordoned=True)]])
def test_without_another_node_for_it_dns_stays(others: list[dict[str, Any]]) -> None:
    assert dns_spread.replicas_to_replace("w1", BOTH, [node("w1"), *others], [deployment()]) == []


def test_the_node_itself_may_be_cordoned() -> None:
    assert dns_spread.replicas_to_replace("w1", BOTH, [node("w1", cordoned=True), node("w2")], [deployment()]) == ["a", "b"]


def test_the_mark_names_the_node() -> None:
    assert dns_spread.mark("w1", deployment()) == "w1"
    assert dns_spread.mark("w1", deployment(mark="w2 4")) == "w1"
    assert dns_spread.mark("w1", deployment(1, 1, mark="w12")) == "w1", "this is another node"


@pytest.mark.parametrize("present", ["w1", "w1 3"])
def test_a_roll_out_that_has_begun_for_the_node_is_not_begun_again(present: str) -> None:
    assert dns_spread.mark("w1", deployment(3, 1, 2, mark=present)) == present


@pytest.mark.parametrize("present", ["w1", "w1 3"])
def test_dns_that_came_back_to_a_node_is_spread_once_more(present: str) -> None:
    assert dns_spread.mark("w1", deployment(mark=present)) == "w1 4"


def test_the_patch_touches_the_mark_and_the_missing_probes_alone() -> None:
    assert dns_spread.spread_patch("w1", {}) == {"spec": {"template": {"metadata": {"annotations": {"cni-migration.netops/spread-for": "w1"}}}}}
    assert dns_spread.present_mark(dns_spread.spread_patch("w1", {})) == "w1"
    patch = dns_spread.spread_patch("w1", {"coredns": PROBE})
    assert patch["spec"]["template"]["spec"] == {"containers": [{"name": "coredns", "startupProbe": PROBE}]}


def serving(**more: Any) -> dict[str, Any]:
    """A Deployment with kubeadm's container of CoreDNS, and ``more`` in it."""
    ports = [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "protocol": "TCP"}, {"containerPort": 9153, "protocol": "TCP"}]
    found = deployment()
    found["spec"]["template"]["spec"] = {
        "containers": [{"name": "coredns", "ports": ports, "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}}, **more}]
    }
    return found


APART = [replica("a"), replica("b", on="w2")]


def test_replicas_that_are_ready_before_they_listen_are_replaced_wherever_they_are() -> None:
    assert dns_spread.startup_probes(serving()) == {"coredns": PROBE}
    assert dns_spread.replicas_to_replace("w1", APART, TWO, [serving()]) == ["a", "b"]
    assert dns_spread.replicas_to_replace("w1", APART, [node("w1")], [serving()]) == ["a", "b"]


@pytest.mark.parametrize(
    "more",
    [
        {"startupProbe": {"httpGet": {"port": 8080}}},
        {"readinessProbe": {"tcpSocket": {"port": 53}}},
        {"readinessProbe": None},
        {"ports": [{"containerPort": 53, "protocol": "UDP"}]},
        {"ports": None},
    ],
)
def test_a_container_that_is_asked_at_its_port_or_never_or_by_a_probe_of_its_own_gets_none(more: dict[str, Any]) -> None:
    assert dns_spread.startup_probes(serving(**more)) == {}
    assert dns_spread.replicas_to_replace("w1", APART, TWO, [serving(**more)]) == []


def test_a_restart_for_the_node_that_was_begun_goes_on() -> None:
    assert dns_spread.replicas_to_replace("w1", APART, TWO, [deployment(3, 1, 2, mark="w1")]) == ["a", "b"]
    assert dns_spread.replicas_to_replace("w1", APART, TWO, [deployment(mark="w1 3", observed=3)]) == ["a", "b"]
    assert dns_spread.replicas_to_replace("w1", APART, TWO, [deployment(2, 2, 1, mark="w1")]) == [], "a replica without a node is not waited for"
    assert dns_spread.replicas_to_replace("w1", APART, TWO, [deployment(3, 1, 2, mark="w2")]) == [], "it is somebody else's"


def test_what_is_left_is_named() -> None:
    pods = [replica("c", terminating=True), replica("d", terminating=True, ready=False), replica("e")]
    begun = "Deployment coredns is not rolled out (1 of 2 replicas are new, 2 available)"
    assert dns_spread.what_is_left([deployment(3, 1, 2)], pods) == f"{begun}; old replicas still answer: c"
    assert dns_spread.what_is_left([deployment()], pods[1:]) == ""
