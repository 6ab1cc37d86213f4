# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of objects that a network consists of, read and written by kind."""

from __future__ import annotations

from typing import Any

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

    def get_object(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """The object, or None when there is none. ``namespace`` is empty for a kind that is in none, here and below."""
        try:
            return self._json(f"get {kind}", _KINDS[kind], namespace, name)
        except cluster.NotFound:
            return None

    def list_objects(self, kind: str, namespace: str) -> list[dict[str, Any]]:
        """Every object of ``kind`` in ``namespace``, each with its kind and API version, which a list leaves out."""
        items = self._json(f"list {kind}", _KINDS[kind], namespace)["items"]
        return [{"apiVersion": _KINDS[kind][0], "kind": kind, **item} for item in items]

    def create_object(self, item: dict[str, Any]) -> None:
        """Create the object; :class:`cluster.Conflict` when there is one."""
        metadata = item["metadata"]
        self._request(f"create {item['kind']} {metadata['name']}", _KINDS[item["kind"]], metadata.get("namespace", ""), verb="post", body=item)

    def replace_object(self, item: dict[str, Any]) -> None:
        """Replace the object of this name, whatever it is now."""
        metadata = item["metadata"]
        self._request(f"replace {item['kind']}", _KINDS[item["kind"]], metadata.get("namespace", ""), metadata["name"], verb="put", body=item)

    def delete_object(self, kind: str, namespace: str, name: str, uid: str) -> None:
        """Delete the object if it still has this uid (:class:`cluster.Conflict` if not)."""
        self._request(f"delete {kind}", _KINDS[kind], namespace, name, verb="delete", body={"preconditions": {"uid": uid}})
