# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines of the preflight as one table for people, short however many nodes there are. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ansible_collections.netops.cni_migration.plugins.module_utils.preflight_model import LEVELS, OK, counted

HEADINGS = ("LEVEL", "CHECK", "WHERE", "FACT")
ADVICE = "-> "
CLUSTER = "cluster"

Row = tuple[str, str, str, str]


def table(findings: Iterable[Mapping[str, str]]) -> list[str]:
    """The lines of the table for ``findings``, each as the module returns it: refusals first, the advice below each fact, a sum at the end.

    What is the same on several nodes is one row. So is a check that is ok on several, whatever the facts.
    """
    groups: dict[tuple[str, ...], list[Mapping[str, str]]] = {}
    for each in findings:
        shared = () if each["level"] == OK else (each["fact"], each["advice"])
        scope = "" if each["node"] else CLUSTER
        groups.setdefault((each["level"], each["check"], scope, *shared), []).append(each)
    ordered = sorted(groups.values(), key=lambda group: (LEVELS.index(group[0]["level"]), group[0]["node"], group[0]["check"]))
    rows = [(row(group), group[0]["advice"]) for group in ordered]
    widths = [max(len(line[column]) for line in [HEADINGS, *(cells for cells, _advice in rows)]) for column in range(len(HEADINGS) - 1)]
    lines = [_line(HEADINGS, widths)]
    for cells, advice in rows:
        lines.append(_line(cells, widths))
        if advice:
            lines.append(_line(("", "", "", ADVICE + advice), widths))
    return [*lines, tally(group[0]["level"] for group in groups.values() for _each in group)]


def row(group: Sequence[Mapping[str, str]]) -> Row:
    """One row for the same check of one level on one node, on several or on the cluster."""
    first = group[0]
    if len(group) == 1:
        return first["level"], first["check"], first["node"] or CLUSTER, first["fact"]
    names = sorted(each["node"] for each in group)
    facts = {each["fact"] for each in group}
    if first["level"] != OK:
        fact = f"{first['fact']} ({', '.join(names)})"
    else:
        fact = first["fact"] if len(facts) == 1 else f"{first['node']}: {first['fact']}; and so on"
    return first["level"], first["check"], counted(len(names), "node"), fact


def tally(levels: Iterable[str]) -> str:
    """How many lines there are of each level."""
    seen = list(levels)
    return ", ".join(f"{seen.count(level)} {level}" for level in LEVELS)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths)]
    return "  ".join([*padded, cells[-1]])
