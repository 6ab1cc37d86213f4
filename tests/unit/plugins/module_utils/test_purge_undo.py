# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Putting rules back where they were."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.netops.cni_migration.plugins.module_utils import purge_undo
from ansible_collections.netops.cni_migration.plugins.module_utils.purge_undo import SavedTable
from ansible_collections.netops.cni_migration.plugins.module_utils.ruleset import Rule, TableKey

KEY = TableKey("nft", "ipv4", "nat")


def rule(position: int, target: str = "KUBE-SERVICES") -> Rule:
    """A rule with a handle."""
    return Rule("PREROUTING", position, target, True, "", frozenset({"src"}), (3,), 7, 420, b"\x00\xff")


@st.composite
def chains(draw: st.DrawFn) -> tuple[list[str], set[str], list[str]]:
    """A chain's order, what went, and the chain now: with some others gone and some added anywhere."""
    order = [str(number) for number in range(draw(st.integers(0, 8)))]
    going = draw(st.sets(st.sampled_from(order))) if order else set()
    current = [name for name in order if name not in going and draw(st.integers(0, 9))]
    for number in range(draw(st.integers(0, 3))):
        current.insert(draw(st.integers(0, len(current))), f"new{number}")
    return order, going, current


@given(chains())
def test_everything_comes_back_and_nothing_else_moves(case: tuple[list[str], set[str], list[str]]) -> None:
    order, going, current = case
    merged = purge_undo.merge(order, going, current)
    assert sorted(merged) == sorted([*current, *going])
    assert [name for name in merged if name in current] == current
    assert [name for name in merged if name in order] == [name for name in order if name in merged], "the old order holds"
    assert purge_undo.merge(order, going, merged) == merged, "once more changes nothing"


@given(chains())
def test_untouched_chains_come_back_exactly(case: tuple[list[str], set[str], list[str]]) -> None:
    order, going, _current = case
    assert purge_undo.merge(order, going, [name for name in order if name not in going]) == order


@given(chains())
def test_the_insertions_lead_there(case: tuple[list[str], set[str], list[str]]) -> None:
    order, going, current = case
    merged = purge_undo.merge(order, going, current)
    chain = list(current)
    for added, after in purge_undo.insertions(merged, {name: rule(int(name)) for name in going}):
        chain.insert(0 if after is None else chain.index(after) + 1, str(added.position))
    assert chain == merged


def test_plain_data_and_back() -> None:
    tables = [SavedTable(KEY, {"PREROUTING": ["4", "5"]}, {"5": rule(5)}), SavedTable(KEY._replace(name="kube-proxy"), {}, {}, True)]
    assert purge_undo.from_json(json.loads(json.dumps(purge_undo.as_json(tables)))) == tables


def test_only_what_is_missing_and_possible_is_put_back() -> None:
    table = SavedTable(KEY, {"PREROUTING": ["4", "5", "6"]}, {"4": rule(4), "5": rule(5), "6": rule(6, "KUBE-GONE")})
    assert set(purge_undo.missing(table, "PREROUTING", ["4"], {"PREROUTING", "KUBE-SERVICES"})) == {"5"}


def test_the_counters_are_those_at_the_moment_of_removal() -> None:
    table = SavedTable(KEY, {"PREROUTING": ["4", "5"]}, {"4": rule(4), "5": rule(5)})
    (exact,) = purge_undo.with_counters([table], {(KEY, 4): rule(4)._replace(packets=8)})
    assert (exact.rules["4"].packets, exact.rules["5"].packets) == (8, 7)
