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


def dismiss(cluster: Cluster, clock: Clock, pods: Iterable[Mapping[str, Any]]) -> None:
    """Mark those of ``pods`` as not ready that terminate and still get datagrams. To be repeated while pods terminate.

    Costs nothing where no such pod declares a UDP port, else a list of the EndpointSlices. Raises ClusterError.
    """
    ending = withdrawal.ending_datagram_servers(pods)
    names = withdrawal.dismissible_pods(ending, cluster.list_endpoint_slices()) if ending else []
    for namespace, name in names:
        with contextlib.suppress(NotFound, Conflict):  # it is gone by itself
            cluster.patch_pod_status(namespace, name, withdrawal.withdrawal_patch(move_times.stamp(clock.wall()), REASON, MESSAGE))
