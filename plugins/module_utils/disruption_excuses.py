# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a failure, a late answer or a gap is the network's: the windows in which it had no chance to answer. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.netops.cni_migration.plugins.module_utils.disruption_windows import Windows, seconds
from ansible_collections.netops.cni_migration.plugins.module_utils.probe_log import HOLE_SECONDS, Event, Interval, Prober

API_SERVER = "api-server"
DNS = "dns"
SERVER_ENDED = ("refused", "aborted")
"""How a kept UDP socket is told that the replica it goes to has ended: by ICMP, or by Cilium, which then ends the socket itself."""

AWAY_MARGIN = 2.0
"""Seconds by which a window in which a node is away is widened on both sides, and that a new target takes to be found: neighbours ask
every second, and the clocks of two machines differ."""
NEVER = Windows()
FOREVER = float("inf")


@dataclass(frozen=True)
class Scope:
    """What is looked at, and what is known of the cluster in that time.

    ``nodes`` should each have run a prober of each kind from ``since`` until the node's moment in ``until``, which lacks the nodes
    whose logs could not be had. ``away`` are the windows in which a node was being rebooted or its pods were being replaced. ``dns_ended``
    are those round the ends of replicas of cluster DNS.
    """

    run: str
    nodes: Sequence[str]
    since: float
    until: Mapping[str, float]
    away: Mapping[str, Sequence[Sequence[float]]]
    control_plane: Sequence[str]
    cilium_cidr: str
    dns_ended: Sequence[Interval] = ()


class Excuses:
    """Judges events, once every log was read."""

    def __init__(self, scope: Scope, probers: Iterable[Prober]) -> None:
        probers = list(probers)
        self.away = {node: Windows(Interval(float(start), float(end)) for start, end in windows).widened(AWAY_MARGIN) for node, windows in scope.away.items()}
        self._control_plane_away = Windows(window for node in scope.control_plane for window in self.away.get(node, NEVER))
        self._ended = _ended(scope, probers)
        self._dns_ended = Windows(scope.dns_ended)
        self._stalls = {prober.incarnation: Windows(prober.stalls) for prober in probers}
        stalls_of_targets: dict[str, list[Interval]] = defaultdict(list)
        for prober in probers:
            if prober.kind == "target":
                stalls_of_targets[prober.node] += prober.stalls
        self._stalls_of_targets = {node: Windows(stalls) for node, stalls in stalls_of_targets.items()}

    def reason(self, event: Event) -> str | None:
        """Why the network is not to blame for a probe, or None when it is."""
        for reason, windows in self._grounds(event):
            if windows.touch(event.span):
                return reason
        if event.path.name == DNS and event.path.mode == "reused":  # a kept socket goes to one replica
            untold = event.error == "timeout" and self._dns_ended.touch(Interval(event.time, event.time))
            if untold or event.error in SERVER_ENDED:
                return "server ended"
        if event.error == "timeout" and self.net_ms(event, event.span) <= event.prober.late_ms:
            return "prober stalled"
        return None

    def gap_ms(self, event: Event) -> float:
        """The longest stretch of a gap in which an answer was due: without the time that is excused or in which a prober stood still."""
        excused = Windows(window for _reason, windows in self._grounds(event) for window in windows.within(event.span))
        return max((self.net_ms(event, span) for span in excused.outside(event.span)), default=0.0)

    def net_ms(self, event: Event, span: Interval) -> float:
        """Milliseconds of ``span``, without those in which a prober that the event depends on stood still."""
        stalled = [window for windows in self._lags(event) for window in windows.within(span)]
        return 1000 * seconds(Windows(stalled).outside(span) if stalled else [span])

    def _grounds(self, event: Event) -> Iterator[tuple[str, Windows]]:
        path = event.path
        yield "source away", self.away.get(event.prober.node, NEVER)
        if path.name == API_SERVER:
            yield "control plane away", self._control_plane_away
            return
        if path.node:
            yield "target away", self.away.get(path.node, NEVER)
        if path.incarnation:
            yield "target ended", self._ended.get(path.incarnation, NEVER)
        # A connection runs to one endpoint of the Service, and to no other: the one it was lost with, or the one that answered on a kept one.
        elif endpoint := event.lost or (event.by if path.mode == "reused" else ""):
            node, _slash, incarnation = endpoint.partition("/")
            yield "target away", self.away.get(node, NEVER)
            yield "target ended", self._ended.get(incarnation, NEVER)

    def _lags(self, event: Event) -> Iterator[Windows]:
        yield self._stalls.get(event.prober.incarnation, NEVER)
        if event.error == "timeout":  # other answers are the kernel's, or tell themselves how long they took
            yield self._stalls_of_targets.get(event.path.node or event.lost.partition("/")[0], NEVER)


def _ended(scope: Scope, probers: Iterable[Prober]) -> dict[str, Windows]:
    """By incarnation of a target, the time from its end until its node had another one that could be known."""
    by_node: dict[str, list[Prober]] = defaultdict(list)
    for prober in probers:
        if prober.kind == "target":
            by_node[prober.node].append(prober)
    ended = {}
    for node, targets in by_node.items():
        targets.sort(key=lambda target: target.started)
        for target, following in zip(targets, [*targets[1:], None]):
            if following:
                ended[target.incarnation] = Windows([Interval(target.last, following.started + AWAY_MARGIN)])
            elif target.stopped or scope.until.get(node, target.last) - target.last > HOLE_SECONDS:
                ended[target.incarnation] = Windows([Interval(target.last, FOREVER)])
    return ended
