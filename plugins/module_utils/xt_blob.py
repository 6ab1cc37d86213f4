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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

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


class Cut(NamedTuple):
    """A block after an edit, and which entries of the old one are in it, as ranges of their numbers."""

    blob: Blob
    kept: tuple[tuple[int, int], ...]


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


def cut(blob: Blob, chains: list[Span], going_chains: set[str], going_rules: set[int]) -> Cut:
    """``blob`` without the named chains and without the rules at the given offsets; every other entry as it was.

    Raises :class:`ValueError` when an entry that stays jumps into a chain that goes.
    """
    ranges: list[tuple[int, int]] = [(span.start, span.end) for span in chains if span.name in going_chains]
    ranges += [(offset, offset + _size(blob, offset)) for offset in going_rules]
    pieces: list[tuple[int, int]] = []
    position = 0
    for start, end in sorted(ranges):
        if start > position:
            pieces.append((position, start))
        position = max(position, end)
    pieces.append((position, len(blob.entries)))
    new = bytearray().join(blob.entries[start:end] for start, end in pieces)
    olds = [start for start, _end in pieces]
    shifts: list[int] = []
    kept_bytes = 0
    for start, end in pieces:
        shifts.append(kept_bytes - start)
        kept_bytes += end - start

    def moved(offset: int) -> int:
        """Where the entry at ``offset``, or else the next one that stays, has gone."""
        index = bisect_right(olds, offset) - 1
        if index >= 0 and offset < pieces[index][1]:
            return offset + shifts[index]
        return olds[index + 1] + shifts[index + 1]

    gone = {span.first: span.name for span in chains if span.name in going_chains}
    kept = _relink(blob, new, pieces, moved, gone)
    return Cut(
        Blob(
            blob.key, blob.valid_hooks, tuple(moved(offset) if blob.valid_hooks >> hook & 1 else offset for hook, offset in enumerate(blob.hook_entry)),
            tuple(moved(offset) if blob.valid_hooks >> hook & 1 else offset for hook, offset in enumerate(blob.underflow)),
            sum(end - start for start, end in kept), bytes(new),
        ),
        kept,
    )


def kept_counters(counters: bytes, kept: tuple[tuple[int, int], ...]) -> bytes:
    """The counters of a replaced table that belong to the entries of its successor."""
    return b"".join(counters[start * COUNTER.size:end * COUNTER.size] for start, end in kept)


def _relink(
    blob: Blob, new: bytearray, pieces: list[tuple[int, int]], moved: Callable[[int], int], gone: dict[int, str]
) -> tuple[tuple[int, int], ...]:
    """Point the jumps in ``new`` to where their chains have gone; the numbers of the kept entries, as ranges."""
    data, offsets_at = blob.entries, LAYOUTS[blob.key.family].offsets
    kept: list[tuple[int, int]] = []
    number, offset, written = 0, 0, 0
    for start, end in pieces:
        while offset < start:
            offset += _U16.unpack_from(data, offset + offsets_at + 2)[0]
            number += 1
        first = number
        while offset < end:
            target_at, size = _U16X2.unpack_from(data, offset + offsets_at)
            target = offset + target_at
            if not data[target + 2]:
                verdict = _I32.unpack_from(data, target + _TARGET_HEAD)[0]
                if verdict >= 0:
                    if verdict in gone and verdict != offset + size:
                        raise ValueError(f"a rule that stays jumps to {gone[verdict]}")
                    _I32.pack_into(new, written + target_at + _TARGET_HEAD, moved(verdict))
            offset += size
            written += size
            number += 1
        kept.append((first, number))
    return tuple(kept)


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
