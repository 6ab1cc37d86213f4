# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evicting what has to leave a node, until it is really gone."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.netops.cni_migration.plugins.module_utils import eviction
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster import Cluster, ClusterError, Conflict, EvictionBlocked, NotFound
from ansible_collections.netops.cni_migration.plugins.module_utils.dismissal import Dismissal
from ansible_collections.netops.cni_migration.plugins.module_utils.waiting import Clock, NotYet, TimedOut, wait_for

RETRY_SECONDS = 2.0
"""Between two tries to evict the same pod: the disruption controller needs a moment to count a new healthy pod."""


class Refused(Exception):
    """Pods are in the way whose loss was not accepted; the message names each and the option that accepts it."""


class Drain:
    """One drain of one node.

    ``evicted`` (``namespace/name``, in order) and ``unmanaged`` (those of them that nothing will create again) grow while
    it runs; ``blocked_by`` is filled when it gives up. ``seconds`` is what it took until nobody was left, None while
    somebody is. Pods that :func:`eviction.ignores_cordon` are evicted once, not each time they come back; with
    ``keep_tolerant`` they stay from the start.
    """

    def __init__(self, cluster: Cluster, clock: Clock, node: str, policy: eviction.EvictionPolicy, *, keep_tolerant: bool) -> None:
        self.evicted: list[str] = []
        self.unmanaged: list[str] = []
        self.blocked_by: list[dict[str, Any]] = []
        self.seconds: float | None = None
        self._cluster = cluster
        self._clock = clock
        self._began = clock.monotonic()
        self._node = node
        self._policy = policy
        self._keep_tolerant = keep_tolerant
        self._seen: set[str] | None = None
        self._accepted: set[str] = set()
        self._refusals: dict[str, tuple[eviction.Pod, str]] = {}
        self._next_try: dict[str, float] = {}
        self._unasked: set[str] = set()
        self._dismissal = Dismissal(cluster, clock)

    def run(self, seconds: float) -> None:
        """Evict, and wait until all are gone. Raises :class:`Refused` at once, :class:`TimedOut` when pods are left after ``seconds``."""

        def gone() -> None:
            left = self.look()
            if left:
                raise NotYet(left)

        self._wait(seconds, gone)

    def ask(self, seconds: float) -> None:
        """Evict, and wait until nobody is left whose eviction was not accepted: the others go by themselves. Raises as :meth:`run` does."""

        def asked() -> None:
            left = self.look()
            if self._unasked:
                raise NotYet(left)

        self._wait(seconds, asked)

    def _wait(self, seconds: float, look: Callable[[], None]) -> None:
        try:
            wait_for(self._clock, seconds, look)
        except TimedOut:
            self.blocked_by = self._blocks()
            raise

    def look(self) -> str:
        """Look once, evict who was not evicted yet, let go of who ends, and say who is left; empty when nobody is. Raises :class:`Refused`."""
        pods = self._cluster.list_pods(node=self._node)
        sorting = eviction.sort_pods(self._without_returned(pods), self._policy, keep_tolerant=self._keep_tolerant)
        if sorting.refused:
            raise Refused(eviction.refusal_text(sorting.refused))
        present = {pod["metadata"]["uid"] for pod in sorting.leaving}
        self._refusals = {uid: refusal for uid, refusal in self._refusals.items() if uid in present}
        for pod in sorting.leaving:
            self._evict(pod, is_unmanaged=pod in sorting.unmanaged)
        self._dismissal.look(sorting.leaving)
        ending = {pod["metadata"]["uid"] for pod in sorting.leaving if eviction.is_terminating(pod)}
        self._unasked = present - ending - self._accepted
        if sorting.leaving:
            self.seconds = None
        elif self.seconds is None:
            self.seconds = round(self._clock.monotonic() - self._began, 2)
        return self._what_is_left(sorting.leaving)

    def _without_returned(self, pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The pods without newcomers that the scheduler puts on cordoned nodes by design."""
        if self._seen is None:
            self._seen = {pod["metadata"]["uid"] for pod in pods}
        return [pod for pod in pods if pod["metadata"]["uid"] in self._seen or not eviction.ignores_cordon(pod)]

    def _evict(self, pod: eviction.Pod, *, is_unmanaged: bool) -> None:
        uid, namespace, name = pod["metadata"]["uid"], pod["metadata"]["namespace"], pod["metadata"]["name"]
        if uid in self._accepted or eviction.is_terminating(pod) or self._clock.monotonic() < self._next_try.get(uid, 0.0):
            return
        try:
            self._cluster.evict_pod(namespace, name, uid)
        except EvictionBlocked as exc:
            self._refusals[uid] = (pod, str(exc))
            self._next_try[uid] = self._clock.monotonic() + RETRY_SECONDS
            return
        except (NotFound, Conflict):
            return  # gone, or replaced by a namesake: the next list tells
        self._accepted.add(uid)
        self._refusals.pop(uid, None)
        self.evicted.append(eviction.pod_name(pod))
        if is_unmanaged:
            self.unmanaged.append(eviction.pod_name(pod))

    def _what_is_left(self, leaving: tuple[eviction.Pod, ...]) -> str:
        held = [f"{eviction.pod_name(pod)}: {message}" for pod, message in self._refusals.values()]
        ending = eviction.pod_names(pod for pod in leaving if pod["metadata"]["uid"] not in self._refusals)
        parts = [f"evictions refused ({'; '.join(held)})"] if held else []
        if ending:
            parts.append(f"pods still terminating: {', '.join(ending)}")
        return "; ".join(parts)

    def _blocks(self) -> list[dict[str, Any]]:
        try:
            budgets = self._cluster.list_budgets() if self._refusals else []
        except ClusterError:
            budgets = []  # their names are a service to the reader; the API's own words are in the message already
        return [eviction.block(pod, eviction.budgets_of(pod, budgets), message) for pod, message in self._refusals.values()]
