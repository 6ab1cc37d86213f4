# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods of a node still serve, and how they are taken out of their Services before the node goes away. Pure.

A drain leaves the pods of DaemonSets. They stay endpoints until the node is declared NotReady, 40 s after its kubelet was heard of
last, and until then every Service they belong to loses the connections it sends them. The node lifecycle controller then sets
their ``Ready`` condition to false (``pkg/controller/util/node/controller_utils.go``, ``MarkPodsNotReady``); the same patch, made before
the node goes, takes them out in time. It lasts only while the kubelet is stopped: a running one writes its own view back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

SERVICE_NAME = "kubernetes.io/service-name"
REASON = "NodeLeaves"

PodName = tuple[str, str]
"""Namespace and name."""


def serving_pods(slices: Iterable[Mapping[str, Any]], services: Iterable[Mapping[str, Any]], node: str) -> list[PodName]:
    """The pods on ``node`` that get traffic of a Service, sorted.

    ``slices`` are EndpointSlices (discovery.k8s.io/v1) and ``services`` the Services. A Service that publishes addresses which are not
    ready keeps them whatever their pods say, so it does not count. Neither do endpoints that are no pods.
    """
    unconditional = {_key(service) for service in services if service["spec"].get("publishNotReadyAddresses")}
    found = set()
    for each in slices:
        namespace = each["metadata"]["namespace"]
        if (namespace, (each["metadata"].get("labels") or {}).get(SERVICE_NAME, "")) in unconditional:
            continue
        for endpoint in each.get("endpoints") or ():
            target = endpoint.get("targetRef") or {}
            # An absent condition means true.
            ready = (endpoint.get("conditions") or {}).get("ready") is not False
            if ready and endpoint.get("nodeName") == node and target.get("kind") == "Pod":
                found.add((namespace, target["name"]))
    return sorted(found)


def withdrawal_patch(now: str) -> dict[str, Any]:
    """The strategic merge patch of ``pods/status`` that takes a pod out of its Services; ``now`` is an RFC 3339 time."""
    condition = {"type": "Ready", "status": "False", "reason": REASON, "message": "The node is about to be rebooted", "lastTransitionTime": now}
    return {"status": {"conditions": [condition]}}


def _key(thing: Mapping[str, Any]) -> PodName:
    return thing["metadata"]["namespace"], thing["metadata"]["name"]
