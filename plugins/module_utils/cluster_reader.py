# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reads that modules need beyond the migration's own, over the same client as :mod:`cluster`."""

from __future__ import annotations

from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import cluster


class ClusterReader(cluster.KubernetesCluster):
    """A cluster that is only looked at. Every method raises :class:`cluster.ClusterError` or one of its kinds."""

    def list_daemonsets(self) -> list[dict[str, Any]]:
        """Every DaemonSet of the cluster."""
        return cluster._json("list daemonsets", self._apps.list_daemon_set_for_all_namespaces)["items"]

    def get_daemonset(self, namespace: str, name: str) -> dict[str, Any]:
        """One DaemonSet."""
        return cluster._json("get daemonset", self._apps.read_namespaced_daemon_set, name, namespace)

    def list_deployments(self, namespace: str = "", selector: str = "") -> list[dict[str, Any]]:
        """The Deployments in ``namespace``, with the labels of ``selector``; an empty one does not restrict."""
        query = {"label_selector": selector} if selector else {}
        if namespace:
            return cluster._json("list deployments", self._apps.list_namespaced_deployment, namespace, **query)["items"]
        return cluster._json("list deployments", self._apps.list_deployment_for_all_namespaces, **query)["items"]

    def list_replica_sets(self, namespace: str, selector: str) -> list[dict[str, Any]]:
        """The ReplicaSets of ``namespace`` with the labels of ``selector``."""
        return cluster._json("list replicasets", self._apps.list_namespaced_replica_set, namespace, label_selector=selector)["items"]

    def list_secrets(self, namespace: str, selector: str) -> list[dict[str, Any]]:
        """The Secrets of ``namespace`` with the labels of ``selector``."""
        return cluster._json("list secrets", self._core.list_namespaced_secret, namespace, label_selector=selector)["items"]

    def get_config_map(self, namespace: str, name: str) -> dict[str, Any] | None:
        """The ConfigMap, or None when there is none."""
        try:
            return cluster._json("get configmap", self._core.read_namespaced_config_map, name, namespace)
        except cluster.NotFound:
            return None

    def list_kind(self, group: str, version: str, plural: str) -> list[dict[str, Any]]:
        """Every object of a kind of an API group, in all namespaces; none where the API server does not know the kind."""
        try:
            return cluster._json("list", self._custom.list_cluster_custom_object, group, version, plural)["items"]
        except cluster.NotFound:
            return []
