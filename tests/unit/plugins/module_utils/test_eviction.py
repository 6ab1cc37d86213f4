# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods leave a node, and which budgets hold them."""

from __future__ import annotations

from typing import Any

import pytest
from fake_cluster import DAEMON_SET, REPLICA_SET, pod, ready

from ansible_collections.netops.cni_migration.plugins.module_utils import eviction
from ansible_collections.netops.cni_migration.plugins.module_utils.eviction import EvictionPolicy, sort_pods

EMPTY_DIR = [{"name": "data", "emptyDir": {}}, {"name": "config", "configMap": {"name": "c"}}]


def changed(base: dict[str, Any], *, metadata: dict[str, Any] | None = None, status: dict[str, Any] | None = None) -> dict[str, Any]:
    return {**base, "metadata": {**base["metadata"], **(metadata or {})}, "status": {**base["status"], **(status or {})}}


@pytest.mark.parametrize(
    ("subject", "fate"),
    [
        pytest.param(pod("p", owners=REPLICA_SET), "leaves", id="managed"),
        pytest.param(pod("p", owners=DAEMON_SET), "stays", id="DaemonSet"),
        pytest.param(changed(pod("p"), metadata={"annotations": {eviction.MIRROR_ANNOTATION: "hash"}}), "stays", id="static"),
        pytest.param(pod("p"), "refused", id="unmanaged"),
        pytest.param(pod("p", owners=[{"kind": "Thing", "name": "t"}]), "refused", id="owned but not controlled"),
        pytest.param(pod("p", owners=REPLICA_SET, volumes=EMPTY_DIR), "refused", id="local data"),
        pytest.param(changed(pod("p", volumes=EMPTY_DIR), status={"phase": "Succeeded"}), "leaves", id="finished"),
        pytest.param(changed(pod("p"), metadata={"deletionTimestamp": "now"}), "leaves", id="terminating already"),
        pytest.param(changed(pod("p"), metadata={"labels": {eviction.OWN_LABEL: "true"}}), "leaves", id="a killed run's"),
    ],
)
def test_the_fate_of_a_pod(subject: dict[str, Any], fate: str) -> None:
    sorting = sort_pods([subject], EvictionPolicy())
    assert (len(sorting.leaving), len(sorting.refused)) == {"leaves": (1, 0), "stays": (0, 0), "refused": (0, 1)}[fate]


def test_every_reason_is_named_and_each_can_be_accepted() -> None:
    subject = pod("p", volumes=EMPTY_DIR)
    ((_pod, both),) = sort_pods([subject], EvictionPolicy()).refused
    ((_pod, data),) = sort_pods([subject], EvictionPolicy(unmanaged_pods=True)).refused
    ((_pod, lost),) = sort_pods([subject], EvictionPolicy(delete_emptydir_data=True)).refused
    assert both == f"{lost} and {data}" and "volumes data " in data
    accepted = sort_pods([subject], EvictionPolicy(delete_emptydir_data=True, unmanaged_pods=True))
    assert accepted.leaving == accepted.unmanaged == (subject,)


@pytest.mark.parametrize(
    ("toleration", "ignores"),
    [
        ({"operator": "Exists"}, True),
        ({"operator": "Exists", "key": eviction.UNSCHEDULABLE_TAINT}, True),
        ({"key": eviction.UNSCHEDULABLE_TAINT, "effect": "NoSchedule"}, True),
        ({"operator": "Exists", "effect": "NoExecute"}, False),
        ({"operator": "Exists", "key": "node.kubernetes.io/not-ready"}, False),
        ({"key": eviction.UNSCHEDULABLE_TAINT, "value": "x"}, False),
    ],
)
def test_who_ignores_a_cordon(toleration: dict[str, str], ignores: bool) -> None:
    subject = pod("p", owners=REPLICA_SET, tolerations=[toleration])
    assert eviction.ignores_cordon(subject) is ignores
    assert bool(sort_pods([subject], EvictionPolicy(), keep_tolerant=True).leaving) is not ignores


def budget(selector: dict[str, Any] | None, *, allowed: int = 0, namespace: str = "default", **spec: Any) -> dict[str, Any]:
    status = {"disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 2}
    return {"metadata": {"name": "b", "namespace": namespace}, "spec": {"selector": selector, **spec}, "status": status}


@pytest.mark.parametrize(
    ("selector", "covers"),
    [
        ({"matchLabels": {"app": "p"}}, True),
        ({"matchLabels": {"app": "q"}}, False),
        ({"matchLabels": {"app": "p", "tier": "x"}}, False),
        ({}, True),
        (None, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["o", "p"]}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["x"]}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["p"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["x"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_what_a_selector_covers(selector: dict[str, Any] | None, covers: bool) -> None:
    assert bool(eviction.budgets_of(pod("p"), [budget(selector)])) is covers
    assert not eviction.budgets_of(pod("p"), [budget(selector, namespace="elsewhere")])


def test_a_closed_budget_is_foreseen() -> None:
    (block,) = eviction.foreseen_blocks([pod("p")], [budget({})])
    assert block == {"namespace": "default", "pod": "p", "budgets": ["b"], "message": "b needs 2 healthy pods and has 1"}


@pytest.mark.parametrize(
    ("subject", "held_by"),
    [
        pytest.param(pod("p"), budget({}, allowed=1), id="open"),
        pytest.param(changed(pod("p"), status={"phase": "Pending"}), budget({}), id="not running yet"),
        pytest.param(changed(pod("p"), status={"phase": "Failed"}), budget({}), id="finished"),
        pytest.param(changed(pod("p"), metadata={"deletionTimestamp": "now"}), budget({}), id="terminating"),
        pytest.param(changed(pod("p"), status={"conditions": ready(False)}), budget({}, unhealthyPodEvictionPolicy="AlwaysAllow"), id="unhealthy"),
        pytest.param(
            changed(pod("p"), status={"conditions": ready(False)}),
            {**budget({}), "status": {"disruptionsAllowed": 0, "currentHealthy": 2, "desiredHealthy": 2}},
            id="unhealthy, and enough others",
        ),
    ],
)
def test_what_no_budget_holds(subject: dict[str, Any], held_by: dict[str, Any]) -> None:
    assert not eviction.foreseen_blocks([subject], [held_by])
