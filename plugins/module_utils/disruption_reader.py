# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the probers of the disruption monitor hand out, read through the API server's proxy to their pods, and what the API tells of an absence."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import api_absence, cluster, dns_ends
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_reader import ClusterReader
from ansible_collections.netops.cni_migration.plugins.module_utils.probe_log import Interval
from ansible_collections.netops.cni_migration.plugins.module_utils.waiting import API_SECONDS, SystemClock, wait_for

CONFIG_MAP = "monitor"
SINCE = "cni-migration.netops/complete"


class Monitor(ClusterReader):
    """A cluster with a monitor in one of its namespaces. Every method raises :class:`cluster.ClusterError` or one of its kinds."""

    def __init__(self, kubeconfig: str, namespace: str) -> None:
        super().__init__(kubeconfig)
        self._namespace = namespace

    def config(self) -> dict[str, Any]:
        """What the probers were told, with ``since``, when all of them had reported first; 0 while they have not."""
        found = self.get_config_map(self._namespace, CONFIG_MAP)
        if found is None:
            raise cluster.NotFound(f"there is no monitor in the namespace {self._namespace}")
        annotations = found["metadata"].get("annotations") or {}
        return {**json.loads(found["data"]["config.json"]), "since": float(annotations.get(SINCE, 0))}

    def hosts(self) -> dict[str, str]:
        """By node, the name of the pod there that hands out the logs. One that was just created is on no node yet."""
        pods = self.list_pods(namespace=self._namespace, selector="app=probe-host")
        return {pod["spec"]["nodeName"]: pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"] and "nodeName" in pod["spec"]}

    def stats(self, pod: str, port: int) -> dict[str, Any]:
        """The totals of a node's probers."""
        return json.loads(self._get(pod, port, "stats"))

    def logs(self, pod: str, port: int) -> dict[str, Any]:
        """The names and sizes of a node's logs, and how far its clock is ahead, as far as that can be told."""
        asked = time.time()
        listing = json.loads(self._get(pod, port, "logs"))
        answered = time.time()
        ahead = listing["t"] - (asked + answered) / 2
        return {**listing, "clock_offset": ahead if abs(ahead) > answered - asked else 0.0}

    def lines(self, pod: str, port: int, name: str, size: int) -> Iterator[str]:
        """A log, line by line, fetched in pieces. An API server that goes away meanwhile is waited for; raises TimedOut, too."""
        offset, rest = 0, b""
        while offset < size:
            piece = wait_for(SystemClock(), API_SECONDS, partial(self._get, pod, port, f"{name}@{offset}"))
            if not piece:
                break
            offset += len(piece)
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line.decode("utf-8", "replace")

    def starts(self, node: str) -> dict[str, list[float]]:
        """When the kubelet of a control plane node and its static pods were started, by the node's clock: see :func:`api_absence.marks`."""
        # The events of a Node are in the default namespace. kube-proxy tells of its start by the same reason.
        events = self.list_events("default", f"involvedObject.kind=Node,involvedObject.name={node},reason=Starting,source=kubelet")
        return api_absence.marks(self.list_pods(node=node, namespace="kube-system", selector="tier=control-plane"), events)

    def ends_of_dns(self, offsets: Mapping[str, float]) -> list[Interval]:
        """When replicas of cluster DNS were ended, by the clock of this machine: see :func:`dns_ends.windows`."""
        replica_sets = self.list_replica_sets("kube-system", dns_ends.SELECTOR)
        return dns_ends.windows(self.list_events("kube-system", dns_ends.EVENTS), replica_sets, offsets)

    def _get(self, pod: str, port: int, path: str) -> bytes:
        return self._request(f"read {path} of pod", cluster.PODS, self._namespace, f"{pod}:{port}", "proxy", path)
