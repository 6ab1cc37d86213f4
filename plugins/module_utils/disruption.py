# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of the disruption monitor shows: requests, failures, gaps, and whether any of it is the network's fault. Pure.

A failure or a gap is *excused* where the network is not to blame: the source or the target sat on a node that was away, the target
had ended, or a prober stood still itself. A new connection to a Service is never excused by an endpoint that is away: that there
are others is what a Service is for. What is not excused counts. The API server is told of apart: where it has one node, the reboot of
that node is a gap that nothing can close, and requests to it take as long as it takes itself. Of its gaps the verdict knows nothing.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils.disruption_excuses import API_SERVER, NEVER, Excuses, Scope
from ansible_collections.netops.cni_migration.plugins.module_utils.disruption_tally import Counts, Series, Timeline
from ansible_collections.netops.cni_migration.plugins.module_utils.disruption_windows import Windows, seconds
from ansible_collections.netops.cni_migration.plugins.module_utils.probe_log import HOLE_SECONDS, Event, Figures, Interval, LogReader, Path, Prober

OK, LOST, UNKNOWN = "ok", "lost", "unknown"

KINDS = ("host", "pod", "target")
ABSENCE_MS = 1000.0
"""A silence of the API server that is longer is looked into."""
RESTART_SECONDS = 20.0
"""How long after a node's return its probers may take to run again before that counts as not having looked."""
POD_PATHS = ("pod-same", "pod-other")
REQUESTS, FAILED, EXCUSED, LATE, WORST = range(len(Series.COLUMNS))


