# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Letting go of pods that end, so that no datagram is sent to them any more: see :mod:`withdrawal`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import move_times, withdrawal
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster import Cluster, Conflict, NotFound
from ansible_collections.netops.cni_migration.plugins.module_utils.waiting import Clock

REASON, MESSAGE = "PodLeaves", "The pod is being ended, and other pods serve"

LINGER_SECONDS = 0.5
"""How long a pod that ends is left to answer what it was asked before. Nobody sends it anything new, and Cilium ends the sockets
that are connected to a pod as soon as that is not ready, whether they wait for an answer or not. It is counted from the first look
that finds the pod ending: the API server's clock may be another."""


class Dismissal:
    """What is known of the pods that end, over one wait for their end."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._ending_since: dict[str, float] = {}

    def look(self, pods: Iterable[Mapping[str, Any]]) -> None:
        """Mark those of ``pods`` as not ready that have terminated for a while and still get datagrams. To be repeated while pods terminate.

        Costs nothing where no such pod declares a UDP port, else a list of the EndpointSlices. Raises ClusterError.
        """
        now = self._clock.monotonic()
        ending = [pod for pod in withdrawal.ending_datagram_servers(pods) if now - self._ending_since.setdefault(pod["metadata"]["uid"], now) >= LINGER_SECONDS]
        names = withdrawal.dismissible_pods(ending, self._cluster.list_endpoint_slices()) if ending else []
        for namespace, name in names:
            with contextlib.suppress(NotFound, Conflict):  # it is gone by itself
                self._cluster.patch_pod_status(namespace, name, withdrawal.withdrawal_patch(move_times.stamp(self._clock.wall()), REASON, MESSAGE))
