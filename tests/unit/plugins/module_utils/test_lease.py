# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gets the Lease, and what the others are told."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils.lease import (
    UNKNOWN,
    Run,
    Tenure,
    Verdict,
    decide,
    micro_stamp,
    spec,
)

NOW = 1_768_642_212.0  # 2026-01-17T09:30:12Z
ME = Run("ann@bastion", "6d0a5ac5.4026531836", 4242, "118734")
ELSEWHERE = Run("bob@laptop", "0badc0de.4026531836", 4242, "118734")
NEIGHBOUR = replace(ME, person="bob@bastion", pid=77)


def lease(holder: str, *, taken: float = NOW - 600, renewed: float = NOW - 60, seconds: int = 2700) -> dict[str, Any]:
    """As the API server has one."""
    return {
        "metadata": {"name": "cni-migration", "namespace": "kube-system", "uid": "u", "resourceVersion": "7"},
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": seconds,
            "acquireTime": micro_stamp(taken),
            "renewTime": micro_stamp(renewed),
            "leaseTransitions": 3,
        },
    }


def decided(found: dict[str, Any] | None, *, alive: bool | None = None, renew: bool = False, take_over: str = "", now: float = NOW) -> tuple[Verdict, str]:
    decision = decide(Tenure.of(found), ME, now, alive=alive, renew=renew, take_over=take_over)
    return decision.verdict, decision.refusal


def test_an_identity_is_read_as_it_is_written() -> None:
    assert str(ME) == "ann@bastion/6d0a5ac5.4026531836/4242/118734"
    assert Run.parse(str(ME)) == ME
    assert Run.parse("ann@mac/-/4242/-") == Run("ann@mac", UNKNOWN, 4242, UNKNOWN)


@pytest.mark.parametrize("identity", ["", "ann", "ann@bastion/x/0/1", "ann@bastion/x/-1/1", "ann@bastion/x/9999999999/1", "a/b/c/1/2", "a//1/2", "a/b/1/x"])
def test_what_is_no_run_is_none(identity: str) -> None:
    assert Run.parse(identity) is None


@pytest.mark.parametrize("free", [None, {"metadata": {}}, {"spec": {}}, {"spec": {"holderIdentity": ""}}, {"spec": {"holderIdentity": None}}])
def test_what_nobody_holds_is_taken(free: dict[str, Any] | None) -> None:
    assert decided(free) == (Verdict.TAKE, "")


def test_the_same_run_renews_also_what_has_run_out() -> None:
    for now in (NOW, NOW + 100_000):
        for renew in (False, True):
            assert decided(lease(str(ME)), renew=renew, now=now) == (Verdict.RENEW, "")


def test_the_same_run_is_known_again_after_its_host_got_another_name() -> None:
    assert decided(lease(str(replace(ME, person="ann@dhcp-17"))))[0] is Verdict.RENEW


@pytest.mark.parametrize("other", [replace(ME, pid=4243), replace(ME, started="118735"), replace(ME, machine="6d0a5ac5.4026531999")])
def test_another_process_start_or_namespace_is_another_run(other: Run) -> None:
    assert decided(lease(str(other)))[0] is Verdict.REFUSE


def test_where_nothing_tells_the_machine_the_name_counts() -> None:
    mac = Run("ann@mac", UNKNOWN, 4242, UNKNOWN)
    assert mac.same(mac) and not mac.near(mac)
    assert not mac.same(replace(mac, person="ann@dhcp-17")) and not mac.same(replace(mac, pid=1))


def test_a_run_of_this_machine_holds_it_for_as_long_as_it_lives() -> None:
    for now in (NOW, NOW + 100_000):
        assert decided(lease(str(NEIGHBOUR)), alive=False, now=now) == (Verdict.TAKE, "")
        verdict, text = decided(lease(str(NEIGHBOUR)), alive=True, now=now)
        assert verdict is Verdict.REFUSE
        assert text == (
            "Another run is changing this cluster: bob@bastion, process 77, holds the Lease kube-system/cni-migration since 2026-01-17T09:20:12Z, as long as "
            "that process lives, on this machine. Nothing was changed. Wait until it has ended, then run again. If you know that it must not go on, take over "
            "by --extra-vars cilium_migration_take_over=bob@bastion/6d0a5ac5.4026531836/77/118734"
        )


