# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases, over the same client as :mod:`cluster`."""

from __future__ import annotations

from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import cluster

LEASES = ("coordination.k8s.io/v1", "leases")


class LeaseCluster(cluster.KubernetesCluster):
    """A cluster whose Leases are read and written. Every method raises :class:`cluster.ClusterError` or one of its kinds."""

    def get_lease(self, namespace: str, name: str) -> dict[str, Any] | None:
        """The Lease, or None when there is none."""
        try:
            return self._json("get lease", LEASES, namespace, name)
        except cluster.NotFound:
            return None

    def create_lease(self, namespace: str, lease: dict[str, Any]) -> dict[str, Any]:
        """Create a Lease and return it; :class:`cluster.Conflict` when there is one."""
        return self._json("create lease", LEASES, namespace, verb="post", body=lease)

    def patch_lease(self, namespace: str, name: str, patch: dict[str, Any]) -> dict[str, Any]:
        """Apply a merge patch and return the Lease; :class:`cluster.Conflict` when it names another resourceVersion than the Lease has."""
        return self._json("patch lease", LEASES, namespace, name, verb="patch", body=patch)

    def delete_lease(self, namespace: str, name: str, version: str) -> None:
        """Delete the Lease if it still has this resourceVersion (:class:`cluster.Conflict` if not)."""
        body = {"preconditions": {"resourceVersion": version}}
        self._request("delete lease", LEASES, namespace, name, verb="delete", body=body)
