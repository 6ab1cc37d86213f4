# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a purge takes away and what it leaves, decided from data alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Optional

from ansible_collections.netops.cni_migration.plugins.module_utils import ownership
from ansible_collections.netops.cni_migration.plugins.module_utils.ruleset import Rule, Table

FOREIGN = "foreign"

# Counts by backend, family, table and owner; each {"chains": int, "rules": int or None when they were not counted}.
Counts = dict[str, dict[str, dict[str, dict[str, dict[str, Optional[int]]]]]]


@dataclass
class TablePlan:
    """What happens to one table.

    ``chains`` go, with what is in them; each maps to its owner. ``hooks`` are the owners' own rules in chains that
    stay; each has its owner beside it. ``references`` are rules of somebody else that jump into a chain that goes.
    ``drop`` is the owner of a native table that goes as a whole.
    """

    table: Table
    chains: dict[str, str] = field(default_factory=dict)
    hooks: list[tuple[Rule, str]] = field(default_factory=list)
    references: list[Rule] = field(default_factory=list)
    drop: str = ""

    @property
    def empty(self) -> bool:
        """Whether this table keeps all it has."""
        return not (self.chains or self.hooks or self.drop)


@dataclass
class Plan:
    """A whole purge: one :class:`TablePlan` per table, the ipsets that go, and the foreign rules that match on one."""

    tables: list[TablePlan]
    ipsets: list[str] = field(default_factory=list)
    set_users: list[tuple[Table, Rule]] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to remove."""
        return not self.ipsets and all(table.empty for table in self.tables)


def goes_by_name(name: str, owners: Collection[str]) -> bool:
    """Whether a chain goes whatever is in it; the rules of such a chain need not be read."""
    return name != ownership.ADMIN_CHAIN and ownership.chain_owner(name) in owners


def is_native(family: str, name: str, owners: Collection[str]) -> bool:
    """Whether a table of this name is one that its owner keeps to itself."""
    return ownership.NATIVE_TABLES.get((family, name)) in owners


def owned_ipsets(names: Iterable[str], owners: Collection[str]) -> list[str]:
    """The ipsets among ``names`` that go."""
    return [name for name in names if ownership.IPSETS.get(name) in owners]


def plan(tables: Iterable[Table], owners: Collection[str], ipsets: dict[str, int] | None = None) -> Plan:
    """The purge of what ``owners`` have in ``tables``. ``ipsets`` maps the ones that go to the kernel's number of each."""
    ipsets = ipsets or {}
    plans = [_plan_table(table, owners) for table in tables]
    numbers = set(ipsets.values())
    going = {id(rule) for table in plans for rule, _owner in table.hooks}
    users = [
        (entry.table, rule)
        for entry in plans
        for rule in entry.table.rules
        if rule.chain not in entry.chains and id(rule) not in going and numbers.intersection(rule.sets)
    ]
    return Plan(plans, sorted(ipsets), users)


def removed(result: Plan) -> Counts:
    """Counts of what goes, by backend, family, table and owner."""
    tally: Counts = {}
    for entry in result.tables:
        if entry.drop:
            counted = list(entry.table.chains.values())
            _count(tally, entry.table, entry.drop, len(counted), None if None in counted else sum(rules or 0 for rules in counted))
            continue
        for name, owner in entry.chains.items():
            _count(tally, entry.table, owner, 1, entry.table.chains[name])
        for _rule, owner in entry.hooks:
            _count(tally, entry.table, owner, 0, 1)
        for _rule in entry.references:
            _count(tally, entry.table, FOREIGN, 0, 1)
    return tally


def kept(result: Plan) -> Counts:
    """Counts of what stays, by backend, family, table and owner; what nobody of ours owns is ``foreign``."""
    tally: Counts = {}
    for entry in result.tables:
        if entry.drop:
            continue
        gone = {id(rule) for rule, _owner in entry.hooks} | {id(rule) for rule in entry.references}
        owners = {name: ownership.chain_owner(name) or FOREIGN for name in entry.table.chains if name not in entry.chains}
        for owner in owners.values():
            _count(tally, entry.table, owner, 1, 0)
        for rule in entry.table.rules:
            if rule.chain in owners and id(rule) not in gone:
                _count(tally, entry.table, _rule_owner(entry.table, rule, owners[rule.chain]), 0, 1)
    return tally


def _plan_table(table: Table, owners: Collection[str]) -> TablePlan:
    result = TablePlan(table)
    if table.native:
        result.drop = ownership.NATIVE_TABLES[table.key.family, table.key.name]
        return result
    for name, rules in table.chains.items():
        owner = ownership.chain_owner(name)
        if owner and owner in owners and name not in table.base and not (name == ownership.ADMIN_CHAIN and rules):
            result.chains[name] = owner
    for rule in table.rules:
        if rule.chain in result.chains:
            continue
        if rule.jumps and rule.target in result.chains:
            if ownership.is_hook(table.key.name, rule):
                result.hooks.append((rule, result.chains[rule.target]))
            else:
                result.references.append(rule)
        else:
            owner = ownership.stray_owner(table.key.name, rule)
            if owner and owner in owners:
                result.hooks.append((rule, owner))
    return result


def _rule_owner(table: Table, rule: Rule, chain_owner: str) -> str:
    """Whose rule this is: the chain's owner's, or, in a foreign chain, whose hook it is."""
    if chain_owner != FOREIGN:
        return chain_owner
    if rule.jumps and ownership.is_hook(table.key.name, rule):
        return ownership.chain_owner(rule.target) or FOREIGN
    return ownership.stray_owner(table.key.name, rule) or FOREIGN


def _count(tally: Counts, table: Table, owner: str, chains: int, rules: int | None) -> None:
    leaf = tally.setdefault(table.key.backend, {}).setdefault(table.key.family, {}).setdefault(table.key.name, {})
    before = leaf.get(owner, {"chains": 0, "rules": 0})
    leaf[owner] = {"chains": (before["chains"] or 0) + chains, "rules": None if rules is None or before["rules"] is None else before["rules"] + rules}
