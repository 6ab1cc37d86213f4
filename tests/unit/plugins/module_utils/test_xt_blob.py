# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Legacy tables as blocks of entries: any block, cut anywhere, keeps the rest to the byte."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.netops.cni_migration.plugins.module_utils import purge_undo, xt_blob, xt_undo
from ansible_collections.netops.cni_migration.plugins.module_utils.purge_undo import SavedTable
from ansible_collections.netops.cni_migration.plugins.module_utils.ruleset import TableKey

KEY = TableKey("legacy", "ipv4", "nat")
LAYOUT = xt_blob.LAYOUTS["ipv4"]
# A rule here is (label, target): the name of a chain, a verdict, or "" for falling through to the next rule.
VERDICTS = {"ACCEPT": -2, "DROP": -1, "RETURN": -5}
Chains = dict[str, list[tuple[int, str]]]


def entry(label: int, target: bytes) -> bytes:
    """An entry with ``label`` as source address and as counters."""
    head = bytearray(LAYOUT.matches)
    struct.pack_into("=I", head, 0, label)
    struct.pack_into("=HH", head, LAYOUT.offsets, LAYOUT.matches, LAYOUT.matches + len(target))
    struct.pack_into("=QQ", head, LAYOUT.counters, label, label * 60)
    return bytes(head) + target


def standard(verdict: int) -> bytes:
    """A standard target."""
    return struct.pack("=H29sBi4x", 40, b"", 0, verdict)


def error(name: str) -> bytes:
    """The head of a user chain."""
    return struct.pack("=H29sB30s2x", 64, b"ERROR", 0, name.encode())


def build(builtin: Chains, chains: Chains) -> xt_blob.Blob:
    """A block as libiptc puts it together."""
    sizes = {"rule": len(entry(0, standard(0))), "head": len(entry(0, error("")))}
    first, offset = {}, 0
    for name, rules in builtin.items():
        first[name] = offset
        offset += (len(rules) + 1) * sizes["rule"]
    for name, rules in chains.items():
        first[name] = offset + sizes["head"]
        offset += sizes["head"] + (len(rules) + 1) * sizes["rule"]
    data, number, underflow = b"", 0, {}
    for name, rules in {**builtin, **chains}.items():
        if name in chains:
            data += entry(0, error(name))
        for label, target in rules:
            following = len(data) + sizes["rule"]
            data += entry(label, standard(VERDICTS[target] if target in VERDICTS else first[target] if target else following))
        underflow[name] = len(data)
        data += entry(0, standard(VERDICTS["ACCEPT" if name in builtin else "RETURN"]))
        number += len(rules) + 1 + (name in chains)
    data += entry(0, error("ERROR"))
    hooks = [xt_blob.HOOKS.index(name) for name in builtin]
    return xt_blob.Blob(
        KEY,
        sum(1 << hook for hook in hooks),
        tuple(first.get(name, 0xFFFFFFFF) for name in xt_blob.HOOKS),
        tuple(underflow.get(name, 0xFFFFFFFF) for name in xt_blob.HOOKS),
        number + 1,
        data,
    )


def labels(blob: xt_blob.Blob) -> dict[str, list[tuple[int, str]]]:
    """Chains and rules of a block in the terms of :func:`build`."""
    table = xt_blob.table(blob, set(), xt_blob.spans(blob))
    return {name: [(rule.packets, rule.target) for rule in table.rules if rule.chain == name] for name in table.chains}


@st.composite
def cases(draw: st.DrawFn) -> tuple[Chains, Chains, set[str], set[int]]:
    """A ruleset, the chains that go, and the labels of the rules that go: all that jump there, and some others."""
    names = [f"C{number}" for number in range(draw(st.integers(0, 5)))]
    label = iter(range(1, 1000))
    rules = st.lists(st.sampled_from([*VERDICTS, "", *names]), max_size=4)
    builtin = {name: [(next(label), target) for target in draw(rules)] for name in ("PREROUTING", "OUTPUT", "POSTROUTING")}
    chains = {name: [(next(label), target) for target in draw(rules)] for name in names}
    going = set(draw(st.lists(st.sampled_from(names)))) if names else set()
    kept = [rule for name, listed in {**builtin, **chains}.items() if name not in going for rule in listed]
    some = draw(st.sets(st.sampled_from([number for number, _target in kept]))) if kept else set()
    return builtin, chains, going, some | {number for number, target in kept if target in going}


def cut(blob: xt_blob.Blob, chains: set[str], rules: set[int]) -> tuple[xt_blob.Blob, list[int]]:
    """A block without the chains and the rules with these labels, and the numbers of the entries that are left."""
    spans = xt_blob.spans(blob)
    offsets = {rule.position for rule in xt_blob.table(blob, chains, spans).rules if rule.packets in rules}
    numbers = b"".join(xt_blob.COUNTER.pack(number, 0) for number in range(blob.number))
    kept = xt_blob.kept(blob, spans, chains, offsets, numbers)
    return xt_blob.assemble(blob, kept, strict=True), [pair[0] for pair in xt_blob.COUNTER.iter_unpack(xt_blob.counters_of(kept))][:-1]