def test_a_run_elsewhere_holds_it_until_it_has_run_out() -> None:
    until = NOW - 60 + 2700
    verdict, text = decided(lease(str(ELSEWHERE)), now=until - 1)
    assert verdict is Verdict.REFUSE
    assert text == (
        "Another run is changing this cluster: bob@laptop, process 4242, holds the Lease kube-system/cni-migration since 2026-01-17T09:20:12Z, until "
        "2026-01-17T10:14:12Z unless it renews it. Nothing was changed. Wait until it has ended or the Lease has run out, then run again. If you know that it "
        "must not go on, take over by --extra-vars cilium_migration_take_over=bob@laptop/0badc0de.4026531836/4242/118734"
    )
    assert decided(lease(str(ELSEWHERE)), now=until + 1) == (Verdict.TAKE, "")


def test_a_holder_of_another_make_is_named_as_it_calls_itself() -> None:
    found = lease("a person with kubectl")
    del found["spec"]["acquireTime"]
    _verdict, text = decided(found)
    assert "a person with kubectl holds the Lease kube-system/cni-migration, until" in text


@pytest.mark.parametrize("missing", ["renewTime", "leaseDurationSeconds"])
def test_what_does_not_say_for_how_long_has_run_out(missing: str) -> None:
    found = lease(str(ELSEWHERE))
    found["spec"][missing] = None
    assert decided(found) == (Verdict.TAKE, "")


def test_only_the_holder_that_is_named_is_taken_over_from() -> None:
    for alive in (None, True):
        assert decided(lease(str(ELSEWHERE)), alive=alive, take_over=str(ELSEWHERE)) == (Verdict.TAKE, "")
        assert decided(lease(str(NEIGHBOUR)), alive=alive, take_over=str(ELSEWHERE))[0] is Verdict.REFUSE
        assert decided(lease(str(ELSEWHERE)), alive=alive, take_over="true")[0] is Verdict.REFUSE


def test_a_lost_lease_is_not_taken_back() -> None:
    lost = r"^This run has lost the Lease kube-system/cni-migration and stops here\. "
    for alive, take_over in ((None, ""), (True, ""), (False, ""), (None, str(ELSEWHERE))):
        verdict, text = decided(lease(str(ELSEWHERE)), alive=alive, renew=True, take_over=take_over)
        assert verdict is Verdict.REFUSE
        assert re.search(lost + "bob@laptop, process 4242, holds it since 2026-01-17T09:20:12Z, until 2026-01-17T10:14:12Z unless it renews it", text)
        assert text.endswith("When that run has ended, run again; it goes on from what the cluster shows.")
    verdict, text = decided(None, renew=True)
    assert verdict is Verdict.REFUSE
    assert re.search(lost + "Nobody holds it now: .*Run again; it goes on from what the cluster shows.$", text)


def test_a_new_lease_counts_no_transition() -> None:
    assert spec(None, ME, NOW + 0.25, 2700) == {
        "holderIdentity": str(ME),
        "leaseDurationSeconds": 2700,
        "acquireTime": "2026-01-17T09:30:12.250000Z",
        "renewTime": "2026-01-17T09:30:12.250000Z",
        "leaseTransitions": 0,
    }


def test_one_that_changes_hands_begins_anew() -> None:
    wanted = spec(lease(str(ELSEWHERE)), ME, NOW, 60)
    assert (wanted["acquireTime"], wanted["leaseTransitions"]) == (micro_stamp(NOW), 4)
    assert spec({"spec": {"leaseTransitions": None}}, ME, NOW, 60)["leaseTransitions"] == 1


def test_a_renewal_leaves_the_beginning_alone() -> None:
    assert spec(lease(str(ME)), ME, NOW, 60) == {"holderIdentity": str(ME), "leaseDurationSeconds": 60, "renewTime": micro_stamp(NOW)}


def test_a_moment_always_has_a_fraction_of_six_digits() -> None:
    assert micro_stamp(NOW) == "2026-01-17T09:30:12.000001Z"
    assert micro_stamp(NOW + 0.5) == "2026-01-17T09:30:12.500000Z"
