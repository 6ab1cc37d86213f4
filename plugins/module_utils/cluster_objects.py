# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of objects that a network consists of, read and written by kind, over the same client as :mod:`cluster`."""

from __future__ import annotations

import contextlib
from typing import Any, Callable

with contextlib.suppress(ImportError):  # reported by the modules, see cluster.HAS_KUBERNETES
    from kubernetes import client

from ansible_collections.netops.cni_migration.plugins.module_utils import cluster
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_reader import ClusterReader

# By kind: the API version, the client that serves it, and the kind as that client's methods spell it.
_KINDS = {
    "Namespace": ("v1", "_core", "namespace"),
    "ServiceAccount": ("v1", "_core", "namespaced_service_account"),
    "ConfigMap": ("v1", "_core", "namespaced_config_map"),
    "Secret": ("v1", "_core", "namespaced_secret"),
    "DaemonSet": ("apps/v1", "_apps", "namespaced_daemon_set"),
    "ClusterRole": ("rbac.authorization.k8s.io/v1", "_rbac", "cluster_role"),
    "ClusterRoleBinding": ("rbac.authorization.k8s.io/v1", "_rbac", "cluster_role_binding"),
}


class ClusterObjects(ClusterReader):
    """A cluster whose objects of these kinds can be written, too. Every method raises :class:`cluster.ClusterError` or one of its kinds."""

    def __init__(self, kubeconfig: str) -> None:
        super().__init__(kubeconfig)
        self._rbac: Any = client.RbacAuthorizationV1Api(self._core.api_client)

    def get_object(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """The object, or None when there is none. ``namespace`` is empty for a kind that is in none, here and below."""
        try:
            return cluster._json(f"get {kind}", self._method("read", kind), name, *_within(namespace))
        except cluster.NotFound:
            return None

    def list_objects(self, kind: str, namespace: str) -> list[dict[str, Any]]:
        """Every object of ``kind`` in ``namespace``, each with its kind and API version, which a list leaves out."""
        items = cluster._json(f"list {kind}", self._method("list", kind), namespace)["items"]
        return [{"apiVersion": _KINDS[kind][0], "kind": kind, **item} for item in items]

    def create_object(self, item: dict[str, Any]) -> None:
        """Create the object; :class:`cluster.Conflict` when there is one."""
        namespace = item["metadata"].get("namespace", "")
        cluster._request(f"create {item['kind']} {item['metadata']['name']}", self._method("create", item["kind"]), *_within(namespace), item)

    def replace_object(self, item: dict[str, Any]) -> None:
        """Replace the object of this name, whatever it is now."""
        metadata = item["metadata"]
        cluster._request(f"replace {item['kind']}", self._method("replace", item["kind"]), metadata["name"], *_within(metadata.get("namespace", "")), item)

    def delete_object(self, kind: str, namespace: str, name: str, uid: str) -> None:
        """Delete the object if it still has this uid (:class:`cluster.Conflict` if not)."""
        options = {"preconditions": {"uid": uid}}
        cluster._request(f"delete {kind}", self._method("delete", kind), name, *_within(namespace), body=options)

    def _method(self, verb: str, kind: str) -> Callable[..., Any]:
        _version, api, spelled = _KINDS[kind]
        return getattr(getattr(self, api), f"{verb}_{spelled}")


def _within(namespace: str) -> tuple[str, ...]:
    return (namespace,) if namespace else ()
