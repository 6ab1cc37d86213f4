# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The border to the Kubernetes client: requests as the API wants them, errors as callers tell them apart."""

from __future__ import annotations

import json
import subprocess
import sys
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
    """Stands in for the client: it records what it is asked and gives the answer."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.requests: list[tuple[str, str, dict[str, Any]]] = []

    def request(self, verb: str, path: str, **options: Any) -> Any:
        self.requests.append((verb, path, {name: value for name, value in options.items() if value is not None}))
        if isinstance(self.answer, Exception):
            raise self.answer
        return SimpleNamespace(data=json.dumps(self.answer).encode())


COMMON = {"serialize": False, "_request_timeout": cluster.CONNECT_AND_READ_SECONDS}


def connected(answer: Any) -> tuple[ClusterReader, Client]:
    made = ClusterReader.__new__(ClusterReader)
    made._client = client = Client(answer)
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
    ((verb, path, options),) = client.requests
    assert (verb, path) == ("post", "/api/v1/namespaces/default/pods/web/eviction")
    assert options["body"]["apiVersion"] == "policy/v1" and options["body"]["deleteOptions"] == {"preconditions": {"uid": "u1"}}


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
    ("arguments", "path", "query"),
    [
        ({"node": "n"}, "/api/v1/pods", {"field_selector": "spec.nodeName=n"}),
        (
            {"node": "n", "namespace": "kube-system", "selector": "k8s-app=cilium"},
            "/api/v1/namespaces/kube-system/pods",
            {"field_selector": "spec.nodeName=n", "label_selector": "k8s-app=cilium"},
        ),
    ],
)
def test_pods_are_selected_by_the_server(arguments: dict[str, str], path: str, query: dict[str, str]) -> None:
    made, client = connected({"items": []})
    assert made.list_pods(**arguments) == []
    assert client.requests == [("get", path, {**COMMON, **query})]


@pytest.mark.parametrize(("grace", "sent"), [(None, {"preconditions": {"uid": "u"}}), (0, {"preconditions": {"uid": "u"}, "gracePeriodSeconds": 0})])
def test_only_the_meant_pod_is_deleted(grace: int | None, sent: dict[str, Any]) -> None:
    made, client = connected({})
    made.delete_pod("ns", "p", "u", grace)
    assert client.requests[0][2]["body"] == sent


@pytest.mark.parametrize(
    ("arguments", "path", "query"),
    [
        ({}, "/apis/apps/v1/deployments", {}),
        ({"selector": "k8s-app=kube-dns"}, "/apis/apps/v1/deployments", {"label_selector": "k8s-app=kube-dns"}),
        (
            {"namespace": "kube-system", "selector": "k8s-app=kube-dns"},
            "/apis/apps/v1/namespaces/kube-system/deployments",
            {"label_selector": "k8s-app=kube-dns"},
        ),
    ],
)
def test_deployments_are_selected_by_the_server(arguments: dict[str, str], path: str, query: dict[str, str]) -> None:
    made, client = connected({"items": []})
    assert made.list_deployments(**arguments) == []
    assert client.requests == [("get", path, {**COMMON, **query})]


def test_a_deployment_is_patched_by_namespace_and_name() -> None:
    made, client = connected({"kind": "Deployment"})
    assert made.patch_deployment("ns", "d", {"spec": {}}) == {"kind": "Deployment"}
    assert client.requests == [
        ("patch", "/apis/apps/v1/namespaces/ns/deployments/d", {**COMMON, "body": {"spec": {}}, "content_type": "application/strategic-merge-patch+json"})
    ]


def test_a_name_leads_to_no_other_place() -> None:
    made, client = connected({})
    made.get_node("../pods?x#y")
    assert client.requests[0][1] == "/api/v1/nodes/..%2Fpods%3Fx%23y"


def test_no_models_of_the_client_are_loaded() -> None:
    """Each start of a module would wait for them, for longer than for most of its answers."""
    code = (
        f"import sys; sys.path[:] = {sys.path}; from ansible_collections.netops.cni_migration.plugins.module_utils import cluster; "
        "assert cluster.HAS_KUBERNETES; print([name for name in sys.modules if name.startswith('kubernetes.client.models.')])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_kubeconfig_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(cluster.ClusterError, match=r"cannot use the kubeconfig .*absent"):
        cluster.KubernetesCluster(str(tmp_path / "absent"))
