# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of the README, as Markdown, from the records of runs. Pure.

A record is what bench.py writes for each run, see there. Of several runs the median is told, with the lowest and the highest.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.runbook.figures import ROWS, per_node, total_of
from tabular import table

CONTENDERS = {
    "script": "the runbook's commands",
    "reboot": "`migrate.yml`",
    "in_place": "`migrate.yml`, `cilium_migration_switch=in_place`",
    "runbook": "`migrate.yml`, `cilium_migration_profile=runbook`",
}
PLACE = "runbook-bench"
"""The name of the markers between which the tables stand."""

NOT_MEASURED = "not measured yet"

Run = Mapping[str, Any]


def spread(values: Sequence[float | None], form: str) -> str:
    """The median, and of several values the lowest and the highest; ``form`` is a format specification."""
    known = [value for value in values if value is not None]
    if not known:
        return NOT_MEASURED
    text = format(statistics.median(known), form)
    return text if len(known) == 1 else f"{text} ({min(known):{form}}-{max(known):{form}})"


def verdicts(runs: Sequence[Run]) -> str:
    """``lost``, or ``2 ok, 1 lost`` where they differ."""
    counted = Counter(run["verdict"] for run in runs if run["verdict"])
    if not counted:
        return NOT_MEASURED
    return next(iter(counted)) if len(counted) == 1 else ", ".join(f"{count} {verdict}" for verdict, count in counted.most_common())


def costs_table(ended: Mapping[str, Sequence[Run]]) -> list[str]:
    """What each contender lost, and how long it took."""
    columns: dict[str, Callable[[Sequence[Run]], str]] = {
        "requests": lambda runs: spread([run["requests"] for run in runs], ",.0f"),
        "failed": lambda runs: spread([run["failed"] for run in runs], ",.0f"),
        "longest gap, ms": lambda runs: spread([run["max_gap_ms"] for run in runs], ",.0f"),
        "API server silent, s": lambda runs: spread([None if run["api_silence_ms"] is None else run["api_silence_ms"] / 1000 for run in runs], ".1f"),
        "a node, s": lambda runs: spread([per_node(run) for run in runs], ".0f"),
        "total, s": lambda runs: spread([total_of(run) for run in runs], ".0f"),
        "with the monitor, s": lambda runs: spread([run["total_s"] for run in runs if run["contender"] != "script"], ".0f") if _ansible(runs) else "-",
        "verdict": verdicts,
    }
    rows = [[CONTENDERS[name], *(column(runs) for column in columns.values())] for name, runs in ended.items()]
    return table(["", *columns], rows)


def seconds_table(ended: Mapping[str, Sequence[Run]]) -> list[str]:
    """Where the seconds went."""
    rows = []
    for row, title in ROWS.items():
        cells = []
        for runs in ended.values():
            seconds = [run["phases"].get(row) for run in runs]
            cells.append("-" if runs and not any(seconds) else spread([value or 0.0 for value in seconds], ".1f"))
        rows.append([title, *cells])
    rows.append(["**all of it**", *(spread([run["total_s"] for run in runs], ".1f") for runs in ended.values())])
    idle = ([run.get("idle_s") for run in runs] for runs in ended.values())
    rows.append(["run again, with nothing to do", *(spread(values, ".1f") if any(values) else "-" for values in idle)])
    return table(["seconds", *(CONTENDERS[name] for name in ended)], rows)


def early(runs: Sequence[Run]) -> list[str]:
    """A sentence for each run that did not come to its end."""
    return [
        f"Ended early, and in none of the figures: {CONTENDERS[run['contender']]}, round {run['round']}, {run['ended']}"
        + (f", in {run['stopped_in']}" if run["stopped_in"] else "")
        + "."
        for run in runs
        if run["ended"] != "well"
    ]


def tables(runs: Sequence[Run]) -> str:
    """Everything that stands between the markers."""
    well = [run for run in runs if run["ended"] == "well"]
    ended = {name: [run for run in well if run["contender"] == name] for name in CONTENDERS}
    where = f"Three nodes on {_cores(well)} cores, {min(run['began'] for run in well)[:10]}. " if well else ""
    note = f"{where}{_how_many(ended)}A node's time is from its cordon to its uncordoning; the total is without the monitor, the evidence and the report."
    own = "Ansible itself is the time in which no task worked by its own account; a task that gives no account counts as working."
    parts = [costs_table(ended), [note], seconds_table(ended), [own], *([line] for line in early(runs))]
    return "\n\n".join("\n".join(part) for part in parts)


def _ansible(runs: Sequence[Run]) -> bool:
    return not runs or runs[0]["contender"] != "script"


def _how_many(ended: Mapping[str, Sequence[Run]]) -> str:
    counts = sorted({len(runs) for runs in ended.values() if runs})
    if not counts or counts == [1]:
        return "One run each. " if counts else ""
    return f"Medians of {' to '.join(str(count) for count in sorted({counts[0], counts[-1]}))} runs, the lowest and the highest in brackets. "


def _cores(runs: Sequence[Run]) -> str:
    return " or ".join(str(cores) for cores in sorted({run["cores"] for run in runs}))
