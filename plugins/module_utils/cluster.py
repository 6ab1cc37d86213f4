# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only place that talks to the API server: a thin layer over the official ``kubernetes`` client.

Objects go in and out as the API's own JSON (dictionaries), not as the client's models: planners read them as they are
documented, and an answer costs no conversion. Each call is one request without hidden repeats; whether to try again is
:mod:`waiting`'s decision.
"""

from __future__ import annotations

import json
import traceback
from typing import Any, Callable, Protocol

try:
    import urllib3
    from kubernetes import client, config
    from kubernetes.client.exceptions import ApiException
    from kubernetes.config.config_exception import ConfigException
except ImportError:
    HAS_KUBERNETES = False
    KUBERNETES_IMPORT_ERROR = traceback.format_exc()
else:
    HAS_KUBERNETES = True
    KUBERNETES_IMPORT_ERROR = ""

CONNECT_AND_READ_SECONDS = (3, 15)
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

    # The client's types differ from release to release (models until 36, pydantic since): kept loose at this border.
    _core: Any
    _apps: Any
    _policy: Any
    _discovery: Any
    _custom: Any

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
        api = client.ApiClient(settings)
        self._core, self._apps = client.CoreV1Api(api), client.AppsV1Api(api)
        self._policy, self._discovery = client.PolicyV1Api(api), client.DiscoveryV1Api(api)
        self._custom = client.CustomObjectsApi(api)

    def get_node(self, name: str) -> dict[str, Any]:
        return _json("get node", self._core.read_node, name)

    def list_nodes(self) -> list[dict[str, Any]]:
        return _json("list nodes", self._core.list_node)["items"]

    def patch_node(self, name: str, patch: dict[str, Any]) -> dict[str, Any]:
        return _json("patch node", self._core.patch_node, name, patch)

    def list_pods(self, node: str = "", namespace: str = "", selector: str = "") -> list[dict[str, Any]]:
        query: dict[str, Any] = {}
        if node:
            query["field_selector"] = f"spec.nodeName={node}"
        if selector:
            query["label_selector"] = selector
        if namespace:
            return _json("list pods", self._core.list_namespaced_pod, namespace, **query)["items"]
        return _json("list pods", self._core.list_pod_for_all_namespaces, **query)["items"]

    def get_pod(self, namespace: str, name: str) -> dict[str, Any]:
        return _json("get pod", self._core.read_namespaced_pod, name, namespace)

    def create_pod(self, namespace: str, pod: dict[str, Any]) -> dict[str, Any]:
        return _json("create pod", self._core.create_namespaced_pod, namespace, pod)

    def delete_pod(self, namespace: str, name: str, uid: str, grace_seconds: int | None = None) -> None:
        options: dict[str, Any] = {"preconditions": {"uid": uid}}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        _request("delete pod", self._core.delete_namespaced_pod, name, namespace, body=options)

    def evict_pod(self, namespace: str, name: str, uid: str) -> None:
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        try:
            _request("evict pod", self._core.create_namespaced_pod_eviction, name, namespace, eviction)
        except ApiUnavailable as exc:
            # 429 is a budget that is used up; 500 with these words is a pod under two budgets, which no eviction passes.
            if exc.facts.get("status") == 429 or "more than one PodDisruptionBudget" in str(exc):
                raise EvictionBlocked(exc.facts["answer"], **exc.facts) from exc
            raise

    def pod_log(self, namespace: str, name: str) -> str:
        return _request("read log of pod", self._core.read_namespaced_pod_log, name, namespace).decode("utf-8", "replace")

    def list_budgets(self) -> list[dict[str, Any]]:
        return _json("list poddisruptionbudgets", self._policy.list_pod_disruption_budget_for_all_namespaces)["items"]

    def patch_pod_status(self, namespace: str, name: str, patch: dict[str, Any]) -> dict[str, Any]:
        return _json("patch status of pod", self._core.patch_namespaced_pod_status, name, namespace, patch)

    def patch_deployment(self, namespace: str, name: str, patch: dict[str, Any]) -> dict[str, Any]:
        """Apply a strategic merge patch to a Deployment and return it."""
        return _json("patch deployment", self._apps.patch_namespaced_deployment, name, namespace, patch)

    def list_services(self) -> list[dict[str, Any]]:
        """Every Service of the cluster."""
        return _json("list services", self._core.list_service_for_all_namespaces)["items"]

    def list_endpoint_slices(self) -> list[dict[str, Any]]:
        return _json("list endpointslices", self._discovery.list_endpoint_slice_for_all_namespaces)["items"]

    def list_events(self, namespace: str, fields: str) -> list[dict[str, Any]]:
        return _json("list events", self._core.list_namespaced_event, namespace, field_selector=fields)["items"]


def _json(what: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    return json.loads(_request(what, call, *args, **kwargs))


def _request(what: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> bytes:
    """Make one request and return the body, with every failure turned into a :class:`ClusterError`."""
    try:
        return call(*args, _preload_content=False, _request_timeout=CONNECT_AND_READ_SECONDS, **kwargs).data
    except ApiException as exc:
        raise _from_status(what, args, exc) from exc
    except urllib3.exceptions.HTTPError as exc:
        kind = ClusterError if "CERTIFICATE_VERIFY_FAILED" in str(exc) else ApiUnavailable
        raise kind(f"{what}: {exc}") from exc


def _from_status(what: str, args: tuple[Any, ...], exc: Any) -> ClusterError:
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
    target = "/".join(arg for arg in reversed(args) if isinstance(arg, str))  # the client takes the name before the namespace
    return kind(f"{what} {target}: {exc.status} {message}"[:1000] + advice, status=exc.status, reason=reason, answer=message)
