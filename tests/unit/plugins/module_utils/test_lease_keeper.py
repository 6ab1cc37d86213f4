# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Lease on an API server that is played, through the real client: taken, renewed, given back, and raced for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_cluster import FakeClock
from fake_lease_server import LeaseServer

from ansible_collections.netops.cni_migration.plugins.module_utils import cluster
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_lease import LeaseCluster
from ansible_collections.netops.cni_migration.plugins.module_utils.lease import Run, micro_stamp
from ansible_collections.netops.cni_migration.plugins.module_utils.lease_keeper import Keeper, Refused, Wish
from ansible_collections.netops.cni_migration.plugins.module_utils.processes import Processes
from ansible_collections.netops.cni_migration.plugins.module_utils.waiting import SystemClock, TimedOut
from ansible_collections.netops.cni_migration.plugins.modules import cni_migration_lease

pytest.importorskip("kubernetes")

ME = Run("ann@bastion", "6d0a5ac5.4026531836", 4242, "118734")
NEIGHBOUR = Run("bob@bastion", ME.machine, 77, "5000")
ELSEWHERE = Run("bob@laptop", "0badc0de.4026531836", 4242, "118734")
T0, LATER = "2023-11-14T22:13:20Z", "2023-11-14T22:58:20Z"  # the fake clock's beginning, and 2,700 s after


class Living(Processes):
    """Processes of which only those of ``living`` live."""

    def __init__(self, *living: int) -> None:
        super().__init__()
        self.living = living

    def alive(self, holder: Run) -> bool:
        return holder.pid in self.living


class Bench:
    """A server, and keepers that work on it."""

    def __init__(self, server: LeaseServer, kubeconfig: str) -> None:
        self.server, self.kubeconfig, self.clock = server, kubeconfig, FakeClock()

    def keeper(self, me: Run = ME, *, living: tuple[int, ...] = (), renew: bool = False, take_over: str = "", check_mode: bool = False) -> Keeper:
        wish = Wish(duration=2700, renew=renew, take_over=take_over, timeout=120, check_mode=check_mode)
        return Keeper(LeaseCluster(self.kubeconfig), self.clock, Living(*living), me, wish)

    @property
    def lease(self) -> dict[str, Any]:
        assert self.server.lease
        spec: dict[str, Any] = self.server.lease["spec"]
        return spec


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """No Lease yet."""
    server = LeaseServer()
    with server.running(tmp_path) as kubeconfig:
        yield Bench(server, kubeconfig)


def of(holder: Run | str, clock: FakeClock) -> dict[str, Any]:
    now = micro_stamp(clock.wall())
    return {"holderIdentity": str(holder), "leaseDurationSeconds": 2700, "acquireTime": now, "renewTime": now, "leaseTransitions": 0}


def once(server: LeaseServer, method: str, action: Callable[[], None]) -> None:
    """Have somebody else be faster than the first request of this method."""

    def before(asked: str) -> None:
        if asked == method:
            server.before = lambda _method: None
            action()

    server.before = before


def test_it_is_taken_renewed_and_given_back_without_a_trace(bench: Bench) -> None:
    taken = bench.keeper().hold()
    assert taken == {
        "changed": True,
        "holder": str(ME),
        "since": T0,
        "until": LATER,
        "refused": "",
        "diff": {"before": {"holder": ""}, "after": {"holder": str(ME)}},
    }
    assert [name for name in taken if name not in ("changed", "diff")] == list(yaml.safe_load(cni_migration_lease.RETURN))
    bench.clock.sleep(60)
    renewed = bench.keeper(renew=True).hold()
    assert (renewed["changed"], renewed["since"], renewed["until"]) == (False, T0, "2023-11-14T22:59:20Z")
    assert bench.lease["acquireTime"].replace("+00:00", "Z") == "2023-11-14T22:13:20.000001Z"
    assert bench.lease["renewTime"] == "2023-11-14T22:14:20.000001Z"
    given_back = bench.keeper().release()
    assert (given_back["changed"], given_back["holder"], given_back["until"]) == (True, "", "")
    assert bench.server.lease is None and bench.server.writes == ["POST", "PATCH", "DELETE"]
    assert not bench.keeper().release()["changed"]


def test_a_killed_run_of_this_machine_is_followed_at_once(bench: Bench) -> None:
    bench.server.write(of(NEIGHBOUR, bench.clock))
    taken = bench.keeper().hold()
    assert taken["changed"] and taken["diff"]["before"] == {"holder": str(NEIGHBOUR)}
    assert (bench.lease["holderIdentity"], bench.lease["leaseTransitions"]) == (str(ME), 1)


