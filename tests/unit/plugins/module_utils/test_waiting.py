# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting: what is waited out, what is raised, and when."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fake_cluster import FakeClock

from ansible_collections.netops.cni_migration.plugins.module_utils.cluster import ApiDenied, ApiUnavailable, ClusterError
from ansible_collections.netops.cni_migration.plugins.module_utils.waiting import DENIAL_GRACE_SECONDS, Hopeless, NotYet, TimedOut, wait_for


def failing(*errors: Exception) -> Callable[[], str]:
    """Raises each error in turn, then returns."""
    left = list(errors)

    def look() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return look


def always(error: Exception) -> Callable[[], str]:
    def look() -> str:
        raise error

    return look


def test_what_passes_is_waited_out() -> None:
    clock = FakeClock()
    assert wait_for(clock, 60, failing(NotYet("a"), ApiUnavailable("b"), ApiDenied("c"), NotYet("d"))) == "done"
    assert clock.now == 0.5 + 1 + 1 + 0.5, "an API server that is away is asked less often"


def test_the_deadline_names_what_was_missing_last() -> None:
    with pytest.raises(TimedOut, match=r"^the pod is Pending \(waited 3 s\)$"):
        wait_for(FakeClock(), 3, always(NotYet("the pod is Pending")))


def test_without_time_there_is_one_look() -> None:
    assert wait_for(FakeClock(), 0, failing()) == "done"
    with pytest.raises(TimedOut):
        wait_for(FakeClock(), 0, failing(NotYet("a")))


def test_a_refusal_that_lasts_is_raised_long_before_the_deadline() -> None:
    clock = FakeClock()
    with pytest.raises(ApiDenied):
        wait_for(clock, 600, always(ApiDenied("forbidden")))
    assert DENIAL_GRACE_SECONDS <= clock.now < DENIAL_GRACE_SECONDS + 2


def test_other_errors_are_not_waited_for() -> None:
    clock = FakeClock()
    with pytest.raises(ClusterError, match="invalid"):
        wait_for(clock, 600, always(ClusterError("invalid")))
    assert clock.now == 0


def test_what_is_hopeless_is_not_waited_for() -> None:
    clock = FakeClock()
    with pytest.raises(Hopeless, match=r"^it ends each time$"):
        wait_for(clock, 600, always(Hopeless("it ends each time")))
    assert clock.now == 0
