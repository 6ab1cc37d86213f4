# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose time it was while the API server did not answer, because its node rebooted: the shares of a silence. Pure.

Moments are seconds since the epoch. The silence is what the disruption monitor measured, the starts within it are what the API
tells of the node afterwards, cut off to whole seconds:

=============  ==============================  ========================================================================
share          lasts until                     which is told by
=============  ==============================  ========================================================================
``machine``    the kubelet started             its event ``Starting`` of the Node, which the API forgets after an hour
``kubelet``    the container of etcd started   the status of the static pod, which knows the last two starts
``etcd``       that of kube-apiserver started  the same
``apiserver``  hosts were answered             the monitor
``pods``       pods were answered, too         the monitor
=============  ==============================  ========================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

Marks = Mapping[str, Iterable[float]]
"""When ``kubelet``, ``etcd`` and ``apiserver`` were started, in any order; one that is not known may be missing."""

_OF_COMPONENT = {"etcd": "etcd", "kube-apiserver": "apiserver"}


def shares(start: float, answered: float, end: float, marks: Marks) -> list[dict[str, Any]]:
    """The shares of a silence in their order, ``{what, seconds}``, which add up to it; none when nothing was started within it.

    ``answered`` is when hosts had an answer again, and ``end`` when pods had.

    Of several starts the last one counts. What has no start of its own is told with the share before, as ``machine and kubelet``.
    """
    etcd, apiserver = (_last(marks.get(what, ()), start, answered) for what in ("etcd", "apiserver"))
    # A kubelet that started after its containers was restarted, and they did not wait for it.
    kubelet = _last(marks.get("kubelet", ()), start, min(mark for mark in (etcd, apiserver, answered) if mark is not None))
    begun: list[tuple[list[str], float]] = [(["machine"], start)]
    for what, mark in (("kubelet", kubelet), ("etcd", etcd), ("apiserver", apiserver)):
        if mark is None:
            begun[-1][0].append(what)
        elif mark < begun[-1][1]:  # the kubelet starts both containers side by side
            begun[-1] = ([*begun[-1][0], what], mark)
        else:
            begun.append(([what], mark))
    if len(begun) == 1:
        return []
    if end > answered:
        begun.append((["pods"], answered))
    ends = [*(mark for _names, mark in begun[1:]), end]
    return [{"what": " and ".join(names), "seconds": round(until - since, 3)} for (names, since), until in zip(begun, ends)]


def _last(moments: Iterable[float], start: float, end: float) -> float | None:
    return max((moment for moment in moments if start <= moment <= end), default=None)


def marks(pods: Iterable[Mapping[str, Any]], events: Iterable[Mapping[str, Any]]) -> dict[str, list[float]]:
    """The starts that the pods of a control plane node and the events of its kubelet's starts tell of, as the API has both."""
    found: dict[str, list[float]] = {"kubelet": [], "etcd": [], "apiserver": []}
    for event in events:
        found["kubelet"] += moments(event, "eventTime", "firstTimestamp", "lastTimestamp")
    for pod in pods:
        what = _OF_COMPONENT.get((pod["metadata"].get("labels") or {}).get("component", ""))
        if what is None:
            continue
        for status in pod["status"].get("containerStatuses") or ():
            for state in (status.get("state"), status.get("lastState")):
                for details in (state or {}).values():
                    found[what] += moments(details, "startedAt")
    return found


def moments(told: Mapping[str, Any], *keys: str) -> list[float]:
    """The times of the API under these keys, in seconds since the epoch; those that are not told are left out."""
    return [datetime.fromisoformat(told[key].replace("Z", "+00:00")).timestamp() for key in keys if told.get(key)]
