# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When waiting for a pod is pointless: its container ends whenever it is started, or its image cannot be had. Pure.

Both can pass by themselves, so a pod is given up only after its kubelet has tried for a while; its deadline would come minutes later, and
would not tell the cause.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

CRASHES = 4
"""Restarts after which a container that is down again is given up: its kubelet has waited 10, 20 and 40 seconds between them.

The last of them must have been seen: what made it end may have been mended since, and only the next start tells.
"""

PULL_SECONDS = 40.0
"""How long pulling an image may fail: a kubelet tries at once, after 10 seconds, and after 20 more."""

MESSAGE_LENGTH = 300

# A Go program that panics, and the last line of one that gives up by its logger; the rest is a stack, or the lines before.
_CAUSE = re.compile(r"^panic: |level=fatal|^fatal error: ", re.MULTILINE)

_CRASHED = "CrashLoopBackOff"
# pkg/kubelet/images/types.go of kubernetes; the back-off is the pause between two tries.
_NOT_PULLED = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "RegistryUnavailable")


class PodWatch:
    """Looks at pods again and again, and remembers how it found them, and since when their images have been failing to come."""

    def __init__(self) -> None:
        self._restarts_before: dict[tuple[str, str], int] = {}
        self._failing_since: dict[tuple[str, str], float] = {}

    def hopeless(self, pods: Iterable[Mapping[str, Any]], now: float) -> str:
        """Why waiting for ``pods`` is pointless at the moment ``now`` (seconds of any clock that never goes back); empty when it is not."""
        return "; ".join(reason for pod in pods for status in _containers(pod) if (reason := self._judge(pod, status, now)))

    def _judge(self, pod: Mapping[str, Any], status: Mapping[str, Any], now: float) -> str:
        waiting = (status.get("state") or {}).get("waiting") or {}
        reason, key = waiting.get("reason"), (pod["metadata"]["uid"], status["name"])
        if reason not in _NOT_PULLED:
            self._failing_since.pop(key, None)
        restarts = status.get("restartCount", 0)
        if restarts > self._restarts_before.setdefault(key, restarts) and reason == _CRASHED and restarts >= CRASHES:
            return f"{_name(pod, status)} was started {restarts + 1} times and ended each time; the last time: {_last_end(status)}"
        if reason in _NOT_PULLED and now - self._failing_since.setdefault(key, now) >= PULL_SECONDS:
            return f"{_name(pod, status)} has no image: {status['image']} cannot be pulled: {reason} {shortened(waiting.get('message', ''))}".rstrip()
        return ""


def _containers(pod: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    status = pod.get("status") or {}
    for kind in ("initContainerStatuses", "containerStatuses"):
        yield from status.get(kind) or []


def _name(pod: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    return f"container {status['name']} of pod {pod['metadata']['name']} on {pod['spec'].get('nodeName', 'no node')}"


def _last_end(status: Mapping[str, Any]) -> str:
    ended = (status.get("lastState") or {}).get("terminated") or {}
    words = [str(ended.get("reason", "no reason known")), f"exit code {ended['exitCode']}" if "exitCode" in ended else ""]
    return ", ".join(filter(None, words)) + (f": {shortened(ended['message'])}" if ended.get("message") else "")


def shortened(text: str) -> str:
    """One line: from the word on by which a program says what it died of; where there is none, of a long text the end."""
    cause = _CAUSE.search(text)
    line = " ".join(text[cause.start() if cause else 0 :].split())
    if len(line) <= MESSAGE_LENGTH:
        return line
    return f"{line[:MESSAGE_LENGTH]}..." if cause else f"...{line[-MESSAGE_LENGTH:]}"


def last_warning(events: Iterable[Mapping[str, Any]], uids: Collection[str]) -> str:
    """The newest of the warnings about pods with these ``uids``: a kubelet tells there, and nowhere else, why it cannot make a pod's sandbox.

    Empty when there is none. ``events`` are v1 Events.
    """
    mine = [event for event in events if event["involvedObject"].get("uid") in uids and event.get("type") == "Warning"]
    newest = max(mine, key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "", default=None)
    return "" if newest is None else f"{newest.get('reason')}: {shortened(newest.get('message') or '')}"
