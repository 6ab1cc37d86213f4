# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of objects that a network consists of, read and written by kind.

They go to the API server as they are. The methods that the client has for each kind would make models of its own version of them first, and
what it does not know would be lost.
"""

from __future__ import annotations

import contextlib
from typing import Any

with contextlib.suppress(ImportError):  # reported by the modules, see cluster.HAS_KUBERNETES
    from kubernetes.dynamic import DynamicClient

from ansible_collections.netops.cni_migration.plugins.module_utils import cluster
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_reader import ClusterReader

# By kind: its API version, and how paths spell it.
_KINDS = {
    "Namespace": ("v1", "namespaces"),
    "ServiceAccount": ("v1", "serviceaccounts"),
    "ConfigMap": ("v1", "configmaps"),
    "Secret": ("v1", "secrets"),
    "DaemonSet": ("apps/v1", "daemonsets"),
    "ClusterRole": ("rbac.authorization.k8s.io/v1", "clusterroles"),
    "ClusterRoleBinding": ("rbac.authorization.k8s.io/v1", "clusterrolebindings"),
}


class ClusterObjects(ClusterReader):
    """A cluster whose objects of these kinds can be written, too. Every method raises :class:`cluster.ClusterError` or one of its kinds."""

    def __init__(self, kubeconfig: str) -> None:
        super().__init__(kubeconfig)
        # Without the discovery of kinds, which asks the API server a dozen times, it is what is wanted here: requests with any body.
        self._dynamic: Any = DynamicClient(self._core.api_client, discoverer=lambda _client, _cache: None)

    def get_object(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """The object, or None when there is none. ``namespace`` is empty for a kind that is in none, here and below."""
        try:
            return cluster._json(f"get {kind}", self._asking("get", kind), name, namespace)
        except cluster.NotFound:
            return None

    def list_objects(self, kind: str, namespace: str) -> list[dict[str, Any]]:
        """Every object of ``kind`` in ``namespace``, each with its kind and API version, which a list leaves out."""
        items = cluster._json(f"list {kind}", self._asking("get", kind), "", namespace)["items"]
        return [{"apiVersion": _KINDS[kind][0], "kind": kind, **item} for item in items]

    def create_object(self, item: dict[str, Any]) -> None:
        """Create the object; :class:`cluster.Conflict` when there is one."""
        ask, metadata = self._asking("post", item["kind"]), item["metadata"]
        what = f"create {item['kind']} {metadata['name']}"
        cluster._request(what, ask, "", metadata.get("namespace", ""), body=item)

    def replace_object(self, item: dict[str, Any]) -> None:
        """Replace the object of this name, whatever it is now."""
        ask, metadata = self._asking("put", item["kind"]), item["metadata"]
        cluster._request(f"replace {item['kind']}", ask, metadata["name"], metadata.get("namespace", ""), body=item)

    def delete_object(self, kind: str, namespace: str, name: str, uid: str) -> None:
        """Delete the object if it still has this uid (:class:`cluster.Conflict` if not)."""
        cluster._request(f"delete {kind}", self._asking("delete", kind), name, namespace, body={"preconditions": {"uid": uid}})

    def _asking(self, verb: str, kind: str) -> Any:
        """A function of name and namespace that makes the request; without a name it is for all of the kind."""
        version, plural = _KINDS[kind]
        root = f"/api/{version}" if version == "v1" else f"/apis/{version}"

        def ask(name: str, namespace: str, **options: Any) -> Any:
            parts = [root, *(["namespaces", namespace] if namespace else []), plural, *([name] if name else [])]
            return self._dynamic.request(verb, "/".join(parts), serialize=False, **options)

        return ask
