# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables in Markdown, and their place in a document. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """The lines of a table; all but the first ``left`` columns are set to the right. The rows may contain the sign that parts columns."""
    ruler = ["---" if number < left else "---:" for number in range(len(titles))]
    return [f"| {' | '.join(line)} |" for line in (titles, ruler, *([cell.replace("|", "\\|") for cell in row] for row in rows))]


def markers(name: str) -> tuple[str, str]:
    """What stands before and after a part of a document that a program writes."""
    return f"<!-- {name} -->", f"<!-- /{name} -->"


def put(document: str, name: str, text: str) -> str:
    """The document with the text between its markers; raises :class:`ValueError` where these are not there once each, in order."""
    begin, end = markers(name)
    head, found, rest = document.partition(begin)
    old, found_end, tail = rest.partition(end)
    if not found or not found_end or begin in old + tail or end in head + tail:
        raise ValueError(f"the document must have {begin} and, after it, {end} once each")
    return f"{head}{begin}\n{text}\n{end}{tail}"
