# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose time it was while the API server did not answer."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils import api_absence

START, END = 1_768_642_000.5, 1_768_642_028.6


def shares(**marks: list[float]) -> dict[str, float]:
    """The shares of a silence of 28.1 s with marks so many seconds after its start."""
    found = api_absence.shares(START, END, END, {what: [START + second for second in seconds] for what, seconds in marks.items()})
    assert not found or sum(share["seconds"] for share in found) == pytest.approx(END - START)
    assert all(share["seconds"] >= 0 and set(share) == {"what", "seconds"} for share in found)
    return {share["what"]: share["seconds"] for share in found}


def test_each_share_ends_with_the_start_of_the_next() -> None:
    found = shares(kubelet=[9.0], etcd=[15.0], apiserver=[18.0])
    assert list(found.items()) == [("machine", 9.0), ("kubelet", 6.0), ("etcd", 3.0), ("apiserver", 10.1)]


def test_pods_that_are_answered_later_have_the_rest() -> None:
    found = api_absence.shares(START, END - 5, END, {"etcd": [START + 15], "apiserver": [START + 18, END - 1], "kubelet": [START + 9]})
    assert [(share["what"], share["seconds"]) for share in found[2:]] == [("etcd", 3.0), ("apiserver", 5.1), ("pods", 5.0)]


def test_starts_in_the_same_second_leave_nothing_between_them() -> None:
    assert shares(kubelet=[9.0], etcd=[15.0], apiserver=[15.0]) == {"machine": 9.0, "kubelet": 6.0, "etcd": 0.0, "apiserver": 13.1}


def test_the_last_start_within_the_silence_counts() -> None:
    found = shares(kubelet=[-900.0, 5.0, 9.0, 60.0], etcd=[-890.0, 15.0, 13.0], apiserver=[16.0, 22.0, 90.0])
    assert found == {"machine": 9.0, "kubelet": 6.0, "etcd": 7.0, "apiserver": 6.1}


@pytest.mark.parametrize("marks", [{}, {"kubelet": [], "etcd": []}, {"kubelet": [-0.1], "etcd": [-50.0], "apiserver": [28.2]}])
def test_without_a_start_within_the_silence_there_are_no_shares(marks: dict[str, list[float]]) -> None:
    assert shares(**marks) == {}


@pytest.mark.parametrize(
    ("marks", "found"),
    [
        ({"etcd": [15.0], "apiserver": [18.0]}, {"machine and kubelet": 15.0, "etcd": 3.0, "apiserver": 10.1}),
        ({"kubelet": [9.0], "apiserver": [18.0]}, {"machine": 9.0, "kubelet and etcd": 9.0, "apiserver": 10.1}),
        ({"kubelet": [9.0], "etcd": [15.0]}, {"machine": 9.0, "kubelet": 6.0, "etcd and apiserver": 13.1}),
        ({"kubelet": [9.0]}, {"machine": 9.0, "kubelet and etcd and apiserver": 19.1}),
        ({"apiserver": [18.0]}, {"machine and kubelet and etcd": 18.0, "apiserver": 10.1}),
    ],
)
def test_what_has_no_start_goes_to_the_share_before(marks: dict[str, list[float]], found: dict[str, float]) -> None:
    assert shares(**marks) == found


def test_etcd_that_started_after_the_api_server_has_no_share_of_its_own() -> None:
    assert shares(kubelet=[9.0], etcd=[16.0], apiserver=[15.0]) == {"machine": 9.0, "kubelet": 6.0, "etcd and apiserver": 13.1}


def test_a_kubelet_that_started_after_its_containers_is_not_the_one_that_started_them() -> None:
    assert shares(kubelet=[9.0, 17.0], etcd=[15.0], apiserver=[18.0]) == {"machine": 9.0, "kubelet": 6.0, "etcd": 3.0, "apiserver": 10.1}
    assert shares(kubelet=[17.0], etcd=[15.0], apiserver=[18.0]) == {"machine and kubelet": 15.0, "etcd": 3.0, "apiserver": 10.1}


def pod(component: str, *containers: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"labels": {"component": component, "tier": "control-plane"}}, "status": {"containerStatuses": list(containers)}}


def test_starts_are_those_of_the_containers_and_of_the_kubelet() -> None:
    started = {"running": {"startedAt": "2026-01-17T09:30:12Z"}}
    before = {"terminated": {"startedAt": "2026-01-17T09:20:00Z", "finishedAt": "2026-01-17T09:30:00Z", "exitCode": 255}}
    pods = [
        pod("etcd", {"state": started, "lastState": before}),
        pod("kube-apiserver", {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": before}),
        pod("kube-scheduler", {"state": started, "lastState": {}}),
        {"metadata": {}, "status": {}},
    ]
    events = [
        {"eventTime": None, "firstTimestamp": "2026-01-17T09:30:05Z", "lastTimestamp": "2026-01-17T09:30:07Z"},
        {"eventTime": "2026-01-17T09:30:05.250000Z", "firstTimestamp": None, "lastTimestamp": None},
    ]
    minute = 1768642200.0
    assert api_absence.marks(pods, events) == {
        "kubelet": [minute + 5, minute + 7, minute + 5.25],
        "etcd": [minute + 12, minute - 600],
        "apiserver": [minute - 600],
    }


def test_a_node_that_has_neither_has_no_starts() -> None:
    assert api_absence.marks([], []) == {"kubelet": [], "etcd": [], "apiserver": []}