@given(cases())
def test_a_cut_block_is_the_block_without_what_goes(case: tuple[Chains, Chains, set[str], set[int]]) -> None:
    builtin, chains, going, labels_going = case
    blob = build(builtin, chains)
    result, numbers = cut(blob, going, labels_going)
    remaining = [
        {name: [rule for rule in rules if rule[0] not in labels_going] for name, rules in part.items() if name not in going} for part in (builtin, chains)
    ]
    expected = build(*remaining)
    assert labels(result) == labels(expected) == {**remaining[0], **remaining[1]}
    assert result == expected, "the block is the very one that would have been made without the owned rules"
    assert len(numbers) == expected.number - 1


def test_the_counters_follow_their_rules() -> None:
    blob = build({"PREROUTING": [(5, "GONE"), (6, "ACCEPT")]}, {"GONE": [(7, "")], "STAYS": [(8, "DROP")]})
    _result, numbers = cut(blob, {"GONE"}, {5})
    assert numbers == [1, 2, 6, 7, 8], "the jump is entry 0, the chain that goes is 3 to 5, the end of the block 9"


def test_the_counters_of_a_listing() -> None:
    blob = build({"PREROUTING": [(5, ""), (6, "DROP")]}, {})
    assert list(xt_blob.COUNTER.iter_unpack(xt_blob.entry_counters(blob))) == [(5, 300), (6, 360), (0, 0), (0, 0)]


def test_a_jump_that_would_be_left_hanging_is_an_error() -> None:
    blob = build({"PREROUTING": [(5, "GONE")]}, {"GONE": []})
    with pytest.raises(ValueError, match="jumps to GONE"):
        cut(blob, {"GONE"}, set())


def test_or_becomes_a_rule_that_only_counts() -> None:
    blob = build({"PREROUTING": [(5, "GONE")]}, {"GONE": []})
    spans = xt_blob.spans(blob)
    kept = xt_blob.kept(blob, spans, {"GONE"}, set(), xt_blob.entry_counters(blob))
    assert labels(xt_blob.assemble(blob, kept, strict=False)) == {"PREROUTING": [(5, "")]}


def block(blob: xt_blob.Blob) -> xt_undo.Block:
    """A block as undoing needs it."""
    return xt_undo.Block(blob, xt_blob.spans(blob), xt_blob.entry_counters(blob))


def undo(old: xt_blob.Blob, now: xt_blob.Blob, going: set[str], rules: set[int]) -> xt_blob.Blob:
    """``now`` with chains and rules of ``old`` back in it."""
    table = xt_blob.table(old, going, xt_blob.spans(old))
    saved = SavedTable(KEY, {}, {})
    for chain in {rule.chain for rule in table.rules if rule.packets in rules}:
        listed = [rule for rule in table.rules if rule.chain == chain]
        saved.orders[chain] = purge_undo.identities(KEY, listed)
        saved.rules.update((name, rule) for name, rule in zip(saved.orders[chain], listed) if rule.packets in rules)
    chains = xt_undo.restored(block(old), block(now), going, saved)
    result = xt_blob.assemble(now, chains, strict=False)
    assert xt_blob.counters_of(chains) == xt_blob.entry_counters(result)
    return result


@given(cases())
def test_what_was_cut_out_comes_back_to_the_byte(case: tuple[Chains, Chains, set[str], set[int]]) -> None:
    builtin, chains, going, labels_going = case
    blob = build(builtin, chains)
    now, _numbers = cut(blob, going, labels_going)
    assert undo(blob, now, going, labels_going) == blob
    assert undo(blob, blob, going, labels_going) == blob, "what is there already is not put back twice"


def test_what_others_did_meanwhile_stays() -> None:
    old = build({"PREROUTING": [(1, "MINE"), (2, "GONE"), (3, "DROP")]}, {"MINE": [], "GONE": [(4, "MINE")]})
    now = build({"PREROUTING": [(9, "NEW"), (1, ""), (3, "DROP")]}, {"NEW": [(8, "DROP")]})
    assert labels(undo(old, now, {"GONE"}, {2})) == {
        "PREROUTING": [(9, "NEW"), (1, ""), (2, "GONE"), (3, "DROP")],
        "NEW": [(8, "DROP")],
        "GONE": [(4, "")],
    }, "a rule whose chain somebody else removed only counts"


@given(st.integers(0, 600), st.binary(min_size=1, max_size=8))
def test_a_damaged_block_is_refused_or_read(offset: int, noise: bytes) -> None:
    blob = build({"PREROUTING": [(5, "MINE")]}, {"MINE": [(6, "DROP")]})
    data = blob.entries[:offset] + noise + blob.entries[offset + len(noise) :]
    damaged = xt_blob.Blob(KEY, blob.valid_hooks, blob.hook_entry, blob.underflow, blob.number, data)
    with contextlib.suppress(ValueError, KeyError, IndexError, struct.error):
        xt_blob.table(damaged, set(), xt_blob.spans(damaged))


def test_an_empty_block_is_an_error() -> None:
    with pytest.raises(ValueError, match="does not end"):
        xt_blob.spans(xt_blob.Blob(KEY, 0, (0,) * 5, (0,) * 5, 0, b""))
