# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What putting unhooked rules back takes: which rules, where they stood, and where that is now. Pure functions.

A rule is recognised by its handle on nft, which never changes and is never used again; on legacy, which has no such
thing, by its chain, its content and how many equal ones stand before it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.netops.cni_migration.plugins.module_utils.purge_plan import Plan, TablePlan
from ansible_collections.netops.cni_migration.plugins.module_utils.ruleset import Rule, Table, TableKey
from ansible_collections.netops.cni_migration.plugins.module_utils.xt_blob import content


@dataclass
class SavedTable:
    """What an unhooking takes out of one table.

    ``orders`` has the identities of all rules of each chain that loses some, ``rules`` the ones it loses by identity.
    ``slept`` is set for a native table that was put to sleep as a whole.
    """

    key: TableKey
    orders: dict[str, list[str]]
    rules: dict[str, Rule]
    slept: bool = False


def identities(key: TableKey, rules: Iterable[Rule]) -> list[str]:
    """The identity of each rule of one chain, in order."""
    if key.backend == "nft":
        return [str(rule.position) for rule in rules]
    seen: dict[str, int] = {}
    found = []
    for rule in rules:
        digest = hashlib.sha256(rule.chain.encode("utf-8", "surrogateescape") + content(key.family, rule)).hexdigest()[:24]
        seen[digest] = seen.get(digest, 0) + 1
        found.append(f"{digest}-{seen[digest]}")
    return found


def going_rules(entry: TablePlan) -> list[Rule]:
    """The rules a table plan takes out of chains that stay."""
    return [rule for rule, _owner in entry.hooks] + entry.references


def saved(plan: Plan) -> list[SavedTable]:
    """What unhooking ``plan`` takes out of each table."""
    found = []
    for entry in plan.tables:
        going = {rule.position: rule for rule in going_rules(entry)}
        chains = {rule.chain for rule in going.values()}
        table = SavedTable(entry.table.key, {}, {}, bool(entry.drop) and not entry.table.asleep)
        for chain, rules in _by_chain(entry.table).items():
            if chain in chains:
                table.orders[chain] = identities(entry.table.key, rules)
                table.rules.update((name, rule) for name, rule in zip(table.orders[chain], rules) if rule.position in going)
        if table.rules or table.slept:
            found.append(table)
    return found


def with_counters(tables: Iterable[SavedTable], removed: Mapping[tuple[TableKey, int], Rule]) -> list[SavedTable]:
    """The tables with each rule as it was when it was removed, by table and position."""
    return [
        SavedTable(table.key, table.orders, {name: removed.get((table.key, rule.position), rule) for name, rule in table.rules.items()}, table.slept)
        for table in tables
    ]


def missing(table: SavedTable, chain: str, current: Sequence[str], chains: set[str]) -> dict[str, Rule]:
    """The saved rules of a chain that are not there and can be: those that jump need the chain they jump to."""
    return {name: rule for name, rule in table.rules.items() if rule.chain == chain and name not in current and (not rule.jumps or rule.target in chains)}


def merge(order: Iterable[str], going: Collection[str], current: Sequence[str]) -> list[str]:
    """``current`` with each of ``going`` put back where it stood in ``order``.

    That is behind the nearest one before it that is still there, else before the nearest behind it, else at the end.
    What somebody added meanwhile keeps its place, and what is there already is not put back twice.
    """
    present = set(current)
    behind: dict[str, list[str]] = {}
    waiting: list[str] = []
    before: dict[str, list[str]] = {}
    anchor = None
    for name in order:
        if name in present:
            if anchor is None:
                before[name], waiting = waiting, []
            anchor = name
        elif name in going:
            (waiting if anchor is None else behind.setdefault(anchor, [])).append(name)
    return [*(other for name in current for other in (*before.get(name, ()), name, *behind.get(name, ()))), *waiting]


def insertions(merged: Sequence[str], added: Mapping[str, Rule]) -> list[tuple[Rule, str | None]]:
    """Which rule to put behind which existing one (None: first), in an order that leads to ``merged``.

    Of several in a row the last comes first, since all of them go directly behind the same existing rule.
    """
    steps: list[tuple[Rule, str | None]] = []
    for index in range(len(merged) - 1, -1, -1):
        if merged[index] in added:
            anchor = next((name for name in reversed(merged[:index]) if name not in added), None)
            steps.append((added[merged[index]], anchor))
    return steps


def as_json(tables: Iterable[SavedTable]) -> list[dict[str, object]]:
    """The tables as plain data."""
    return [
        {**table.key._asdict(), "slept": table.slept, "orders": table.orders, "rules": {name: _plain(rule) for name, rule in table.rules.items()}}
        for table in tables
    ]


def from_json(data: Iterable[dict[str, object]]) -> list[SavedTable]:
    """The tables of :func:`as_json`. Raises :class:`ValueError`, :class:`KeyError` or :class:`TypeError` for anything else."""
    tables = []
    for entry in data:
        rules = {
            name: Rule(**{**rule, "conditions": frozenset(rule["conditions"]), "sets": tuple(rule["sets"]), "raw": base64.b64decode(rule["raw"])})
            for name, rule in dict(entry["rules"]).items()  # type: ignore[call-overload]
        }
        key = TableKey(str(entry["backend"]), str(entry["family"]), str(entry["name"]))
        tables.append(SavedTable(key, dict(entry["orders"]), rules, bool(entry["slept"])))  # type: ignore[call-overload]
    return tables


def _plain(rule: Rule) -> dict[str, object]:
    return {**rule._asdict(), "conditions": sorted(rule.conditions), "raw": base64.b64encode(rule.raw).decode()}


def _by_chain(table: Table) -> dict[str, list[Rule]]:
    chains: dict[str, list[Rule]] = {}
    for rule in table.rules:
        chains.setdefault(rule.chain, []).append(rule)
    return chains
