# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When all of cluster DNS is on a node that is about to be drained, and how it comes to other nodes before. Pure.

A rolling restart starts new replicas before the last old one goes, and their anti-affinity sees all the nodes there are now. It is begun
by an annotation of the pod template, which names the node; a run that finds its own annotation on a roll-out does not begin another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import eviction, rollout
from ansible_collections.netops.cni_migration.plugins.module_utils.migration_status import is_dns, name_of
from ansible_collections.netops.cni_migration.plugins.module_utils.node_state import PREFIX, NodeView, is_ready

NAMESPACE = "kube-system"
SELECTOR = "k8s-app=kube-dns"
SPREAD_FOR = PREFIX + "spread-for"

Object = Mapping[str, Any]


def replicas_to_spread(node: str, pods: Iterable[Object], nodes: Iterable[Object]) -> list[str]:
    """The live replicas of DNS, sorted, when all of them are on ``node`` and another node can take some; otherwise none.

    A replica that the scheduler has found no node for serves nobody, so it does not count.
    """
    replicas = [pod for pod in pods if is_dns(pod) and pod["spec"].get("nodeName")]
    others = [view for view in map(NodeView.from_api, nodes) if view.name != node and view.ready and not view.unschedulable]
    if not others or any(pod["spec"]["nodeName"] != node for pod in replicas):
        return []
    return sorted(map(name_of, replicas))


def present_mark(deployment: Object) -> str:
    """What the annotation of the pod template says, empty when there is none."""
    return ((deployment["spec"]["template"].get("metadata") or {}).get("annotations") or {}).get(SPREAD_FOR, "")


def mark(node: str, deployment: Object) -> str:
    """What the annotation has to say, so that a roll-out for ``node`` begins, or one that has begun goes on."""
    present = present_mark(deployment)
    if present.partition(" ")[0] != node:
        return node
    # DNS was spread for this node before. Unless that is still going on, the same words again would begin nothing.
    return present if rollout.deployment_left(deployment) else f"{node} {deployment['metadata']['generation']}"


def spread_patch(text: str) -> dict[str, Any]:
    """The strategic merge patch of a Deployment that has its annotation say ``text``."""
    return {"spec": {"template": {"metadata": {"annotations": {SPREAD_FOR: text}}}}}


def what_is_left(deployments: Iterable[Object], pods: Iterable[Object]) -> str:
    """What is not done yet, in words; empty when all is done. ``pods`` are those of DNS, read after ``deployments``."""
    left = list(filter(None, map(rollout.deployment_left, deployments)))
    ending = sorted(name_of(pod) for pod in pods if eviction.is_terminating(pod) and is_ready(pod))
    if ending:
        left.append(f"old replicas still answer: {', '.join(ending)}")
    return "; ".join(left)
