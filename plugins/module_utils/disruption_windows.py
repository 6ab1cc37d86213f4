# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arithmetic with stretches of time. Pure."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator

from ansible_collections.netops.cni_migration.plugins.module_utils.probe_log import Interval


class Windows:
    """A set of moments, as windows in order that do not touch."""

    def __init__(self, intervals: Iterable[Interval] = ()) -> None:
        self._windows: list[Interval] = []
        for start, end in sorted(intervals):
            if self._windows and start <= self._windows[-1].end:
                self._windows[-1] = Interval(self._windows[-1].start, max(self._windows[-1].end, end))
            elif end > start:
                self._windows.append(Interval(start, end))
        self._ends = [window.end for window in self._windows]

    def __iter__(self) -> Iterator[Interval]:
        return iter(self._windows)

    def __bool__(self) -> bool:
        return bool(self._windows)

    def within(self, span: Interval) -> list[Interval]:
        """The part of the windows that lies in ``span``."""
        found = []
        for index in range(bisect.bisect_right(self._ends, span.start), len(self._windows)):
            window = self._windows[index]
            if window.start >= span.end:
                break
            found.append(Interval(max(window.start, span.start), min(window.end, span.end)))
        return found

    def outside(self, span: Interval) -> list[Interval]:
        """The part of ``span`` that lies in none of the windows."""
        left, at = [], span.start
        for window in self.within(span):
            if window.start > at:
                left.append(Interval(at, window.start))
            at = window.end
        if at < span.end:
            left.append(Interval(at, span.end))
        return left

    def touch(self, span: Interval) -> bool:
        """Whether any moment of ``span``, its ends included, is in the windows."""
        first = bisect.bisect_left(self._ends, span.start)
        return first < len(self._windows) and self._windows[first].start <= span.end

    def widened(self, seconds: float) -> Windows:
        """The windows with so many seconds more on both sides."""
        return Windows(Interval(start - seconds, end + seconds) for start, end in self._windows)


def seconds(spans: Iterable[Interval]) -> float:
    """How long these are together."""
    return sum(end - start for start, end in spans)
