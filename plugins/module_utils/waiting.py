# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting on conditions of the cluster, through an API server that may be away for a while."""

from __future__ import annotations

import time
from typing import Callable, Protocol, TypeVar

from ansible_collections.netops.cni_migration.plugins.module_utils.cluster import ApiDenied, ApiUnavailable

POLL_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 2.0
API_SECONDS = 120.0
"""How long an API server may be away, where nothing else is waited for."""

DENIAL_GRACE_SECONDS = 15.0
"""An API server that has just started answers 401 and 403 until it has read its RBAC objects."""

T = TypeVar("T")


class Clock(Protocol):
    """Time, in seconds; tests pass one that does not wait."""

    def monotonic(self) -> float:
        """A time that never goes back."""

    def sleep(self, seconds: float) -> None:
        """Wait."""

    def wall(self) -> float:
        """Seconds since the epoch."""


class SystemClock:
    """The machine's clock."""

    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)
    wall = staticmethod(time.time)


class NotYet(Exception):
    """Raised by a look at the cluster: the condition does not hold yet; the message says what is missing."""


class Hopeless(Exception):
    """Raised by a look at the cluster: the condition will not hold by waiting; the message says why."""


class TimedOut(Exception):
    """A condition did not hold before its deadline; the message says what was missing last."""


def wait_for(clock: Clock, seconds: float, look: Callable[[], T]) -> T:
    """Call ``look`` until it returns, and return that.

    It is called at least once. :class:`NotYet` and an API server that is away are waited out until ``seconds`` have
    passed, then :class:`TimedOut` is raised. A refusal of access is raised when it lasts; every other error at once.
    """
    deadline = clock.monotonic() + seconds
    pause = POLL_SECONDS
    denied_until = None
    while True:
        try:
            return look()
        except NotYet as exc:
            missing = str(exc)
            pause, denied_until = POLL_SECONDS, None
        except ApiUnavailable as exc:
            missing = f"the API server does not answer: {exc}"
            pause, denied_until = min(pause * 2, LONGEST_PAUSE_SECONDS), None
        except ApiDenied as exc:
            missing = str(exc)
            if denied_until is None:
                denied_until = clock.monotonic() + DENIAL_GRACE_SECONDS
            if clock.monotonic() >= denied_until:
                raise
        if clock.monotonic() >= deadline:
            raise TimedOut(f"{missing} (waited {seconds:g} s)")
        clock.sleep(pause)
