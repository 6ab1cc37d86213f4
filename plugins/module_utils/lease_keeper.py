# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes, renews and gives back the Lease for one run, over an injected cluster, clock and view of the processes.

Each write names the version that was read. When somebody else was faster the API server refuses it, and it is read and decided anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils.cluster import ClusterError, Conflict, NotFound
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_lease import LeaseCluster
from ansible_collections.netops.cni_migration.plugins.module_utils.lease import NAME, NAMESPACE, Run, Tenure, Verdict, decide, spec
from ansible_collections.netops.cni_migration.plugins.module_utils.move_times import stamp
from ansible_collections.netops.cni_migration.plugins.module_utils.processes import Processes
from ansible_collections.netops.cni_migration.plugins.module_utils.waiting import Clock, NotYet, wait_for


class Refused(ClusterError):
    """The Lease is another run's; the message says whose, and what to do."""


@dataclass(frozen=True)
class Wish:
    """What is wanted of the Lease; ``duration`` and ``timeout``, which is for an API server that is away, are seconds."""

    duration: int
    renew: bool
    take_over: str
    timeout: float
    check_mode: bool


class Keeper:
    """Keeps the Lease for the run ``me``. Both methods return what the module does, and raise :class:`ClusterError` or TimedOut."""

    def __init__(self, api: LeaseCluster, clock: Clock, processes: Processes, me: Run, wish: Wish) -> None:
        self._api, self._clock, self._processes, self._me, self._wish = api, clock, processes, me, wish

    def hold(self) -> dict[str, Any]:
        """Take or renew the Lease. Raises :class:`Refused`, but tells the refusal in check mode, in which nothing is written."""
        return wait_for(self._clock, self._wish.timeout, self._hold)

    def release(self) -> dict[str, Any]:
        """Delete the Lease if it is this run's."""
        return wait_for(self._clock, self._wish.timeout, self._release)

    def _hold(self) -> dict[str, Any]:
        lease = self._api.get_lease(NAMESPACE, NAME)
        found, now = Tenure.of(lease), self._clock.wall()
        alive = self._processes.alive(found.run) if found.run and found.run.near(self._me) else None
        decision = decide(found, self._me, now, alive=alive, renew=self._wish.renew, take_over=self._wish.take_over)
        if decision.verdict is Verdict.REFUSE:
            told = _result(found, found, decision.refusal)
            if self._wish.check_mode:
                return told
            raise Refused(decision.refusal, **told)
        wanted = spec(lease, self._me, now, self._wish.duration)
        if not self._wish.check_mode:
            with _others_may_write():
                self._write(lease, wanted)
        return _result(found, Tenure.of({"spec": {**((lease or {}).get("spec") or {}), **wanted}}))

    def _write(self, lease: Mapping[str, Any] | None, wanted: dict[str, Any]) -> None:
        if lease is None:
            metadata = {"name": NAME, "namespace": NAMESPACE}
            self._api.create_lease(NAMESPACE, {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": wanted})
        else:
            self._api.patch_lease(NAMESPACE, NAME, {"metadata": {"resourceVersion": lease["metadata"]["resourceVersion"]}, "spec": wanted})

    def _release(self) -> dict[str, Any]:
        lease = self._api.get_lease(NAMESPACE, NAME)
        found = Tenure.of(lease)
        if lease is None or not found.is_of(self._me):
            return _result(found, found)
        if not self._wish.check_mode:
            with _others_may_write():
                self._api.delete_lease(NAMESPACE, NAME, lease["metadata"]["resourceVersion"])
        return _result(found, Tenure())


@contextmanager
def _others_may_write() -> Iterator[None]:
    try:
        yield
    except (Conflict, NotFound) as exc:
        raise NotYet(f"others write the Lease at the same time: {exc}") from exc


def _result(found: Tenure, after: Tenure, refused: str = "") -> dict[str, Any]:
    return {
        "changed": found.identity != after.identity,
        "holder": after.identity,
        "since": "" if after.since is None else stamp(after.since),
        "until": stamp(after.until) if after.identity else "",
        "refused": refused,
        "diff": {"before": {"holder": found.identity}, "after": {"holder": after.identity}},
    }
