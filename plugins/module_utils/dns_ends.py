# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When replicas of cluster DNS were ended, as the kubelets' events tell. Pure.

A kept socket to DNS leads to one replica. Behind kube-proxy it is told nothing when that ends: a query that is under way when the record
of the socket is removed gets no answer, and the next one goes to another replica.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils.api_absence import moments
from ansible_collections.netops.cni_migration.plugins.module_utils.probe_log import Interval

SELECTOR = "k8s-app=kube-dns"
EVENTS = "involvedObject.kind=Pod,reason=Killing,source=kubelet"
BEFORE_SECONDS, AFTER_SECONDS = 1.0, 10.0
"""An event is told to a whole second. After it, kubeadm's CoreDNS answers for 5 s more, and kube-proxy needs a moment before and after its end."""


def windows(events: Iterable[Mapping[str, Any]], replica_sets: Iterable[Mapping[str, Any]], offsets: Mapping[str, float]) -> list[Interval]:
    """The time round each end of a pod of one of DNS's ``replica_sets``; ``offsets`` is how far the clock of each node is ahead."""
    names = {each["metadata"]["name"] for each in replica_sets}
    found = []
    for event in events:
        if event["involvedObject"].get("name", "").rpartition("-")[0] in names:
            offset = offsets.get((event.get("source") or {}).get("host", ""), 0.0)
            moment = max(moments(event, "eventTime", "firstTimestamp", "lastTimestamp"), default=None)
            if moment is not None:
                found.append(Interval(moment - offset - BEFORE_SECONDS, moment - offset + AFTER_SECONDS))
    return sorted(found)
