# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a DaemonSet or a Deployment is rolled out, and what is missing until it is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils.eviction import is_terminating
from ansible_collections.netops.cni_migration.plugins.module_utils.node_state import is_ready
from ansible_collections.netops.cni_migration.plugins.module_utils.verification_pod import complaint

Object = Mapping[str, Any]

_REVISION_LABELS = ("controller-revision-hash", "pod-template-hash")


def deployment_left(deployment: Object) -> str:
    """How far the Deployment is; empty when all replicas are new ones and available, and no old one is left but those that are terminating."""
    status, wanted = deployment.get("status") or {}, deployment["spec"]["replicas"]
    replicas, new, available = (status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas"))
    # Without the first of the three, an old replica could be counted in place of a new one that is not available yet.
    if _is_observed(deployment) and replicas == new == available == wanted:
        return ""
    return f"Deployment {deployment['metadata']['name']} is not rolled out ({new} of {wanted} replicas are new, {available} available)"


def has_old_replicas(deployment: Object) -> bool:
    """Whether replicas may be left that were not made from the present template. New ones that are not available, or have no node, do not matter."""
    status = deployment.get("status") or {}
    return not _is_observed(deployment) or status.get("updatedReplicas", 0) != status.get("replicas", 0)


def daemonset_left(daemonset: Object) -> str:
    """How far the DaemonSet is; empty when every node that is to have a pod has a new and ready one."""
    status = daemonset.get("status") or {}
    wanted, new, ready = (status.get(name, 0) for name in ("desiredNumberScheduled", "updatedNumberScheduled", "numberReady"))
    if _is_observed(daemonset) and new == ready == wanted > 0:
        return ""
    return f"DaemonSet {daemonset['metadata']['name']} is not rolled out ({new} of {wanted} pods are new, {ready} ready)"


def current(item: Object, pods: Iterable[Object]) -> list[Object]:
    """Those of the ``pods`` of a DaemonSet or a Deployment that were made from its present template.

    Those from before are on their way out, whatever they suffer from. While it is not certain that there are new ones, there are none.
    """
    status, pods = item.get("status") or {}, list(pods)
    if not pods or not _is_observed(item) or not (status.get("updatedNumberScheduled") or status.get("updatedReplicas")):
        return []
    newest = max(pods, key=lambda pod: pod["metadata"]["creationTimestamp"])
    return [pod for pod in pods if _revision(pod) == _revision(newest)]


def waited_for(pods: Iterable[Object]) -> list[str]:
    """A sentence for each of ``pods`` that is there to stay and not ready, with its node."""
    return sorted(f"{complaint(pod)} (on {pod['spec'].get('nodeName', 'no node')})" for pod in pods if not is_ready(pod) and not is_terminating(pod))


def _is_observed(item: Object) -> bool:
    return (item.get("status") or {}).get("observedGeneration", 0) >= item["metadata"]["generation"]


def _revision(pod: Object) -> list[str | None]:
    """What names the template that the pod was made from."""
    return [(pod["metadata"].get("labels") or {}).get(label) for label in _REVISION_LABELS]
