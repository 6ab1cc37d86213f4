# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a rollout is done, and whom it waits for."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils import rollout


def deployment(*counts: int, observed: int = 4) -> dict[str, Any]:
    """``counts``: replicas, updated and available ones; what is 0 the API leaves out."""
    status = {name: count for name, count in zip(("replicas", "updatedReplicas", "availableReplicas"), counts) if count}
    return {"metadata": {"name": "coredns", "generation": 4}, "spec": {"replicas": 2}, "status": {"observedGeneration": observed, **status}}


def daemonset(desired: int, new: int, ready: int, observed: int = 7) -> dict[str, Any]:
    status = {"desiredNumberScheduled": desired, "updatedNumberScheduled": new, "numberReady": ready, "observedGeneration": observed}
    return {"metadata": {"name": "cilium", "generation": 7}, "status": status}


def pod(name: str, *, ready: bool = False, node: str = "k8s-w1", **metadata: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": str(ready), "message": "containers with unready status: [cilium-agent]"}]
    return {
        "metadata": {"name": name, **metadata},
        "spec": {"nodeName": node} if node else {},
        "status": {"phase": "Running", "conditions": conditions},
    }


def test_a_deployment_is_rolled_out_when_its_replicas_are_new_and_available() -> None:
    assert rollout.deployment_left(deployment(2, 2, 2)) == ""


@pytest.mark.parametrize(
    "state",
    [
        deployment(2, 2, 2, observed=3),
        deployment(3, 2, 2),  # an old replica serves in place of a new one
        deployment(2, 1, 2),
        deployment(2, 2, 1),
        deployment(),
        {**deployment(2, 2, 2), "status": {}},
    ],
)
def test_a_deployment_that_is_not_says_how_far_it_is(state: dict[str, Any]) -> None:
    assert rollout.deployment_left(state).startswith("Deployment coredns is not rolled out (")


def test_a_daemonset_is_rolled_out_when_every_node_has_a_new_and_ready_pod() -> None:
    assert rollout.daemonset_left(daemonset(3, 3, 3)) == ""
    assert rollout.daemonset_left(daemonset(3, 3, 2)) == "DaemonSet cilium is not rolled out (3 of 3 pods are new, 2 ready)"


@pytest.mark.parametrize("state", [daemonset(3, 2, 3), daemonset(3, 3, 3, observed=6), daemonset(0, 0, 0), {**daemonset(3, 3, 3), "status": {}}])
def test_a_daemonset_that_nobody_has_looked_at_yet_is_not(state: dict[str, Any]) -> None:
    assert rollout.daemonset_left(state)


def test_pods_are_waited_for_by_name_and_node() -> None:
    pods = [pod("b"), pod("a", node=""), pod("ready", ready=True), pod("old", deletionTimestamp="2026-01-02T03:04:05Z")]
    words = "is Running: containers with unready status: [cilium-agent]"
    assert rollout.waited_for(pods) == [f"pod a {words} (on no node)", f"pod b {words} (on k8s-w1)"]


def made(name: str, revision: str, second: int, label: str = "controller-revision-hash") -> dict[str, Any]:
    return pod(name, labels={label: revision}, creationTimestamp=f"2026-01-02T03:04:{second:02d}Z")


@pytest.mark.parametrize(
    ("item", "label"), [(daemonset(3, 1, 0), "controller-revision-hash"), (deployment(2, 1, 1), "pod-template-hash")], ids=["DaemonSet", "Deployment"]
)
def test_pods_of_a_former_template_do_not_count(item: dict[str, Any], label: str) -> None:
    pods = [made("old", "a", 5, label), made("new", "b", 9, label), made("old-2", "a", 1, label)]
    assert [each["metadata"]["name"] for each in rollout.current(item, pods)] == ["new"]


@pytest.mark.parametrize("item", [daemonset(3, 0, 0), daemonset(3, 3, 0, observed=6), deployment(2, 0, 1)])
def test_without_a_new_pod_none_counts(item: dict[str, Any]) -> None:
    assert rollout.current(item, [made("old", "a", 5)]) == []


def test_no_pods_are_no_error() -> None:
    assert rollout.current(daemonset(3, 3, 3), []) == []
