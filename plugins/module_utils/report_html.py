# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTML in which nothing that came from a cluster can become markup: whatever is not :class:`Html` already is escaped. Pure."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

UNKNOWN = "—"
"""What stands for something that was not measured or is not there."""


class Html(str):
    """Text that is HTML."""

    __slots__ = ()


def escaped(value: object) -> Html:
    """The value as HTML: what is HTML stays, all else becomes text."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def joined(parts: Iterable[object]) -> Html:
    """The parts one after the other."""
    return Html("".join(escaped(part) for part in parts))


def element(name: str, *children: object, **attributes: object) -> Html:
    """An element; an attribute's trailing underscore is dropped (``class_``), inner ones become hyphens, and None leaves it out."""
    written = "".join(f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"' for key, value in attributes.items() if value is not None)
    return Html(f"<{name}{written}>{joined(children)}</{name}>")


FEW_ROWS = 14
"""Up to so many rows are kept together on paper."""


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, and what it holds where that is not plain text (``figure`` or ``name``)."""

    heading: str
    kind: str | None = None


def texts(*headings: str) -> list[Column]:
    """Columns of plain text."""
    return [Column(heading) for heading in headings]


def names(*headings: str) -> list[Column]:
    """Columns of short names, which are not broken."""
    return [Column(heading, "name") for heading in headings]


def figures(*headings: str) -> list[Column]:
    """Columns of figures."""
    return [Column(heading, "figure") for heading in headings]


def table(caption: str, columns: Sequence[Column], rows: Sequence[Sequence[object]], *, summary: Iterable[Sequence[object]] = ()) -> Html:
    """A table whose first column names the row, with rows of sums below. Wide ones scroll in a region of their own."""

    def row(cells: Sequence[object]) -> Html:
        first, *others = zip(columns, cells)
        return element("tr", _cell("th", *first, scope="row"), *(_cell("td", column, cell) for column, cell in others))

    head = element("tr", *(_cell("th", column, column.heading, scope="col") for column in columns))
    sums = joined(map(row, summary))
    body = element("thead", head) + element("tbody", *map(row, rows)) + (element("tfoot", sums) if sums else "")
    content = element("table", element("caption", element("span", caption)), Html(body))
    return element("div", content, class_="scroll" if len(rows) > FEW_ROWS else "scroll few", tabindex=0, role="region", aria_label=caption)


def _cell(name: str, column: Column, value: object, scope: str | None = None) -> Html:
    return element(name, value, class_=column.kind, scope=scope)


def plain_table(caption: str, entries: Sequence[dict[str, Any]]) -> Html:
    """A table of dictionaries: their keys are the headings, in the order they first come in."""
    keys = list(dict.fromkeys(key for entry in entries for key in entry))
    columns = [Column(key.replace("_", " "), "figure" if all(_is_figure(entry.get(key, 0)) for entry in entries) else None) for key in keys]
    return table(caption, columns, [[cell(entry.get(key)) for key in keys] for entry in entries])


def facts(caption: str, told: Mapping[str, Any]) -> Html:
    """A table of one dictionary: a row for each key."""
    rows = [(key.replace("_ms", "").replace("_", " "), milliseconds(value) if key.endswith("_ms") else cell(value)) for key, value in told.items()]
    return table(caption, [*texts("What"), *figures("Measured")], rows)


def _is_figure(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def cell(value: object) -> str:
    """Any JSON value as a person reads it."""
    if value is None or value == "":
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {cell(each)}" for key, each in value.items()) or UNKNOWN
    if isinstance(value, (list, tuple)):
        return ", ".join(map(cell, value)) or UNKNOWN
    return str(value)


def count(value: float | None) -> str:
    """A number of things."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def seconds(value: float | None) -> str:
    """Seconds, with a tenth where it can be told."""
    return UNKNOWN if value is None else f"{value:,.1f} s"


def milliseconds(value: float | None) -> str:
    """Milliseconds, from ten seconds on as seconds."""
    if value is None:
        return UNKNOWN
    if value >= 10_000:
        return f"{value / 1000:,.1f} s"
    return f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms"


def moment(epoch: float, digits: int = 0) -> str:
    """The time of day in UTC."""
    text = datetime.fromtimestamp(epoch, timezone.utc).strftime("%H:%M:%S.%f")
    return text[: 9 + digits] if digits else text[:8]


def words(number: int, thing: str) -> str:
    """A number with its noun."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
