# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is of network policies, who enforces them when, and what is said of it before the start."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ansible_collections.netops.cni_migration.plugins.module_utils import network_policies
from ansible_collections.netops.cni_migration.plugins.module_utils.network_policies import enforcers_of, findings, overview
from ansible_collections.netops.cni_migration.plugins.modules import network_policies_info

NETWORK, CILIUM, ADMIN = "NetworkPolicy", "CiliumNetworkPolicy", "AdminNetworkPolicy"


def daemonset(name: str, *images: str, namespace: str = "kube-system", desired: int = 3, **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"template": {"spec": {"containers": [{"image": image} for image in images]}}},
        "status": {"desiredNumberScheduled": desired},
    }


FLANNEL = daemonset("kube-flannel-ds", "ghcr.io/flannel-io/flannel:v0.26.7", namespace="kube-flannel", app="flannel")
KUBE_PROXY = daemonset("kube-proxy", "registry.k8s.io/kube-proxy:v1.33.2")
CILIUM_AGENT = daemonset("cilium", "quay.io/cilium/cilium:v1.17.6@sha256:0123")
ROUTER = daemonset("kube-router", "docker.io/cloudnativelabs/kube-router:v2.4.1")


def policy(name: str, namespace: str = "shop") -> dict[str, Any]:
    return {"metadata": {"name": name, **({"namespace": namespace} if namespace else {})}, "spec": {}}


def seen(policies: dict[str, list[Any]], *others: dict[str, Any], enforced_in: tuple[str, ...] = ("final",), flannel: bool = True) -> dict[str, Any]:
    return overview(policies, [*([FLANNEL] if flannel else []), KUBE_PROXY, CILIUM_AGENT, *others], enforced_in)


def told(policies: dict[str, list[Any]], *others: dict[str, Any], enforced_in: tuple[str, ...] = ("final",), flannel: bool = True) -> list[tuple[str, str]]:
    found = list(findings(seen(policies, *others, enforced_in=enforced_in, flannel=flannel), enforced_in))
    assert {(each.check, each.node) for each in found} == {("policies", "")}
    if [each.level for each in found] == ["ok"]:
        return []
    assert {each.level for each in found} == {"warning"}
    return [(each.fact, each.advice) for each in found]


def test_without_policies_there_is_nothing_to_say() -> None:
    nothing = seen({NETWORK: [], ADMIN: []}, ROUTER)
    assert nothing["phases"] == [] and nothing["enforceable"] == 0
    assert list(nothing["policies"].values()) == [[]] * 5
    assert told({}) == []


def test_what_is_returned_is_what_is_documented() -> None:
    found = seen({NETWORK: [policy("database")]}, ROUTER)
    documented = yaml.safe_load(network_policies_info.RETURN)
    assert list(found) == list(documented)
    assert found["policies"] == documented["policies"]["sample"]
    assert found["enforcers"] == documented["enforcers"]["sample"]
    assert found["phases"][2] == documented["phases"]["sample"][0]


@pytest.mark.parametrize(
    ("item", "name"),
    [
        (ROUTER, "kube-router"),
        (daemonset("netpol", "mirror.example:5000/cloudnativelabs/kube-router:v2@sha256:ab"), "kube-router"),
        (daemonset("kube-router", "mirror.example/router:1"), "kube-router"),
        (daemonset("calico-node", "docker.io/calico/node:v3.30.0"), "Calico"),
        (daemonset("canal", "quay.io/calico/node:v3.30.0", "docker.io/flannel/flannel:v0.26"), "Calico"),
        (daemonset("kube-network-policies", "registry.k8s.io/networking/kube-network-policies:v0.8.0"), "kube-network-policies"),
        (daemonset("weave-net", "weaveworks/weave-kube:2.8.1", "weaveworks/weave-npc:2.8.1"), "Weave Net"),
        (daemonset("antrea-agent", "antrea/antrea-agent-ubuntu:v2.3.0"), "Antrea"),
    ],
)
def test_what_enforces_is_known_by_its_daemonset(item: dict[str, Any], name: str) -> None:
    assert enforcers_of([KUBE_PROXY, FLANNEL, item, CILIUM_AGENT]) == [{"name": name, "daemonset": f"kube-system/{item['metadata']['name']}"}]


def test_flannel_enforces_with_the_container_that_its_chart_can_add() -> None:
    with_netpol = daemonset(
        "kube-flannel-ds", "ghcr.io/flannel-io/flannel:v0.26.7", "registry.k8s.io/networking/kube-network-policies:v0.7.0", namespace="kube-flannel"
    )
    assert enforcers_of([with_netpol]) == [{"name": "kube-network-policies", "daemonset": "kube-flannel/kube-flannel-ds"}]


@pytest.mark.parametrize(
    "item",
    [
        daemonset("node", "registry.example/storage/node:1"),
        daemonset("canalytics", "registry.example/canalytics"),
        daemonset("kube-router", "cloudnativelabs/kube-router", desired=0),
        {"metadata": {"name": "bare", "namespace": "n"}},
    ],
)
def test_what_only_looks_like_it_does_not(item: dict[str, Any]) -> None:
    assert enforcers_of([item]) == []


