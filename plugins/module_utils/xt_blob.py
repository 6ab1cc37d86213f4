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
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ansible_collections.netops.cni_migration.plugins.module_utils.ruleset import Rule, Table, TableKey

HOOKS = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
COUNTER = struct.Struct("=QQ")
_U16, _U16X2, _I32 = struct.Struct("=H"), struct.Struct("=HH"), struct.Struct("=i")
_E = ord("E")
_STANDARD_TARGET, _ERROR_TARGET = 40, 64  # struct xt_standard_target and xt_error_target, with their padding
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


_END_SIZE = {family: layout.matches + _ERROR_TARGET for family, layout in LAYOUTS.items()}


@dataclass(frozen=True)
class Blob:
    """A table's block of entries with what the kernel needs beside it. ``hook_entry`` and ``underflow`` are offsets."""

    key: TableKey
    valid_hooks: int
    hook_entry: tuple[int, ...]
    underflow: tuple[int, ...]
    number: int
    entries: bytes | memoryview


class Span(NamedTuple):
    """One chain in a block: where its entries begin (its head included) and end, and where its first rule is.

    ``number`` is how many entries stand before it; of its own it has ``rules``, one at the end that no listing calls a
    rule (the policy, or the return of a user chain), and in a user chain a head.
    """

    name: str
    base: bool
    start: int
    first: int
    end: int
    rules: int
    number: int

    @property
    def entries(self) -> int:
        """How many entries the chain has."""
        return self.rules + (1 if self.base else 2)


class Part(NamedTuple):
    """A run of entries of some block: that block, its chains by their first offset, where, and the counters of the entries."""

    blob: Blob
    firsts: dict[int, str]
    start: int
    end: int
    counters: bytes | memoryview


@dataclass(frozen=True)
class Chain:
    """What a chain of a new block is put together of, its head and its end included."""

    name: str
    base: bool
    parts: list[Part]


def spans(blob: Blob) -> list[Span]:
    """The chains of a block in its order. Raises :class:`ValueError` when the block is not well formed."""
    data, offsets_at = blob.entries, LAYOUTS[blob.key.family].offsets
    starts = {blob.hook_entry[hook]: HOOKS[hook] for hook in range(5) if blob.valid_hooks >> hook & 1}
    found: list[Span] = []
    name, base, start, first, rules, number = "", False, 0, 0, 0, 0
    offset, end = 0, len(data)
    unpack = _U16X2.unpack_from
    while offset < end:
        target_at, size = unpack(data, offset + offsets_at)
        if size < target_at + _TARGET_HEAD:
            raise ValueError(f"entry of {size} bytes with its target at {target_at}")
        target = offset + target_at
        head = data[target + 2] == _E and data[target + 2 : target + 8] == b"ERROR\0"
        if head or offset in starts:
            if name:
                found.append(Span(name, base, start, first, offset, rules - 1, number))
                number += rules + (not base)
            base = not head
            name = _string(data[target + _TARGET_HEAD : offset + size]) if head else starts[offset]
            start, first, rules = offset, offset + size if head else offset, 0
        if not head:
            rules += 1
        offset += size
    # The block ends with a head called ERROR, which is no chain.
    if name != "ERROR" or start == 0 or offset != end:
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


def kept(blob: Blob, chains: list[Span], going_chains: set[str], going_rules: set[int], counters: bytes | memoryview) -> list[Chain]:
    """The chains of a block that stay, without the rules at the given offsets. ``counters`` are those of all its entries."""
    firsts = {span.first: span.name for span in chains}
    size = COUNTER.size
    result = []
    for span in chains:
        if span.name in going_chains:
            continue
        parts, offset, number = [], span.start, span.number
        if going_rules:
            for rule_offset, rule_number in _rule_offsets(blob, span):
                if rule_offset in going_rules:
                    if rule_offset > offset:
                        parts.append(Part(blob, firsts, offset, rule_offset, counters[number * size : rule_number * size]))
                    offset, number = rule_offset + _size(blob, rule_offset), rule_number + 1
        parts.append(Part(blob, firsts, offset, span.end, counters[number * size : (span.number + span.entries) * size]))
        result.append(Chain(span.name, span.base, parts))
    return result


def rule_parts(blob: Blob, chains: list[Span], span: Span, counters: bytes | memoryview) -> list[Part]:
    """Each entry of a chain as a part by itself."""
    firsts = {other.first: other.name for other in chains}
    parts, offset = [], span.start
    for number in range(span.number, span.number + span.entries):
        end = offset + _size(blob, offset)
        parts.append(Part(blob, firsts, offset, end, counters[number * COUNTER.size : (number + 1) * COUNTER.size]))
        offset = end
    return parts


def counters_of(chains: list[Chain]) -> bytes:
    """The counters of all entries of a block of ``chains``."""
    return b"".join([*(part.counters for chain in chains for part in chain.parts), bytes(COUNTER.size)])