class Analysis:
    """Takes in the logs, those of the targets first, since they tell which CNI a node is on; then reports."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._reader = LogReader(scope.run)
        self._cidr = ipaddress.ip_network(scope.cilium_cidr)
        self._counts: dict[str, Counts] = defaultdict(Counts)
        self._series = Series()
        self._events: list[tuple[str, Event]] = []
        self._lasting: dict[tuple[str, Path], tuple[str, Event]] = {}
        self._bounds_ms: list[float] = []
        self._cnis: dict[str, str] = {}

    def read(self, lines: Iterable[str], clock_offset: float = 0.0) -> None:
        """Take in a segment of a log; raises :class:`probe_log.LogError`."""
        for item in self._reader.read(lines, clock_offset):
            if item.time < self._scope.since:
                continue
            key = self._key(item.prober, item.path, item.time)
            if isinstance(item, Event):
                self._events.append((key, item))
                self._lasting.pop((item.prober.incarnation, item.path), None)
            else:
                self._bounds_ms = item.prober.bounds_ms
                self._counts[key].add(item)
                self._follow(key, item)
                row = self._series.row(_kind(item), item.time)
                row[REQUESTS] += item.answered + item.failed
                row[WORST] = max(row[WORST], item.worst_ms)

    def _follow(self, key: str, figures: Figures) -> None:
        """Remember a silence that lasts. If its prober ends without a word, nothing else tells of it."""
        place = (figures.prober.incarnation, figures.path)
        if figures.gap_ms > figures.prober.late_ms and not figures.answered:
            start = figures.time - figures.gap_ms / 1000
            self._lasting[place] = (key, Event("gap", figures.prober, figures.path, start, figures.gap_ms, None, "", ""))
        else:
            self._lasting.pop(place, None)

    def _key(self, prober: Prober, path: Path, time: float) -> str:
        """``pod/pod-other/new/flannel>cilium``: who asks, what and how, and the CNI at both ends."""
        source = self._cni(prober.address) if prober.kind == "pod" else self._cni_of_node(prober.node, time)
        target = self._cni(path.address) if path.name in POD_PATHS else API_SERVER if path.name == API_SERVER else "service"
        return f"{prober.kind}/{path.name}/{path.mode}/{source}>{target}"

    def _cni(self, address: str) -> str:
        if address not in self._cnis:
            self._cnis[address] = "cilium" if ipaddress.ip_address(address) in self._cidr else "flannel"
        return self._cnis[address]

    def _cni_of_node(self, node: str, time: float) -> str:
        """The CNI of the target that the node had then, or had first."""
        cni = "unknown"
        for target in self._reader.targets(node):
            if target.started > time and cni != "unknown":
                break
            cni = self._cni(target.address)
        return cni

    def report(self, timeline: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """The whole of it, ready for JSON. ``timeline`` are tasks with ``task``, ``host``, ``start`` and ``end``."""
        excuses = Excuses(self._scope, self._reader.probers.values())
        tasks = Timeline(timeline)
        failures: list[dict[str, Any]] = []
        gaps: list[dict[str, Any]] = []
        api_gaps: list[dict[str, Any]] = []
        silences: list[Event] = []
        for key, event in sorted([*self._events, *self._lasting.values()], key=lambda item: item[1].time):
            entry = {
                "t": round(event.time, 3),
                "path": key,
                "source": event.prober.node,
                "target": event.path.node or (event.lost or event.by).partition("/")[0],
                "ms": event.ms,
                **tasks.at(event.span),
            }
            if event.what == "gap":
                of_api = event.path.name == API_SERVER
                if of_api:
                    silences.append(event)
                self._judge_gap(key, event, excuses, entry, api_gaps if of_api else gaps)
            else:
                self._judge_probe(key, event, excuses, entry, failures)
        longest_ms = max((event.ms for event in silences), default=0.0)
        api_server = {"longest_silence_ms": longest_ms, "absence": self._absence(silences, excuses), "gaps": api_gaps}
        return self._assemble(failures, gaps, api_server, self._coverage(excuses))

    def _absence(self, silences: Iterable[Event], excuses: Excuses) -> dict[str, Any] | None:
        """The longest silence of the API server as a node saw it that was there itself, and which of the API server's nodes was away then."""
        seen = [event for event in silences if event.ms > ABSENCE_MS and not excuses.away.get(event.prober.node, NEVER).touch(event.span)]
        if not seen:
            return None
        longest = max(seen, key=lambda event: event.ms)
        away = {node: seconds(excuses.away.get(node, NEVER).within(longest.span)) for node in self._scope.control_plane}
        node = max((node for node in away if away[node]), key=away.__getitem__, default=None)
        # A pod may wait longer than a host: for the routes that its answers take, too.
        hosts = [event.span.end for event in seen if event.prober.kind == "host" and longest.span.start < event.span.end <= longest.span.end]
        return {
            "start": round(longest.span.start, 3),
            "answered": round(max(hosts, default=longest.span.end), 3),
            "end": round(longest.span.end, 3),
            "ms": longest.ms,
            "node": node,
        }

    def _judge_gap(self, key: str, event: Event, excuses: Excuses, entry: dict[str, Any], gaps: list[dict[str, Any]]) -> None:
        net_ms = round(excuses.gap_ms(event), 2)
        self._counts[key].max_gap_ms = max(self._counts[key].max_gap_ms, net_ms)
        if net_ms > event.prober.late_ms:
            gaps.append({**entry, "end": round(event.span.end, 3), "net_ms": net_ms})

    def _judge_probe(self, key: str, event: Event, excuses: Excuses, entry: dict[str, Any], failures: list[dict[str, Any]]) -> None:
        net_ms = round(excuses.net_ms(event, event.span), 2)
        if event.error is None and net_ms <= event.prober.late_ms:
            return  # the prober was late, not the network
        reason = excuses.reason(event)
        failures.append({**entry, "net_ms": net_ms, "error": event.error, "port": event.port, "excused": reason})
        counts, row = self._counts[key], self._series.row(_kind(event), event.time)
        if event.error is None:
            if reason is None:
                counts.late += 1
                row[LATE] += 1
        elif reason is None:
            counts.failed += 1
            row[FAILED] += 1
        else:
            counts.excused += 1
            row[EXCUSED] += 1

    def _coverage(self, excuses: Excuses) -> list[dict[str, Any]]:
        """What each prober that should have run saw, and the time it did not see though its node was there."""
        result = []
        for node in self._scope.nodes:
            until = self._scope.until.get(node)
            for kind in KINDS:
                mine = [prober for prober in self._reader.probers.values() if prober.node == node and prober.kind == kind]
                seen = Windows(span for prober in mine for span in prober.observed)
                known = Windows([*seen, *_absences(excuses.away.get(node, NEVER), mine)])
                whole = Interval(self._scope.since, max([until or 0.0, *(prober.last for prober in mine)]))
                running = sum(prober.last - prober.started for prober in mine)
                result.append(
                    {
                        "node": node,
                        "kind": kind,
                        "incarnations": len(mine),
                        "seconds": round(seconds(seen.within(whole)), 1),
                        "holes": [[round(hole.start, 3), round(hole.end, 3)] for hole in known.outside(whole) if seconds([hole]) > HOLE_SECONDS],
                        "cpu_percent": round(100 * sum(prober.cpu_seconds for prober in mine) / running, 2) if running else None,
                        "max_lag_ms": max((prober.max_lag_ms for prober in mine), default=None),
                        "answers": until is not None,
                    }
                )
        return result

    def _assemble(self, failures: list[dict[str, Any]], gaps: list[dict[str, Any]], of_api: dict[str, Any], probers: list[dict[str, Any]]) -> dict[str, Any]:
        api = {key: counts for key, counts in self._counts.items() if key.split("/")[1] == API_SERVER}
        rest = [counts for key, counts in self._counts.items() if key not in api]
        total, api_total = _sum(rest), {**_sum(api.values()), **of_api}
        verdict, reasons = _verdict(total, api_total, gaps, probers)
        return {
            **total,
            "max_lag_ms": max((prober["max_lag_ms"] or 0.0 for prober in probers), default=0.0),
            "api_server": api_total,
            "by_path": {key: counts.report(self._bounds_ms) for key, counts in sorted(self._counts.items())},
            "gaps": gaps,
            "failures": failures,
            "series": self._series.report(),
            "probers": probers,
            "verdict": verdict,
            "reasons": reasons,
        }


