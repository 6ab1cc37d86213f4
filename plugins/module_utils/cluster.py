# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only place that talks to the API server: a thin layer over the official ``kubernetes`` client.

Objects go in and out as the API's own JSON (dictionaries), not as the client's models: planners read them as they are
documented, and an answer costs no conversion. Nor is there a use for the client's classes of each API group, which bring
those models along: a module would be kept waiting for them, at each start, for longer than for most of its answers. Each call
is one request without hidden repeats; whether to try again is :mod:`waiting`'s decision.
"""

from __future__ import annotations

import json
import traceback
from typing import Any, Protocol
from urllib.parse import quote

try:
    import urllib3
    from kubernetes import client, config
    from kubernetes.client.exceptions import ApiException
    from kubernetes.config.config_exception import ConfigException
    from kubernetes.dynamic import DynamicClient
except ImportError:
    HAS_KUBERNETES = False
    KUBERNETES_IMPORT_ERROR = traceback.format_exc()
else:
    HAS_KUBERNETES = True
    KUBERNETES_IMPORT_ERROR = ""

CONNECT_AND_READ_SECONDS = (3, 15)
Kind = tuple[str, str]
"""The version of an API group, and what the kind is called in a path."""

NODES, PODS, SERVICES, EVENTS = ("v1", "nodes"), ("v1", "pods"), ("v1", "services"), ("v1", "events")
DEPLOYMENTS, BUDGETS, ENDPOINT_SLICES = ("apps/v1", "deployments"), ("policy/v1", "poddisruptionbudgets"), ("discovery.k8s.io/v1", "endpointslices")
PATCH = "application/strategic-merge-patch+json"
FORBIDDEN_ADVICE = ". docs/security.md lists the rights that the account of the kubeconfig needs"
"""Follows the API's own words, which name the account, the verb and the resource."""


class ClusterError(Exception):
    """The API server's answer to a request that it did not carry out. ``facts`` is for ``fail_json``."""

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.facts = facts


class ApiUnavailable(ClusterError):
    """No answer, or one that says to come back later: worth another try."""


class ApiDenied(ClusterError):
    """401 or 403."""


class NotFound(ClusterError):
    """404."""


class Conflict(ClusterError):
    """409: the object exists already, or is not the one that was meant any more."""


class EvictionBlocked(ClusterError):
    """A disruption budget does not let the pod go now."""


class Cluster(Protocol):
    """What the migration needs of a cluster. Every method raises :class:`ClusterError` or one of its kinds."""

    def get_node(self, name: str) -> dict[str, Any]:
        """The Node."""

    def list_nodes(self) -> list[dict[str, Any]]:
        """Every Node."""

    def patch_node(self, name: str, patch: dict[str, Any]) -> dict[str, Any]:
        """Apply a strategic merge patch and return the Node."""

    def list_pods(self, node: str = "", namespace: str = "", selector: str = "") -> list[dict[str, Any]]:
        """The pods bound to ``node``, in ``namespace``, with the labels of ``selector``; an empty one does not restrict."""

    def get_pod(self, namespace: str, name: str) -> dict[str, Any]:
        """One pod."""

    def create_pod(self, namespace: str, pod: dict[str, Any]) -> dict[str, Any]:
        """Create a pod and return it."""

    def delete_pod(self, namespace: str, name: str, uid: str, grace_seconds: int | None = None) -> None:
        """Delete the pod if it still has this uid (:class:`Conflict` if not). No grace means the pod's own."""

    def evict_pod(self, namespace: str, name: str, uid: str) -> None:
        """Ask for an eviction (policy/v1) of the pod with this uid; :class:`EvictionBlocked` when a budget refuses."""

    def pod_log(self, namespace: str, name: str) -> str:
        """What the pod's only container wrote."""

    def list_budgets(self) -> list[dict[str, Any]]:
        """Every PodDisruptionBudget of the cluster."""

    def list_endpoint_slices(self) -> list[dict[str, Any]]:
        """Every EndpointSlice of the cluster."""

    def list_events(self, namespace: str, fields: str) -> list[dict[str, Any]]:
        """The Events of ``namespace`` with these ``fields``."""

    def patch_pod_status(self, namespace: str, name: str, patch: dict[str, Any]) -> dict[str, Any]:
        """Apply a strategic merge patch to the status of a pod and return the pod."""