@pytest.mark.parametrize(("holder", "living"), [(NEIGHBOUR, (77,)), (ELSEWHERE, ()), ("somebody", ())])
def test_another_run_is_respected_and_named(holder: Run | str, living: tuple[int, ...], bench: Bench) -> None:
    bench.server.write(of(holder, bench.clock))
    before = bench.server.lease
    with pytest.raises(Refused, match=r"^Another run is changing this cluster: .* Nothing was changed") as refused:
        bench.keeper(living=living).hold()
    facts = refused.value.facts
    assert (facts["changed"], facts["holder"], facts["since"], facts["until"]) == (False, str(holder), T0, LATER)
    assert str(refused.value) == facts["refused"]
    assert not bench.keeper(living=living).release()["changed"]
    assert bench.server.lease is before and bench.server.writes == []


def test_in_check_mode_the_same_is_told_and_nothing_written(bench: Bench) -> None:
    assert bench.keeper(check_mode=True).hold() == bench.keeper().hold()
    assert bench.server.writes == ["POST"]
    bench.server.write(of(ELSEWHERE, bench.clock))
    told = bench.keeper(check_mode=True).hold()
    assert (told["changed"], told["holder"]) == (False, str(ELSEWHERE)) and told["refused"].startswith("Another run is changing this cluster: bob@laptop")
    bench.server.write(of(ME, bench.clock))
    assert bench.keeper(check_mode=True).release()["changed"]
    assert bench.server.writes == ["POST"] and bench.lease["holderIdentity"] == str(ME)


def test_a_lease_elsewhere_is_free_when_it_has_run_out(bench: Bench) -> None:
    bench.server.write(of(ELSEWHERE, bench.clock))
    bench.clock.sleep(2701)
    assert bench.keeper().hold()["holder"] == str(ME)


def test_who_was_taken_over_from_stops_and_does_not_take_it_back(bench: Bench) -> None:
    bench.keeper().hold()
    assert bench.keeper(ELSEWHERE, take_over=str(ME)).hold()["changed"]
    with pytest.raises(Refused, match=r"^This run has lost the Lease .* bob@laptop, process 4242, holds it since"):
        bench.keeper(renew=True, take_over=str(ME)).hold()
    bench.keeper(ELSEWHERE).release()
    with pytest.raises(Refused, match=r"^This run has lost the Lease .* Nobody holds it now"):
        bench.keeper(renew=True).hold()
    assert bench.server.lease is None


@pytest.mark.parametrize("blinks", [1, 5])
def test_an_api_server_that_blinks_is_waited_for(blinks: int, bench: Bench) -> None:
    for act in (bench.keeper().hold, bench.keeper(renew=True).hold, bench.keeper().release):
        bench.server.away = blinks
        assert act()["holder"] in (str(ME), "")
    assert bench.server.writes == ["POST", "PATCH", "DELETE"]


def test_one_that_stays_away_is_an_error(bench: Bench) -> None:
    bench.server.away = 1000
    with pytest.raises(TimedOut, match=r"the API server does not answer: get lease kube-system/cni-migration: 503 .*\(waited 120 s\)"):
        bench.keeper().hold()


def test_a_write_whose_answer_was_lost_is_no_conflict_with_oneself(bench: Bench) -> None:
    """The API server carries out the request, and its answer does not arrive."""
    once(bench.server, "POST", lambda: bench.server.write(of(ME, bench.clock)))
    assert bench.keeper().hold()["holder"] == str(ME)
    once(bench.server, "DELETE", lambda: bench.server.write(None))
    assert bench.keeper().release()["holder"] == ""


def test_who_is_a_moment_late_is_refused(bench: Bench) -> None:
    once(bench.server, "POST", lambda: bench.server.write(of(ELSEWHERE, bench.clock)))
    with pytest.raises(Refused, match="bob@laptop"):
        bench.keeper().hold()
    bench.server.write(of(NEIGHBOUR, bench.clock))
    once(bench.server, "PATCH", lambda: bench.server.write(of(ELSEWHERE, bench.clock)))
    with pytest.raises(Refused, match="bob@laptop"):
        bench.keeper().hold()
    assert bench.lease["holderIdentity"] == str(ELSEWHERE) and bench.server.writes == []


def test_what_is_given_back_at_that_moment_is_taken_on_the_second_look(bench: Bench) -> None:
    bench.server.write(of(NEIGHBOUR, bench.clock))
    once(bench.server, "PATCH", lambda: bench.server.write(None))
    assert bench.keeper().hold()["holder"] == str(ME)
    assert bench.server.writes == ["POST"]


