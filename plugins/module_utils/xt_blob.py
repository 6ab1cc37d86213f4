# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A legacy iptables table as the kernel keeps it: one block of entries, read and edited as pure functions over bytes.

The legacy interface replaces a whole table at a time; ``iptables-legacy-restore --noflush`` does just that after having
parsed and printed every rule. Cutting the owned entries out of the block leaves each other entry as it is, to the byte.
Layout: ``linux/netfilter/x_tables.h``, ``netfilter_ipv4/ip_tables.h``, ``netfilter_ipv6/ip6_tables.h``; how a block is
put together: iptables 1.8.9 ``libiptc/libiptc.c``.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Union

from ansible_collections.netops.cni_migration.plugins.module_utils.ruleset import Rule, Table, TableKey

HOOKS = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
COUNTER = struct.Struct("=QQ")
_U16, _U16X2, _I32 = struct.Struct("=H"), struct.Struct("=HH"), struct.Struct("=i")
_TARGET_HEAD = 32  # struct xt_entry_target: u16 size, 29 bytes of name, u8 revision
_VERDICTS = {-1: "DROP", -2: "ACCEPT", -4: "QUEUE", -5: "RETURN"}


class Layout(NamedTuple):
    """Where things lie in an entry: the address part's fields, the two offsets, the counters, and where matches begin."""

    source_mask: slice
    destination_mask: slice
    interface_masks: slice
    protocol: int
    offsets: int
    counters: int
    matches: int


LAYOUTS = {
    "ipv4": Layout(slice(8, 12), slice(12, 16), slice(48, 80), 80, 88, 96, 112),
    "ipv6": Layout(slice(32, 48), slice(48, 64), slice(96, 128), 128, 140, 152, 168),
}


@dataclass(frozen=True)
class Blob:
    """A table's block of entries with what the kernel needs beside it. ``hook_entry`` and ``underflow`` are offsets."""

    key: TableKey
    valid_hooks: int
    hook_entry: tuple[int, ...]
    underflow: tuple[int, ...]
    number: int
    entries: bytes


class Span(NamedTuple):
    """One chain in a block: where its entries begin (its head included) and end, and where its first rule is."""

    name: str
    base: bool
    start: int
    first: int
    end: int
    rules: int


# Where the counters of entries come from: a range of entry numbers of the old block, or the counters themselves.
Source = Union[tuple[int, int], bytes]


class Edit(NamedTuple):
    """A block after an edit, where its counters come from, and the number in the old block of each single rule that went."""

    blob: Blob
    sources: tuple[Source, ...]
    gone: dict[int, int]


def spans(blob: Blob) -> list[Span]:
    """The chains of a block in its order. Raises :class:`ValueError` when the block is not well formed."""
    data, offsets_at = blob.entries, LAYOUTS[blob.key.family].offsets
    starts = {blob.hook_entry[hook]: HOOKS[hook] for hook in range(5) if blob.valid_hooks >> hook & 1}
    found: list[Span] = []
    name, base, start, first, rules = "", False, 0, 0, 0
    offset, end = 0, len(data)
    while offset < end:
        if offset + offsets_at + 4 > end:
            raise ValueError(f"entry at {offset} of {end} is cut off")
        target_at, size = _U16X2.unpack_from(data, offset + offsets_at)
        if size < target_at + _TARGET_HEAD or offset + size > end:
            raise ValueError(f"entry of {size} bytes at {offset} of {end}")
        target = offset + target_at
        head = data[target + 2:target + 8] == b"ERROR\0"
        if head or offset in starts:
            if name:
                # The last entry of a chain is its policy (or the return), which no listing calls a rule.
                found.append(Span(name, base, start, first, offset, rules - 1))
            base = not head
            name = _string(data[target + _TARGET_HEAD:offset + size]) if head else starts[offset]
            start, first, rules = offset, offset + size if head else offset, 0
        if not head:
            rules += 1
        offset += size
    # The block ends with a head called ERROR, which is no chain.
    if name != "ERROR" or start == 0:
        raise ValueError("the block does not end with an error entry")
    return found