def _kind(item: Event | Figures) -> str:
    return f"{item.prober.kind}/{item.path.name}"


def _sum(counts: Iterable[Counts]) -> dict[str, Any]:
    counts = list(counts)
    return {
        **{name: sum(getattr(each, name) for each in counts) for name in ("requests", "failed", "excused", "late")},
        "max_gap_ms": round(max((each.max_gap_ms for each in counts), default=0.0), 2),
    }


def _absences(away: Windows, probers: list[Prober]) -> Iterator[Interval]:
    """The windows in which a node was away, each until the prober ran there again: the kubelet starts a DaemonSet's pod when it gets round to it."""
    starts = sorted(prober.started for prober in probers)
    for window in away:
        again = next((start for start in starts if start > window.start), window.end)
        yield Interval(window.start, max(window.end, again if again <= window.end + RESTART_SECONDS else window.end))


def _verdict(total: Mapping[str, Any], api: Mapping[str, Any], gaps: list[dict[str, Any]], probers: list[dict[str, Any]]) -> tuple[str, list[str]]:
    """What was lost is certain; that nothing was lost is not, unless every prober saw all of the time."""
    lost = []
    for what, figures in (("requests", total), ("requests to the API server", api)):
        if figures["failed"]:
            lost.append(f"{figures['failed']} of {figures['requests']} {what} failed")
    if gaps:
        longest = max(gaps, key=lambda gap: gap["net_ms"])
        what = "a gap of" if len(gaps) == 1 else f"{len(gaps)} gaps, the longest of"
        lost.append(f"{what} {longest['net_ms']:.0f} ms on {longest['path']} from {longest['source']}")
    unseen = []
    if not total["requests"]:
        unseen.append("no request was made")
    for prober in probers:
        name = f"the {prober['kind']} prober of {prober['node']}"
        if not prober["incarnations"]:
            unseen.append(f"{name} never reported")
        elif not prober["answers"]:
            unseen.append(f"the last logs of {name} could not be had")
        elif prober["holes"]:
            unseen.append(f"{name} saw nothing for {sum(end - start for start, end in prober['holes']):.1f} s")
    if lost:
        return LOST, lost + unseen
    return (UNKNOWN, unseen) if unseen else (OK, [])
