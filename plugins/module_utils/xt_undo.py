# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Putting chains and rules back into a legacy table, whatever has been done to it meanwhile. Pure functions."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from ansible_collections.netops.cni_migration.plugins.module_utils import purge_undo, xt_blob
from ansible_collections.netops.cni_migration.plugins.module_utils.purge_undo import SavedTable
from ansible_collections.netops.cni_migration.plugins.module_utils.xt_blob import COUNTER, Blob, Chain, Part, Span


class Block(NamedTuple):
    """A block with its chains and the counters of its entries."""

    blob: Blob
    spans: list[Span]
    counters: bytes | memoryview

    def part(self, span: Span, firsts: dict[int, str]) -> Part:
        """A whole chain; ``firsts`` are those of :meth:`firsts`."""
        size = COUNTER.size
        return Part(self.blob, firsts, span.start, span.end, self.counters[span.number * size : (span.number + span.entries) * size])

    def firsts(self) -> dict[int, str]:
        """The chains by the offset of their first rule."""
        return {span.first: span.name for span in self.spans}


def restored(old: Block, now: Block, going_chains: Collection[str], saved: SavedTable) -> list[Chain]:
    """The chains of the table as it is ``now``, with ``going_chains`` and the rules in ``saved`` back as in ``old``.

    A chain of the same name that somebody made meanwhile is left as it is.
    """
    old_firsts, now_firsts = old.firsts(), now.firsts()
    old_spans = {span.name: span for span in old.spans}
    now_spans = {span.name: span for span in now.spans}
    chains = []
    for name in purge_undo.merge(list(old_spans), set(going_chains), list(now_spans)):
        if name not in now_spans:
            chains.append(Chain(name, False, [old.part(old_spans[name], old_firsts)]))
        elif name in saved.orders:
            chains.append(Chain(name, now_spans[name].base, _rules_back(old, old_spans[name], now, now_spans[name], saved)))
        else:
            chains.append(Chain(name, now_spans[name].base, [now.part(now_spans[name], now_firsts)]))
    return chains


def _rules_back(old: Block, old_span: Span, now: Block, now_span: Span, saved: SavedTable) -> list[Part]:
    """The parts of one chain with its saved rules back in their places."""
    table = xt_blob.table(now.blob, {span.name for span in now.spans if span.name != now_span.name}, now.spans)
    parts = xt_blob.rule_parts(now.blob, now.spans, now_span, now.counters)
    head, rules, end = parts[: 0 if now_span.base else 1], parts[0 if now_span.base else 1 : -1], parts[-1:]
    present = dict(zip(purge_undo.identities(saved.key, table.rules), rules))
    gone = {part.start: part for part in xt_blob.rule_parts(old.blob, old.spans, old_span, old.counters)}
    back = {name: gone[rule.position] for name, rule in saved.rules.items() if rule.chain == now_span.name and name not in present}
    all_rules = {**present, **back}
    return [*head, *(all_rules[name] for name in purge_undo.merge(saved.orders[now_span.name], back.keys(), list(present))), *end]