@pytest.mark.parametrize(
    ("others", "enforced_in", "enforcers", "unprotected"),
    [
        ((), ("final",), ["", "", "", "", "Cilium"], [True, True, True, True, False]),
        ((ROUTER,), ("final",), ["kube-router", "kube-router", "", "", "Cilium"], [False, False, True, True, False]),
        ((), ("initial", "final"), ["", "", "Cilium", "Cilium", "Cilium"], [True, True, False, False, False]),
        ((ROUTER,), (), ["kube-router", "kube-router", "", "", ""], [False, False, True, True, True]),
    ],
)
def test_each_phase_says_who_enforces_on_which_kind_of_node(
    others: tuple[Any, ...], enforced_in: tuple[str, ...], enforcers: list[str], unprotected: list[bool]
) -> None:
    phases = seen({NETWORK: [policy("database")]}, *others, enforced_in=enforced_in)["phases"]
    assert [(each["phase"], each["nodes"]) for each in phases] == [
        ("flannel", "flannel"),
        ("mixed", "flannel"),
        ("mixed", "cilium"),
        ("ending", "cilium"),
        ("migrated", "cilium"),
    ]
    assert [each["enforcer"] for each in phases] == [{NETWORK: name} for name in enforcers]
    assert [each["unprotected"] == [NETWORK] for each in phases] == unprotected


def test_each_kind_has_its_own_enforcer() -> None:
    phases = seen({NETWORK: [policy("a")], CILIUM: [policy("b")], ADMIN: [policy("c", "")]}, ROUTER)["phases"]
    assert phases[0]["enforcer"] == {NETWORK: "kube-router", CILIUM: "", ADMIN: "kube-router"}
    assert phases[-1]["enforcer"] == {NETWORK: "Cilium", CILIUM: "Cilium", ADMIN: ""}
    assert phases[-1]["unprotected"] == [ADMIN]


def test_policies_that_nobody_enforces_are_named_and_the_audit_decides() -> None:
    assert told({NETWORK: [policy("web"), policy("database")]}) == [
        (
            "NetworkPolicy shop/database shop/web: enforced by nobody now, as far as DaemonSets tell; this stays so until the ending, "
            "from then on Cilium enforces them",
            "the ending first lists what they would drop, and stops if it finds anything; cilium_migration_accept_policy_drops: true accepts that",
        )
    ]


def test_of_policies_that_are_enforced_the_window_is_named() -> None:
    ((fact, advice),) = told({NETWORK: [policy("database")]}, ROUTER)
    assert fact == (
        "NetworkPolicy shop/database: enforced by kube-router (DaemonSet kube-system/kube-router) on nodes on Flannel; "
        "pods on nodes on Cilium are under none until the ending, from then on Cilium enforces them"
    )
    assert advice.endswith("; remove kube-router (DaemonSet kube-system/kube-router) when Cilium enforces, unless it goes with Flannel")


def test_values_of_ones_own_are_told_as_they_are() -> None:
    assert "on each node from its move on, without an audit" in told({NETWORK: [policy("a")]}, enforced_in=("initial", "final"))[0][0]
    ((fact, advice),) = told({NETWORK: [policy("a")]}, enforced_in=())
    assert fact.endswith("Cilium is told not to enforce any") and "policyEnforcementMode" in advice


def test_a_kind_that_cilium_does_not_enforce_has_a_warning_of_its_own() -> None:
    (fact, _advice), (admin, advice) = told({NETWORK: [policy("a")], ADMIN: [policy("tenants", ""), policy("base", "")]})
    assert fact.startswith("NetworkPolicy shop/a: ")
    assert admin == "AdminNetworkPolicy base tenants: Cilium 1.17 does not enforce this kind, so nothing does on a node on Cilium"
    assert "CiliumClusterwideNetworkPolicies" in advice


def test_what_is_beside_flannel_does_not_enforce_the_kinds_of_cilium() -> None:
    (first, _advice), (second, _advice) = told({NETWORK: [policy("a")], CILIUM: [policy("b")]}, ROUTER)
    assert first.startswith("NetworkPolicy shop/a: enforced by kube-router")
    assert second.startswith("CiliumNetworkPolicy shop/b: enforced by nobody now")


def test_of_many_policies_some_are_named() -> None:
    ((fact, _advice),) = told({NETWORK: [policy(f"p{number}") for number in range(9)]})
    assert fact.startswith("NetworkPolicy shop/p0 shop/p1 shop/p2 shop/p3 shop/p4 and 4 more: ")


def test_when_flannel_is_gone_the_migration_is_over() -> None:
    over = seen({NETWORK: [policy("a")]}, flannel=False)
    assert over["phases"] == [] and over["enforceable"] == 1
    assert told({NETWORK: [policy("a")]}, flannel=False) == []


def test_the_kinds_that_cilium_enforces_are_counted() -> None:
    every = {kind.name: [policy("x")] for kind in network_policies.KINDS}
    assert seen(every)["enforceable"] == 3