def test_what_was_taken_over_before_it_is_given_back_stays(bench: Bench) -> None:
    bench.keeper().hold()
    once(bench.server, "DELETE", lambda: bench.server.write(of(ELSEWHERE, bench.clock)))
    assert bench.keeper().release()["holder"] == str(ELSEWHERE)
    assert bench.lease["holderIdentity"] == str(ELSEWHERE)


def test_an_account_without_the_right_is_told_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    message = 'leases.coordination.k8s.io "cni-migration" is forbidden'
    monkeypatch.setattr(bench.server, "carry_out", lambda *_request: (403, {"message": message, "reason": "Forbidden"}))
    with pytest.raises(cluster.ApiDenied, match=message):
        bench.keeper().hold()


@pytest.mark.parametrize("left", [None, NEIGHBOUR, "run out"])
def test_of_many_that_race_exactly_one_wins(left: Run | str | None, bench: Bench) -> None:
    """For a Lease that is not there, is a dead run's, or has run out: all have read it before the first one writes."""
    if left is not None:
        bench.server.write({**of(NEIGHBOUR if left == "run out" else left, bench.clock), **({"leaseDurationSeconds": 0} if left == "run out" else {})})
    racers = [Run(f"racer{number}@bastion", ME.machine, 1000 + number, "1") for number in range(6)]
    lined_up = threading.Barrier(len(racers))
    seen = threading.local()

    def before(method: str) -> None:
        if method != "GET" and not getattr(seen, "raced", False):
            seen.raced = True
            lined_up.wait(timeout=10)

    bench.server.before = before
    ended: dict[int, str] = {}

    def race(me: Run) -> None:
        clock = FakeClock()
        wish = Wish(duration=2700, renew=False, take_over="", timeout=120, check_mode=False)
        keeper = Keeper(LeaseCluster(bench.kubeconfig), clock, Living(*(racer.pid for racer in racers)), me, wish)
        try:
            ended[me.pid] = keeper.hold()["holder"]
        except Refused as refused:
            ended[me.pid] = refused.facts["holder"]

    threads = [threading.Thread(target=race, args=(racer,)) for racer in racers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    winner = bench.lease["holderIdentity"]
    assert set(ended) == {racer.pid for racer in racers}
    assert set(ended.values()) == {winner}, "every loser is told who won"
    assert bench.server.writes in (["POST"], ["PATCH"])


PROCESS = """
import json, os, sys
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_lease import LeaseCluster
from ansible_collections.netops.cni_migration.plugins.module_utils.lease_keeper import Keeper, Refused, Wish
from ansible_collections.netops.cni_migration.plugins.module_utils.processes import Processes
from ansible_collections.netops.cni_migration.plugins.module_utils.waiting import SystemClock
here = Processes()
wish = Wish(duration=2700, renew=False, take_over="", timeout=10, check_mode=False)
keeper = Keeper(LeaseCluster(sys.argv[1]), SystemClock(), here, here.run(os.getpid()), wish)
print("ready", flush=True)
sys.stdin.readline()
try:
    print(json.dumps({"won": True, "holder": keeper.hold()["holder"]}), flush=True)
except Refused as refused:
    print(json.dumps({"won": False, "holder": refused.facts["holder"]}), flush=True)
sys.stdin.readline()
"""


def test_of_two_processes_exactly_one_wins_and_its_death_frees_the_lease(bench: Bench) -> None:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    command = (sys.executable, "-c", PROCESS, bench.kubeconfig)
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": {**os.environ, "PYTHONPATH": path}}
    racers = [subprocess.Popen(command, **pipes) for _racer in range(2)]
    try:
        assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * 2  # type: ignore[union-attr]
        for racer in racers:
            racer.stdin.write("\n")  # type: ignore[union-attr]
            racer.stdin.flush()  # type: ignore[union-attr]
        told = [json.loads(racer.stdout.readline()) for racer in racers]  # type: ignore[union-attr]
        assert sorted(each["won"] for each in told) == [False, True]
        assert {each["holder"] for each in told} == {bench.lease["holderIdentity"]}
        here = Processes()
        me = Keeper(LeaseCluster(bench.kubeconfig), SystemClock(), here, here.run(os.getpid()), Wish(2700, False, "", 10, False))
        with pytest.raises(Refused, match="as long as that process lives"):
            me.hold()
        winner = racers[0 if told[0]["won"] else 1]
        winner.kill()
        winner.wait()
        assert me.hold()["holder"] == str(here.run(os.getpid()))
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()
