# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When replicas of DNS were ended, by the kubelets' events."""

from __future__ import annotations

from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import dns_ends

REPLICA_SETS = [{"metadata": {"name": "coredns-674b8bbfcf"}}, {"metadata": {"name": "coredns-5cc88bb47d"}}]


def killing(pod: str, at: str = "1970-01-01T00:01:40Z", host: str = "w1", **more: Any) -> dict[str, Any]:
    return {"involvedObject": {"kind": "Pod", "name": pod}, "source": {"host": host}, "eventTime": None, "firstTimestamp": at, "lastTimestamp": at, **more}


def test_a_window_for_each_end_of_a_replica() -> None:
    events = [killing("coredns-5cc88bb47d-abcde", "1970-01-01T00:03:20Z"), killing("coredns-674b8bbfcf-x7k2p")]
    assert dns_ends.windows(events, REPLICA_SETS, {}) == [(99.0, 110.0), (199.0, 210.0)]


def test_other_pods_are_not_dns() -> None:
    events = [killing("web-674b8bbfcf-x7k2p"), killing("coredns-674b8bbfcf-autoscaler-x"), killing("coredns")]
    assert dns_ends.windows(events, REPLICA_SETS, {}) == []


def test_the_clock_of_the_kubelet_may_be_ahead() -> None:
    assert dns_ends.windows([killing("coredns-674b8bbfcf-x")], REPLICA_SETS, {"w1": 60.0}) == [(39.0, 50.0)]


def test_an_event_without_a_time_tells_nothing() -> None:
    assert dns_ends.windows([killing("coredns-674b8bbfcf-x", firstTimestamp=None, lastTimestamp=None)], REPLICA_SETS, {}) == []
