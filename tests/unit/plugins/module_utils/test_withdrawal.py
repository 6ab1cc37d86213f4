# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods of a node still serve, and the patch that takes them out."""

from __future__ import annotations

from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils.withdrawal import (
    dismissible_pods,
    ending_datagram_servers,
    serving_pods,
    withdrawal_patch,
)


def endpoint(pod: str, node: str = "w1", ready: bool | None = True, kind: str = "Pod") -> dict[str, Any]:
    conditions = {} if ready is None else {"ready": ready}
    return {"addresses": ["10.244.1.5"], "conditions": conditions, "nodeName": node, "targetRef": {"kind": kind, "name": pod, "namespace": "shop"}}


def slice_of(*endpoints: dict[str, Any], service: str = "web") -> dict[str, Any]:
    return {"metadata": {"name": f"{service}-x", "namespace": "shop", "labels": {"kubernetes.io/service-name": service}}, "endpoints": list(endpoints)}


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def test_only_ready_pods_of_the_node_serve() -> None:
    slices = [slice_of(endpoint("here"), endpoint("elsewhere", node="w2"), endpoint("not-ready", ready=False), endpoint("unsaid", ready=None))]
    assert serving_pods(slices, [service("web")], "w1") == [("shop", "here"), ("shop", "unsaid")]


def test_a_pod_of_two_services_is_named_once() -> None:
    slices = [slice_of(endpoint("here")), slice_of(endpoint("here"), service="admin")]
    assert serving_pods(slices, [service("web"), service("admin")], "w1") == [("shop", "here")]


def test_a_service_that_publishes_unready_addresses_can_not_be_left() -> None:
    slices = [slice_of(endpoint("here"), service="gossip")]
    assert serving_pods(slices, [service("gossip", publishNotReadyAddresses=True)], "w1") == []


def test_endpoints_that_are_no_pods_are_left_alone() -> None:
    by_hand = {"addresses": ["192.168.10.101"], "conditions": {"ready": True}}
    assert serving_pods([slice_of(by_hand, endpoint("here", kind="Node"))], [], "w1") == []


def test_a_slice_without_endpoints_is_no_error() -> None:
    empty = slice_of()
    empty["endpoints"] = None
    assert serving_pods([empty], [], "w1") == []


def test_the_patch_touches_the_condition_ready_alone() -> None:
    conditions = withdrawal_patch("2026-01-02T03:04:05Z")["status"]["conditions"]
    assert [(each["type"], each["status"], each["lastTransitionTime"]) for each in conditions] == [("Ready", "False", "2026-01-02T03:04:05Z")]


def ending(name: str, protocol: str = "UDP", *, ready: bool = True, terminating: bool = True) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "shop", **({"deletionTimestamp": "2026-01-02T03:04:05Z"} if terminating else {})},
        "spec": {"containers": [{"name": "sidecar"}, {"name": "server", "ports": [{"containerPort": 53, "protocol": protocol}]}]},
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def datagram_slice(*endpoints: dict[str, Any], service: str = "dns") -> dict[str, Any]:
    return {**slice_of(*endpoints, service=service), "ports": [{"protocol": "TCP", "port": 53}, {"protocol": "UDP", "port": 53}]}


def test_only_pods_that_end_while_they_answer_datagrams_are_looked_at() -> None:
    pods = [ending("dns"), ending("web", "TCP"), ending("let-go", ready=False), ending("stays", terminating=False)]
    assert [pod["metadata"]["name"] for pod in ending_datagram_servers(pods)] == ["dns"]
    assert ending_datagram_servers([{**ending("bare"), "spec": {"containers": [{"name": "bare"}]}}]) == []


def test_a_pod_is_let_go_when_others_serve_in_its_place() -> None:
    slices = [datagram_slice(endpoint("a", ready=False), endpoint("b", node="w2"))]
    assert dismissible_pods([ending("a")], slices) == [("shop", "a")]


def test_the_last_server_of_a_service_is_kept() -> None:
    alone = datagram_slice(endpoint("a", ready=False), endpoint("b", node="w2", ready=False))
    assert dismissible_pods([ending("a"), ending("b")], [alone]) == []
    second = datagram_slice(endpoint("a", ready=False), endpoint("c", node="w2"), service="log")
    assert dismissible_pods([ending("a")], [alone, second]) == [], "one Service that has no other is enough"


def test_a_pod_of_no_service_with_datagrams_is_nobodys_business() -> None:
    assert dismissible_pods([ending("a")], [slice_of(endpoint("a", ready=False), endpoint("b"))]) == []