def entry_counters(blob: Blob) -> bytes:
    """The counters of all entries as they were when the block was read."""
    layout, offset, found = LAYOUTS[blob.key.family], 0, []
    while offset < len(blob.entries):
        found.append(blob.entries[offset + layout.counters : offset + layout.counters + COUNTER.size])
        offset += _size(blob, offset)
    return b"".join(found)


def assemble(old: Blob, chains: list[Chain], *, strict: bool) -> Blob:
    """A block of ``chains``, built-in ones first, for the table that ``old`` is of.

    Every entry is as it was in its part, but for the place its jump leads to. Where a rule jumps to a chain that is not
    there: with ``strict`` a :class:`ValueError`, else a rule that does nothing but count.
    """
    layout = LAYOUTS[old.key.family]
    heads = {chain.name: _size(chain.parts[0].blob, chain.parts[0].start) for chain in chains if not chain.base}
    starts: dict[str, int] = {}
    ends: dict[str, int] = {}
    position = 0
    for chain in chains:
        starts[chain.name] = position
        position += sum(part.end - part.start for part in chain.parts)
        ends[chain.name] = position
    firsts = {name: start + heads.get(name, 0) for name, start in starts.items()}
    out, number = bytearray(), 0
    for chain in chains:
        for part in chain.parts:
            written = len(out)
            out += part.blob.entries[part.start : part.end]
            number += _relink(part, out, written, layout, firsts, strict)
    end = len(old.entries) - _END_SIZE[old.key.family]
    out += old.entries[end:]
    hooks = [name if old.valid_hooks >> hook & 1 else "" for hook, name in enumerate(HOOKS)]
    # The policy is the last entry of a built-in chain, and always of the same size.
    policies = {name: ends[name] - layout.matches - _STANDARD_TARGET for name in hooks if name}
    return Blob(
        old.key,
        old.valid_hooks,
        tuple(starts[name] if name else old.hook_entry[hook] for hook, name in enumerate(hooks)),
        tuple(policies[name] if name else old.underflow[hook] for hook, name in enumerate(hooks)),
        number + 1,
        memoryview(out),
    )


def _relink(part: Part, out: bytearray, written: int, layout: Layout, firsts: dict[str, int], strict: bool) -> int:
    """Point the jumps of a part, now at ``written``, to where their chains have gone; how many entries it has."""
    data, offset, number = part.blob.entries, part.start, 0
    unpack, offsets_at = _U16X2.unpack_from, layout.offsets
    while offset < part.end:
        target_at, size = unpack(data, offset + offsets_at)
        target = offset + target_at
        if not data[target + 2]:
            verdict = _I32.unpack_from(data, target + _TARGET_HEAD)[0]
            if verdict >= 0:
                place = written + size
                if verdict != offset + size:
                    name = part.firsts[verdict]
                    if strict and name not in firsts:
                        raise ValueError(f"a rule that stays jumps to {name}")
                    place = firsts.get(name, place)
                _I32.pack_into(out, written + target_at + _TARGET_HEAD, place)
        offset += size
        written += size
        number += 1
    return number


def _rule_offsets(blob: Blob, span: Span) -> Iterator[tuple[int, int]]:
    """Offset and number of each rule of a chain."""
    offset, number = span.first, span.number + (not span.base)
    for _rule in range(span.rules):
        yield offset, number
        offset += _size(blob, offset)
        number += 1


def content(family: str, rule: Rule) -> bytes:
    """What a rule says, without what changes from one listing to the next: its counters, its place, where its chain is."""
    layout = LAYOUTS[family]
    entry = bytearray(rule.raw)
    target_at = _U16.unpack_from(entry, layout.offsets)[0]
    entry[layout.offsets + 4 : layout.matches] = bytes(layout.matches - layout.offsets - 4)
    if not entry[target_at + 2] and _I32.unpack_from(entry, target_at + _TARGET_HEAD)[0] >= 0:
        entry[target_at + _TARGET_HEAD : target_at + _TARGET_HEAD + 4] = bytes(4)
    return bytes(entry) + rule.target.encode("utf-8", "surrogateescape")


def _size(blob: Blob, offset: int) -> int:
    return _U16.unpack_from(blob.entries, offset + LAYOUTS[blob.key.family].offsets + 2)[0]


def _string(data: bytes | memoryview) -> str:
    return bytes(data).split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _rule(blob: Blob, chain: str, offset: int, size: int, targets: dict[int, str]) -> Rule:
    layout = LAYOUTS[blob.key.family]
    entry = bytes(blob.entries[offset : offset + size])
    target_at = _U16.unpack_from(entry, layout.offsets)[0]
    conditions = {
        name for name, field in (("src", layout.source_mask), ("dst", layout.destination_mask), ("iface", layout.interface_masks)) if any(entry[field])
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
    target, jumps = _string(entry[target_at + 2 : target_at + 31]), False
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
        yield _string(entry[offset + 2 : offset + 31]), entry[offset + 32 : offset + size]
        offset += size