def table(blob: Blob, owned: set[str], chains: list[Span]) -> Table:
    """The block as a :class:`Table`, with the rules of every chain that is not in ``owned``."""
    result = Table(blob.key, {span.name: span.rules for span in chains}, {span.name for span in chains if span.base})
    targets = {span.first: span.name for span in chains if not span.base}
    for span in chains:
        if span.name not in owned:
            offset = span.first
            for _number in range(span.rules):
                size = _size(blob, offset)
                result.rules.append(_rule(blob, span.name, offset, size, targets))
                offset += size
    return result


def edit(
    blob: Blob, chains: list[Span], going_chains: set[str], going_rules: set[int], added: Mapping[int, list[Rule]] | None = None
) -> Edit:
    """``blob`` without the named chains and the rules at the given offsets, and with rules added; all else as it was.

    ``added`` says which rules come directly before the entry at an offset. Raises :class:`ValueError` when an entry
    that stays jumps into a chain that goes, :class:`KeyError` when an added one jumps into a chain that is not there.
    """
    return _Editor(blob, chains, going_chains, going_rules, added or {}).edit()


class _Editor:
    """One edit: first where everything goes, then the entries with their jumps set right."""

    def __init__(self, blob: Blob, chains: list[Span], going_chains: set[str], going_rules: set[int], added: Mapping[int, list[Rule]]) -> None:
        self.blob = blob
        self.layout = LAYOUTS[blob.key.family]
        self.added = added
        self.going_rules = going_rules
        self.gone_chains = {span.first: span.name for span in chains if span.name in going_chains}
        self.firsts = {span.name: span.first for span in chains if span.name not in going_chains}
        removed = [(span.start, span.end) for span in chains if span.name in going_chains]
        removed += [(offset, offset + _size(blob, offset)) for offset in going_rules]
        self.pieces = _pieces(len(blob.entries), removed, added)
        self.starts = [start for start, _end in self.pieces]
        self.placed: dict[int, int] = {}
        self.news: list[int] = []
        position = 0
        for start, end in self.pieces:
            if start in added:
                self.placed[start] = position
                position += sum(len(rule.raw) for rule in added[start])
            self.news.append(position)
            position += end - start

    def edit(self) -> Edit:
        """The edited block."""
        out, sources, gone = bytearray(), list[Source](), dict[int, int]()
        number, offset = 0, 0
        entries = 0
        for start, end in self.pieces:
            while offset < start:
                if offset in self.going_rules:
                    gone[offset] = number
                offset += _size(self.blob, offset)
                number += 1
            for rule in self.added.get(start, ()):
                out += self._entry(rule, len(out))
                sources.append(COUNTER.pack(rule.packets, rule.octets))
                entries += 1
            written = len(out)
            out += self.blob.entries[start:end]
            first = number
            while offset < end:
                size = self._relink(out, offset, written)
                offset += size
                written += size
                number += 1
            sources.append((first, number))
            entries += number - first
        blob = self.blob
        hooks = [hook for hook in range(5) if blob.valid_hooks >> hook & 1]
        return Edit(
            Blob(
                blob.key, blob.valid_hooks,
                tuple(self._referred(offset) if hook in hooks else offset for hook, offset in enumerate(blob.hook_entry)),
                tuple(self._moved(offset) if hook in hooks else offset for hook, offset in enumerate(blob.underflow)),
                entries, bytes(out),
            ),
            tuple(sources), gone,
        )

    def _moved(self, offset: int) -> int:
        """Where the entry at ``offset``, or else the next one that stays, has gone."""
        index = bisect_right(self.starts, offset) - 1
        if index >= 0 and offset < self.pieces[index][1]:
            return self.news[index] + offset - self.starts[index]
        return self.news[index + 1]

    def _referred(self, offset: int) -> int:
        """Where something that leads to ``offset`` must lead now: to what has been put before it, if anything has."""
        return self.placed.get(offset, self._moved(offset))

    def _relink(self, out: bytearray, offset: int, written: int) -> int:
        """Point the jump of the entry from ``offset``, now at ``written``, to where its chain has gone; the entry's size."""
        data = self.blob.entries
        target_at, size = _U16X2.unpack_from(data, offset + self.layout.offsets)
        target = offset + target_at
        if not data[target + 2]:
            verdict = _I32.unpack_from(data, target + _TARGET_HEAD)[0]
            if verdict == offset + size:
                _I32.pack_into(out, written + target_at + _TARGET_HEAD, written + size)
            elif verdict >= 0:
                if verdict in self.gone_chains:
                    raise ValueError(f"a rule that stays jumps to {self.gone_chains[verdict]}")
                _I32.pack_into(out, written + target_at + _TARGET_HEAD, self._referred(verdict))
        return size

    def _entry(self, rule: Rule, position: int) -> bytes:
        """An added rule as an entry at ``position``."""
        entry = bytearray(rule.raw)
        target_at = _U16.unpack_from(entry, self.layout.offsets)[0]
        if not entry[target_at + 2] and _I32.unpack_from(entry, target_at + _TARGET_HEAD)[0] >= 0:
            verdict = self._referred(self.firsts[rule.target]) if rule.jumps else position + len(entry)
            _I32.pack_into(entry, target_at + _TARGET_HEAD, verdict)
        return bytes(entry)


