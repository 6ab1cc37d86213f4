# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A purge in words: rules as text, the diff, and the reasons to refuse."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.netops.cni_migration.plugins.module_utils import ownership
from ansible_collections.netops.cni_migration.plugins.module_utils.purge_plan import FOREIGN, Plan, TablePlan
from ansible_collections.netops.cni_migration.plugins.module_utils.ruleset import Rule, Table, TableKey

# Longest list of lines shown for one owner in one table.
SHOWN_LINES = 400


def rule_text(rule: Rule) -> str:
    """The rule as far as it has been read: where, what kinds of matches, comment and target."""
    parts = [f"-A {rule.chain}", *(f"[{name}]" for name in sorted(rule.conditions))]
    if rule.comment:
        parts.append(f'-m comment --comment "{rule.comment}"')
    if rule.target:
        parts.append(f"-j {rule.target}")
    return " ".join(parts)


def saved_rules(output: str) -> dict[str, list[str]]:
    """The rule lines of one table of ``iptables-save`` output, by chain and in order."""
    chains: dict[str, list[str]] = {}
    for line in output.splitlines():
        if line.startswith("-A "):
            chains.setdefault(line.split(" ", 2)[1], []).append(line)
    return chains


def diff(plan: Plan, texts: dict[TableKey, dict[str, list[str]]]) -> dict[str, str]:
    """The rules that go, grouped by table and owner, as Ansible shows a diff: all of it is before, nothing after.

    ``texts`` holds the rule lines of the tables that were small enough to print; elsewhere the chains are named.
    """
    lines: list[str] = []
    for entry in plan.tables:
        if entry.empty and not entry.references:
            continue
        groups = _lines_by_owner(entry, texts.get(entry.table.key, {}))
        for owner in (*ownership.OWNERS, FOREIGN):
            if owner in groups:
                lines.append(f"# {entry.table.key.backend} {entry.table.key.family} table {entry.table.key.name}, owner {owner}")
                lines += _shortened(groups[owner])
    if plan.ipsets:
        lines += ["# ipsets", *_shortened(plan.ipsets)]
    return {"before_header": "owned rules", "after_header": "owned rules", "before": "".join(f"{line}\n" for line in lines), "after": ""}


def refusals(plan: Plan, processes: Iterable[tuple[int, str]], *, force: bool, drop_foreign_jumps: bool) -> list[str]:
    """Why the plan may not be carried out, each with the way out; empty when it may."""
    reasons = []
    running = ", ".join(f"{name} (process {pid})" for pid, name in processes)
    if running and not force:
        reasons.append(f"{running} still runs on this node and would write its rules again; stop it first, or set force")
    for entry in plan.tables:
        if entry.references and not drop_foreign_jumps:
            reasons.append(
                f"{_table_name(entry.table)}: rules of somebody else jump into chains that would go: "
                f"{'; '.join(_shortened([rule_text(rule) for rule in entry.references], 10))}; remove them, or set drop_foreign_jumps to remove them here"
            )
    for table, rule in plan.set_users:
        reasons.append(f"{_table_name(table)}: a rule of somebody else matches on an ipset that would go: {rule_text(rule)}; remove that rule first")
    return reasons


def _table_name(table: Table) -> str:
    return f"{table.key.backend} {table.key.family} table {table.key.name}"


def _lines_by_owner(entry: TablePlan, texts: dict[str, list[str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    if entry.drop:
        return {entry.drop: [f"table {entry.table.key.name}", *(f":{name}" for name in entry.table.chains)]}
    numbers = _numbers_in_chain(entry.table)
    for rule, owner in (*entry.hooks, *((rule, FOREIGN) for rule in entry.references)):
        known, number = texts.get(rule.chain, []), numbers[rule.position]
        groups.setdefault(owner, []).append(known[number] if number < len(known) else rule_text(rule))
    for name, owner in entry.chains.items():
        groups.setdefault(owner, []).append(f":{name}")
        groups[owner] += texts.get(name, [])
    return groups


def _numbers_in_chain(table: Table) -> dict[int, int]:
    """Each rule's place in its chain, counted from 0, by the rule's position."""
    places: dict[int, int] = {}
    lengths: dict[str, int] = {}
    for rule in table.rules:
        places[rule.position] = lengths.get(rule.chain, 0)
        lengths[rule.chain] = places[rule.position] + 1
    return places


def _shortened(lines: list[str], limit: int = SHOWN_LINES) -> list[str]:
    if len(lines) <= limit:
        return lines
    return [*lines[:limit], f"... and {len(lines) - limit} more"]
