# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The border to the Kubernetes client: requests as the API wants them, errors as callers tell them apart."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils import cluster
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_reader import ClusterReader

pytest.importorskip("kubernetes")

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import ConnectTimeoutError, SSLError

BUDGET_ANSWER = {  # recorded from kube-apiserver v1.33.2
    "kind": "Status",
    "apiVersion": "v1",
    "metadata": {},
    "status": "Failure",
    "message": "Cannot evict pod as it would violate the pod's disruption budget.",
    "reason": "TooManyRequests",
    "details": {"causes": [{"reason": "DisruptionBudget", "message": "The disruption budget webpod needs 2 healthy pods and has 2 currently"}]},
    "code": 429,
}


class Client:
    """Stands in for the generated API classes: every method records its arguments and gives the answer."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.requests: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, method: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.requests.append((method, args, kwargs))
            if isinstance(self.answer, Exception):
                raise self.answer
            return SimpleNamespace(data=json.dumps(self.answer).encode())

        return call


def connected(answer: Any) -> tuple[cluster.KubernetesCluster, Client]:
    made = cluster.KubernetesCluster.__new__(cluster.KubernetesCluster)
    made._core = made._apps = made._policy = client = Client(answer)
    return made, client


def refusal(status: int, body: object) -> ApiException:
    error = ApiException(status=status, reason="Reason")
    error.body = body if isinstance(body, str) else json.dumps(body)
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (refusal(401, {"message": "Unauthorized"}), cluster.ApiDenied),
        (refusal(403, {"message": "forbidden"}), cluster.ApiDenied),
        (refusal(404, {"message": 'nodes "n" not found'}), cluster.NotFound),
        (refusal(409, {"message": "modified"}), cluster.Conflict),
        (refusal(429, {"message": "too many requests"}), cluster.ApiUnavailable),
        (refusal(500, {"message": "etcdserver: request timed out"}), cluster.ApiUnavailable),
        (refusal(503, "<html>no backend</html>"), cluster.ApiUnavailable),
        (refusal(422, {"message": "invalid"}), cluster.ClusterError),
        (ConnectTimeoutError("timed out"), cluster.ApiUnavailable),
        (SSLError("EOF occurred in violation of protocol"), cluster.ApiUnavailable),
        (SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"), cluster.ClusterError),
    ],
)
def test_errors_are_told_apart(error: Exception, kind: type[cluster.ClusterError]) -> None:
    made, _client = connected(error)
    with pytest.raises(cluster.ClusterError) as caught:
        made.get_node("n")
    assert caught.type is kind and "get node" in str(caught.value)


def test_what_is_forbidden_is_told_with_where_the_rights_are_listed() -> None:
    account = "system:serviceaccount:kube-system:cni-migration"
    words = f'nodes "n" is forbidden: User "{account}" cannot get resource "nodes" in API group "" at the cluster scope'
    made, _client = connected(refusal(403, {"message": words, "reason": "Forbidden"}))
    with pytest.raises(cluster.ApiDenied) as caught:
        made.get_node("n")
    assert str(caught.value) == f"get node n: 403 {words}. docs/security.md lists the rights that the account of the kubeconfig needs"
    assert caught.value.facts["answer"] == words


@pytest.mark.parametrize(("status", "body", "words"), [(401, {"message": "Unauthorized"}, "Unauthorized"), (403, "a proxy's word", "a proxy's word")])
def test_no_rights_are_asked_for_that_would_not_help(status: int, body: object, words: str) -> None:
    made, _client = connected(refusal(status, body))
    with pytest.raises(cluster.ApiDenied, match=f"^get node n: {status} {words}$"):
        made.get_node("n")


def test_a_budget_that_refuses_is_not_an_api_that_is_away() -> None:
    made, client = connected(refusal(429, BUDGET_ANSWER))
    with pytest.raises(cluster.EvictionBlocked, match=r"^Cannot evict pod .*budget\. \(The disruption budget webpod needs 2"):
        made.evict_pod("default", "web", "u1")
    ((method, args, _options),) = client.requests
    assert method == "create_namespaced_pod_eviction" and args[:2] == ("web", "default")
    assert args[2]["apiVersion"] == "policy/v1" and args[2]["deleteOptions"] == {"preconditions": {"uid": "u1"}}


def test_a_pod_under_two_budgets_is_blocked_too() -> None:
    message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    made, _client = connected(refusal(500, {"message": message}))
    with pytest.raises(cluster.EvictionBlocked, match="more than one"):
        made.evict_pod("default", "web", "u1")


def test_an_eviction_that_found_no_api_is_not_blocked() -> None:
    made, _client = connected(refusal(503, {"message": "etcd is away"}))
    with pytest.raises(cluster.ApiUnavailable):
        made.evict_pod("default", "web", "u1")


@pytest.mark.parametrize(
    ("arguments", "method", "args", "query"),
    [
        ({"node": "n"}, "list_pod_for_all_namespaces", (), {"field_selector": "spec.nodeName=n"}),
        (
            {"node": "n", "namespace": "kube-system", "selector": "k8s-app=cilium"},
            "list_namespaced_pod",
            ("kube-system",),
            {"field_selector": "spec.nodeName=n", "label_selector": "k8s-app=cilium"},
        ),
    ],
)
def test_pods_are_selected_by_the_server(arguments: dict[str, str], method: str, args: tuple[str, ...], query: dict[str, str]) -> None:
    made, client = connected({"items": []})
    assert made.list_pods(**arguments) == []
    ((called, given, options),) = client.requests
    assert (called, given) == (method, args) and query.items() <= options.items()
    assert options["_request_timeout"] == cluster.CONNECT_AND_READ_SECONDS


@pytest.mark.parametrize(("grace", "sent"), [(None, {"preconditions": {"uid": "u"}}), (0, {"preconditions": {"uid": "u"}, "gracePeriodSeconds": 0})])
def test_only_the_meant_pod_is_deleted(grace: int | None, sent: dict[str, Any]) -> None:
    made, client = connected({})
    made.delete_pod("ns", "p", "u", grace)
    assert client.requests[0][2]["body"] == sent


@pytest.mark.parametrize(
    ("arguments", "method", "args", "query"),
    [
        ({}, "list_deployment_for_all_namespaces", (), {}),
        ({"selector": "k8s-app=kube-dns"}, "list_deployment_for_all_namespaces", (), {"label_selector": "k8s-app=kube-dns"}),
        (
            {"namespace": "kube-system", "selector": "k8s-app=kube-dns"},
            "list_namespaced_deployment",
            ("kube-system",),
            {"label_selector": "k8s-app=kube-dns"},
        ),
    ],
)
def test_deployments_are_selected_by_the_server(arguments: dict[str, str], method: str, args: tuple[str, ...], query: dict[str, str]) -> None:
    reader = ClusterReader.__new__(ClusterReader)
    reader._apps = client = Client({"items": []})
    assert reader.list_deployments(**arguments) == []
    ((called, given, options),) = client.requests
    assert (called, given) == (method, args)
    assert {name: value for name, value in options.items() if not name.startswith("_")} == query


def test_a_deployment_is_patched_by_namespace_and_name() -> None:
    made, client = connected({"kind": "Deployment"})
    assert made.patch_deployment("ns", "d", {"spec": {}}) == {"kind": "Deployment"}
    assert client.requests[0][:2] == ("patch_namespaced_deployment", ("d", "ns", {"spec": {}}))


def test_a_kubeconfig_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(cluster.ClusterError, match=r"cannot use the kubeconfig .*absent"):
        cluster.KubernetesCluster(str(tmp_path / "absent"))