def _pieces(length: int, removed: list[tuple[int, int]], added: Iterable[int]) -> list[tuple[int, int]]:
    """The parts of a block that stay, cut where something is removed or added."""
    pieces: list[tuple[int, int]] = []
    position = 0
    for start, end in sorted([*removed, *((offset, offset) for offset in added)]):
        if start > position:
            pieces.append((position, start))
        position = max(position, end)
    pieces.append((position, length))
    return pieces


def new_counters(old: bytes, sources: Iterable[Source]) -> bytes:
    """The counters for the entries of an edited block, from the ones its predecessor had when it was replaced."""
    return b"".join(source if isinstance(source, bytes) else old[source[0] * COUNTER.size:source[1] * COUNTER.size] for source in sources)


def content(family: str, rule: Rule) -> bytes:
    """What a rule says, without what changes from one listing to the next: its counters, its place, where its chain is."""
    layout = LAYOUTS[family]
    entry = bytearray(rule.raw)
    target_at = _U16.unpack_from(entry, layout.offsets)[0]
    entry[layout.offsets + 4:layout.matches] = bytes(layout.matches - layout.offsets - 4)
    if not entry[target_at + 2] and _I32.unpack_from(entry, target_at + _TARGET_HEAD)[0] >= 0:
        entry[target_at + _TARGET_HEAD:target_at + _TARGET_HEAD + 4] = bytes(4)
    return bytes(entry) + rule.target.encode("utf-8", "surrogateescape")


def _size(blob: Blob, offset: int) -> int:
    return _U16.unpack_from(blob.entries, offset + LAYOUTS[blob.key.family].offsets + 2)[0]


def _string(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _rule(blob: Blob, chain: str, offset: int, size: int, targets: dict[int, str]) -> Rule:
    layout = LAYOUTS[blob.key.family]
    entry = blob.entries[offset:offset + size]
    target_at = _U16.unpack_from(entry, layout.offsets)[0]
    conditions = {
        name
        for name, field in (("src", layout.source_mask), ("dst", layout.destination_mask), ("iface", layout.interface_masks))
        if any(entry[field])
    }
    if _U16.unpack_from(entry, layout.protocol)[0]:
        conditions.add("proto")
    comment, sets = "", []
    for name, data in _matches(entry, layout.matches, target_at):
        if name == "comment":
            comment = _string(data)
        else:
            conditions.add(name)
        if name == "set":
            sets.append(_U16.unpack_from(data)[0])
    target, jumps = _string(entry[target_at + 2:target_at + 31]), False
    if not target:
        verdict = _I32.unpack_from(entry, target_at + _TARGET_HEAD)[0]
        jumps = verdict >= 0 and verdict != offset + size
        target = targets[verdict] if jumps else _VERDICTS.get(verdict, "")
    packets, octets = COUNTER.unpack_from(entry, layout.counters)
    return Rule(chain, offset, target, jumps, comment, frozenset(conditions), tuple(sets), packets, octets, entry)


def _matches(entry: bytes, offset: int, end: int) -> Iterator[tuple[str, bytes]]:
    while offset < end:
        size = _U16.unpack_from(entry, offset)[0]
        if size < 32:
            raise ValueError(f"match of {size} bytes")
        yield _string(entry[offset + 2:offset + 31]), entry[offset + 32:offset + size]
        offset += size
