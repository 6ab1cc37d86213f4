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


def test_dns_that_is_all_on_the_node_is_spread() -> None:
    assert dns_spread.replicas_to_spread("w1", BOTH, TWO) == ["a", "b"]


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
    assert dns_spread.replicas_to_spread("w1", pods, TWO) == []


def test_replicas_that_end_or_have_no_node_yet_do_not_count() -> None:
    pods = [*BOTH, replica("old", on="w2", terminating=True), replica("new", on="")]
    assert dns_spread.replicas_to_spread("w1", pods, TWO) == ["a", "b"]


@pytest.mark.parametrize("others", [[], [node("w2", ready=False)], [node("w2", cordoned=True)]])
def test_without_another_node_for_it_dns_stays(others: list[dict[str, Any]]) -> None:
    assert dns_spread.replicas_to_spread("w1", BOTH, [node("w1"), *others]) == []


def test_the_node_itself_may_be_cordoned() -> None:
    assert dns_spread.replicas_to_spread("w1", BOTH, [node("w1", cordoned=True), node("w2")]) == ["a", "b"]


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


def test_the_patch_touches_the_mark_alone() -> None:
    assert dns_spread.spread_patch("w1") == {"spec": {"template": {"metadata": {"annotations": {"cni-migration.netops/spread-for": "w1"}}}}}
    assert dns_spread.present_mark(dns_spread.spread_patch("w1")) == "w1"


def test_what_is_left_is_named() -> None:
    pods = [replica("c", terminating=True), replica("d", terminating=True, ready=False), replica("e")]
    begun = "Deployment coredns is not rolled out (1 of 2 replicas are new, 2 available)"
    assert dns_spread.what_is_left([deployment(3, 1, 2)], pods) == f"{begun}; old replicas still answer: c"
    assert dns_spread.what_is_left([deployment()], pods[1:]) == ""
