# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reads that modules need beyond the migration's own, over the same client as :mod:`cluster`."""

from __future__ import annotations

from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import cluster

DAEMONSETS, REPLICA_SETS = ("apps/v1", "daemonsets"), ("apps/v1", "replicasets")
SECRETS, CONFIG_MAPS = ("v1", "secrets"), ("v1", "configmaps")


class ClusterReader(cluster.KubernetesCluster):
    """A cluster that is only looked at. Every method raises :class:`cluster.ClusterError` or one of its kinds."""

    def list_daemonsets(self) -> list[dict[str, Any]]:
        """Every DaemonSet of the cluster."""
        return self._json("list daemonsets", DAEMONSETS)["items"]

    def get_daemonset(self, namespace: str, name: str) -> dict[str, Any]:
        """One DaemonSet."""
        return self._json("get daemonset", DAEMONSETS, namespace, name)

    def list_deployments(self, namespace: str = "", selector: str = "") -> list[dict[str, Any]]:
        """The Deployments in ``namespace``, with the labels of ``selector``; an empty one does not restrict."""
        return self._json("list deployments", cluster.DEPLOYMENTS, namespace, selector=selector)["items"]

    def list_replica_sets(self, namespace: str, selector: str) -> list[dict[str, Any]]:
        """The ReplicaSets of ``namespace`` with the labels of ``selector``."""
        return self._json("list replicasets", REPLICA_SETS, namespace, selector=selector)["items"]

    def list_secrets(self, namespace: str, selector: str) -> list[dict[str, Any]]:
        """The Secrets of ``namespace`` with the labels of ``selector``."""
        return self._json("list secrets", SECRETS, namespace, selector=selector)["items"]

    def get_config_map(self, namespace: str, name: str) -> dict[str, Any] | None:
        """The ConfigMap, or None when there is none."""
        try:
            return self._json("get configmap", CONFIG_MAPS, namespace, name)
        except cluster.NotFound:
            return None

    def list_kind(self, group: str, version: str, plural: str) -> list[dict[str, Any]]:
        """Every object of a kind of an API group, in all namespaces; none where the API server does not know the kind."""
        try:
            return self._json(f"list {plural}", (f"{group}/{version}", plural))["items"]
        except cluster.NotFound:
            return []