class KubernetesCluster:
    """A :class:`Cluster` over HTTPS, by the current context of a kubeconfig file."""

    _client: Any  # the library has no types

    def __init__(self, kubeconfig: str) -> None:
        """Read ``kubeconfig``; no request is made. Raises :class:`ClusterError` when it cannot be used."""
        settings: Any = client.Configuration()
        try:
            config.load_kube_config(config_file=kubeconfig, client_configuration=settings)
        except (ConfigException, OSError) as exc:
            raise ClusterError(f"cannot use the kubeconfig {kubeconfig}: {exc}", kubeconfig=kubeconfig) from exc
        settings.retries = False
        self.server: str = settings.host
        """The URL of the API server."""
        # Without the discovery of kinds, which asks the API server a dozen times, it is what is wanted here: requests to a path.
        self._client = DynamicClient(client.ApiClient(settings), discoverer=lambda _client, _cache: None)

    def get_node(self, name: str) -> dict[str, Any]:
        return self._json("get node", NODES, name=name)

    def list_nodes(self) -> list[dict[str, Any]]:
        return self._json("list nodes", NODES)["items"]

    def patch_node(self, name: str, patch: dict[str, Any]) -> dict[str, Any]:
        return self._json("patch node", NODES, name=name, verb="patch", body=patch)

    def list_pods(self, node: str = "", namespace: str = "", selector: str = "") -> list[dict[str, Any]]:
        fields = f"spec.nodeName={node}" if node else ""
        return self._json("list pods", PODS, namespace, fields=fields, selector=selector)["items"]

    def get_pod(self, namespace: str, name: str) -> dict[str, Any]:
        return self._json("get pod", PODS, namespace, name)

    def create_pod(self, namespace: str, pod: dict[str, Any]) -> dict[str, Any]:
        return self._json("create pod", PODS, namespace, verb="post", body=pod)

    def delete_pod(self, namespace: str, name: str, uid: str, grace_seconds: int | None = None) -> None:
        options: dict[str, Any] = {"preconditions": {"uid": uid}}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        self._request("delete pod", PODS, namespace, name, verb="delete", body=options)

    def evict_pod(self, namespace: str, name: str, uid: str) -> None:
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        try:
            self._request("evict pod", PODS, namespace, name, "eviction", verb="post", body=eviction)
        except ApiUnavailable as exc:
            # 429 is a budget that is used up; 500 with these words is a pod under two budgets, which no eviction passes.
            if exc.facts.get("status") == 429 or "more than one PodDisruptionBudget" in str(exc):
                raise EvictionBlocked(exc.facts["answer"], **exc.facts) from exc
            raise

    def pod_log(self, namespace: str, name: str) -> str:
        return self._request("read log of pod", PODS, namespace, name, "log").decode("utf-8", "replace")

    def list_budgets(self) -> list[dict[str, Any]]:
        return self._json("list poddisruptionbudgets", BUDGETS)["items"]

    def patch_pod_status(self, namespace: str, name: str, patch: dict[str, Any]) -> dict[str, Any]:
        return self._json("patch status of pod", PODS, namespace, name, "status", verb="patch", body=patch)

    def patch_deployment(self, namespace: str, name: str, patch: dict[str, Any]) -> dict[str, Any]:
        """Apply a strategic merge patch to a Deployment and return it."""
        return self._json("patch deployment", DEPLOYMENTS, namespace, name, verb="patch", body=patch)

    def list_services(self) -> list[dict[str, Any]]:
        """Every Service of the cluster."""
        return self._json("list services", SERVICES)["items"]

    def list_endpoint_slices(self) -> list[dict[str, Any]]:
        return self._json("list endpointslices", ENDPOINT_SLICES)["items"]

    def list_events(self, namespace: str, fields: str) -> list[dict[str, Any]]:
        return self._json("list events", EVENTS, namespace, fields=fields)["items"]

    def _json(self, what: str, kind: Kind, namespace: str = "", name: str = "", *below: str, **options: Any) -> dict[str, Any]:
        """What :meth:`_request` returns, as an object."""
        return json.loads(self._request(what, kind, namespace, name, *below, **options))

    def _request(
        self,
        what: str,
        kind: Kind,
        namespace: str = "",
        name: str = "",
        *below: str,
        verb: str = "get",
        body: dict[str, Any] | None = None,
        selector: str = "",
        fields: str = "",
    ) -> bytes:
        """Make one request and return the body, with every failure turned into a :class:`ClusterError` that says ``what`` was asked.

        Without ``name`` it is for all objects of the kind, without ``namespace`` in all of them, and with ``below`` for what is below an object.
        """
        version, plural = kind
        parts = (["namespaces", namespace] if namespace else []) + [plural] + ([name] if name else []) + list(below)
        path = "/".join([f"/api/{version}" if version == "v1" else f"/apis/{version}", *(quote(part, safe="") for part in parts)])
        query = {key: value for key, value in (("label_selector", selector), ("field_selector", fields)) if value}
        options = {"content_type": PATCH} if verb == "patch" else {}
        target = "/".join(filter(None, (namespace, name)))
        try:
            return self._client.request(verb, path, body=body, serialize=False, _request_timeout=CONNECT_AND_READ_SECONDS, **query, **options).data
        except ApiException as exc:
            raise _from_status(what, target, exc) from exc
        except urllib3.exceptions.HTTPError as exc:
            failure = ClusterError if "CERTIFICATE_VERIFY_FAILED" in str(exc) else ApiUnavailable
            raise failure(f"{what}: {exc}") from exc


def _from_status(what: str, target: str, exc: Any) -> ClusterError:
    """Turn an HTTP error into the kind that callers tell apart, with the words of the API's Status object."""
    message, reason, advice = (exc.body or exc.reason or "").strip(), exc.reason, ""
    try:
        status = json.loads(exc.body)
        details = "; ".join(cause["message"] for cause in (status.get("details") or {}).get("causes") or [] if cause.get("message"))
        message, reason = status["message"] + (f" ({details})" if details else ""), status.get("reason", reason)
        advice = FORBIDDEN_ADVICE if exc.status == 403 else ""
    except (TypeError, ValueError, KeyError, AttributeError):
        pass  # not a Status: a proxy's page, or nothing at all
    kind = {401: ApiDenied, 403: ApiDenied, 404: NotFound, 409: Conflict, 429: ApiUnavailable}.get(exc.status)
    if kind is None:
        kind = ApiUnavailable if exc.status >= 500 else ClusterError
    return kind(f"{what} {target}: {exc.status} {message}"[:1000] + advice, status=exc.status, reason=reason, answer=message)
