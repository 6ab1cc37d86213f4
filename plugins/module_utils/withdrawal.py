# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods still serve though they are about to end, and how they are taken out of their Services in time. Pure.

A drain leaves the pods of DaemonSets. They stay endpoints until the node is declared NotReady, 40 s after its kubelet was heard of
last, and until then every Service they belong to loses the connections it sends them. The node lifecycle controller then sets
their ``Ready`` condition to false (``pkg/controller/util/node/controller_utils.go``, ``MarkPodsNotReady``); the same patch, made before
the node goes, takes them out in time. It lasts only while the kubelet is stopped: a running one writes its own view back.

A pod that terminates gets no new traffic, but kube-proxy goes on sending it the UDP packets of every client address and port that it has
sent it before, until it no longer serves: it is then gone already (``pkg/proxy/conntrack/cleanup.go``). A client that asks from such a port at
that time, a kept socket or a new one by chance, gets no answer. The same patch on the terminating pod lets kube-proxy forget these
records while the pod still answers; that the kubelet takes the patch back in a few seconds does no harm.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import eviction
from ansible_collections.netops.cni_migration.plugins.module_utils.node_state import is_ready

SERVICE_NAME = "kubernetes.io/service-name"

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


def ending_datagram_servers(pods: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The pods that terminate, are ready, and declare a UDP port."""
    return [pod for pod in pods if eviction.is_terminating(pod) and is_ready(pod) and any(ports(pod["spec"].get("containers") or (), "UDP"))]


def dismissible_pods(pods: Iterable[Mapping[str, Any]], slices: Iterable[Mapping[str, Any]]) -> list[PodName]:
    """Those of ``pods`` whose every Service with a UDP port has another ready endpoint, sorted: where there is none, they are better than nothing."""
    ready: dict[PodName, set[PodName]] = defaultdict(set)
    served: dict[PodName, set[PodName]] = defaultdict(set)
    for each in slices:
        if not any(port.get("protocol") == "UDP" for port in each.get("ports") or ()):
            continue
        service = each["metadata"]["namespace"], (each["metadata"].get("labels") or {}).get(SERVICE_NAME, "")
        for endpoint in each.get("endpoints") or ():
            target = endpoint.get("targetRef") or {}
            if target.get("kind") == "Pod":
                pod = (target["namespace"], target["name"])
                served[pod].add(service)
                if (endpoint.get("conditions") or {}).get("ready") is not False:
                    ready[service].add(pod)
    names = {_key(pod) for pod in pods}
    return sorted(name for name in names if served[name] and all(ready[service] - names for service in served[name]))


def withdrawal_patch(now: str, reason: str = "NodeLeaves", message: str = "The node is about to be rebooted") -> dict[str, Any]:
    """The strategic merge patch of ``pods/status`` that takes a pod out of its Services; ``now`` is an RFC 3339 time."""
    condition = {"type": "Ready", "status": "False", "reason": reason, "message": message, "lastTransitionTime": now}
    return {"status": {"conditions": [condition]}}


def ports(containers: Iterable[Mapping[str, Any]], protocol: str) -> Iterator[int]:
    """The ports of this protocol that the containers, as the API server tells of them, declare."""
    return (port["containerPort"] for container in containers for port in container.get("ports") or () if port.get("protocol") == protocol)


def _key(thing: Mapping[str, Any]) -> PodName:
    return thing["metadata"]["namespace"], thing["metadata"]["name"]
