# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases, over the same client as :mod:`cluster`."""

from __future__ import annotations

import contextlib
from typing import Any

with contextlib.suppress(ImportError):  # reported by the modules, see cluster.HAS_KUBERNETES
    from kubernetes import client

from ansible_collections.netops.cni_migration.plugins.module_utils import cluster


class LeaseCluster(cluster.KubernetesCluster):
    """A cluster whose Leases are read and written. Every method raises :class:`cluster.ClusterError` or one of its kinds."""

    def __init__(self, kubeconfig: str) -> None:
        super().__init__(kubeconfig)
        self._coordination: Any = client.CoordinationV1Api(self._core.api_client)

    def get_lease(self, namespace: str, name: str) -> dict[str, Any] | None:
        """The Lease, or None when there is none."""
        try:
            return cluster._json("get lease", self._coordination.read_namespaced_lease, name, namespace)
        except cluster.NotFound:
            return None

    def create_lease(self, namespace: str, lease: dict[str, Any]) -> dict[str, Any]:
        """Create a Lease and return it; :class:`cluster.Conflict` when there is one."""
        return cluster._json("create lease", self._coordination.create_namespaced_lease, namespace, lease)

    def patch_lease(self, namespace: str, name: str, patch: dict[str, Any]) -> dict[str, Any]:
        """Apply a merge patch and return the Lease; :class:`cluster.Conflict` when it names another resourceVersion than the Lease has."""
        return cluster._json("patch lease", self._coordination.patch_namespaced_lease, name, namespace, patch)

    def delete_lease(self, namespace: str, name: str, version: str) -> None:
        """Delete the Lease if it still has this resourceVersion (:class:`cluster.Conflict` if not)."""
        body = {"preconditions": {"resourceVersion": version}}
        cluster._request("delete lease", self._coordination.delete_namespaced_lease, name, namespace, body=body)
