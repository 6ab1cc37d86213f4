# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the replicas of cluster DNS are replaced before a node is drained, and how. Pure.

They are when all of them are on that node, and when they would say that they are ready before they listen. A rolling restart starts new replicas
before the last old one goes, and their anti-affinity sees all the nodes there are now. It is begun by an annotation of the pod template, which names
the node; a run that finds its own annotation on a roll-out does not begin another one.

CoreDNS starts to listen up to 0.1 s after its plugin ``ready`` has begun to say yes: the plugin ``kubernetes`` holds the server up in ``OnStartup`` and
looks ten times a second whether it may go on, while ``ready`` asks it directly (plugin/kubernetes, ``InitKubeCache``; plugin/ready). A kubelet that asks in
between has the replica asked by everybody, and it refuses: in the lab one query in 15 restarts. With a startup probe of the port itself nobody asks ``ready``
before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import eviction, rollout, withdrawal
from ansible_collections.netops.cni_migration.plugins.module_utils.migration_status import is_dns, name_of
from ansible_collections.netops.cni_migration.plugins.module_utils.node_state import PREFIX, NodeView, is_ready

NAMESPACE = "kube-system"
SELECTOR = "k8s-app=kube-dns"
SPREAD_FOR = PREFIX + "spread-for"

Object = Mapping[str, Any]


def replicas_to_replace(node: str, pods: Iterable[Object], nodes: Iterable[Object], deployments: Iterable[Object]) -> list[str]:
    """The live replicas of DNS, sorted, when they have to be replaced before ``node`` is drained; otherwise none.

    A replica that the scheduler has found no node for serves nobody, so it does not count.
    """
    replicas = [pod for pod in pods if is_dns(pod) and pod["spec"].get("nodeName")]
    others = [view for view in map(NodeView.from_api, nodes) if view.name != node and view.ready and not view.unschedulable]
    concentrated = others and all(pod["spec"]["nodeName"] == node for pod in replicas)
    if concentrated or any(startup_probes(each) or _is_restarting(node, each) for each in deployments):
        return sorted(map(name_of, replicas))
    return []


def startup_probes(deployment: Object) -> dict[str, dict[str, Any]]:
    """By container, the startup probe that keeps it from being ready before it listens; of those which need one and have none."""
    found = {}
    for container in deployment["spec"]["template"].get("spec", {}).get("containers") or ():
        readiness = container.get("readinessProbe") or {}
        asked = (readiness.get("httpGet") or readiness.get("tcpSocket") or {}).get("port")
        served = sorted({*withdrawal.ports([container], "TCP")} & {*withdrawal.ports([container], "UDP")})
        if served and readiness and asked not in served and not container.get("startupProbe"):
            found[container["name"]] = {"tcpSocket": {"port": served[0]}, "periodSeconds": 1, "failureThreshold": 60}
    return found


def _is_restarting(node: str, deployment: Object) -> bool:
    return present_mark(deployment).partition(" ")[0] == node and rollout.has_old_replicas(deployment)


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


def spread_patch(text: str, probes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The strategic merge patch of a Deployment that has its annotation say ``text`` and its containers have these startup probes."""
    template: dict[str, Any] = {"metadata": {"annotations": {SPREAD_FOR: text}}}
    if probes:
        template["spec"] = {"containers": [{"name": name, "startupProbe": probe} for name, probe in probes.items()]}
    return {"spec": {"template": template}}


def what_is_left(deployments: Iterable[Object], pods: Iterable[Object]) -> str:
    """What is not done yet, in words; empty when all is done. ``pods`` are those of DNS, read after ``deployments``."""
    left = list(filter(None, map(rollout.deployment_left, deployments)))
    ending = sorted(name_of(pod) for pod in pods if eviction.is_terminating(pod) and is_ready(pod))
    if ending:
        left.append(f"old replicas still answer: {', '.join(ending)}")
    return "; ".join(left)
