# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables, and where they go."""

from __future__ import annotations

import pytest
from tabular import markers, put, table

BEGIN, END = markers("place")


def test_all_but_the_first_columns_are_set_to_the_right() -> None:
    assert table(["a", "b"], [["1", "2"]]) == ["| a | b |", "| --- | ---: |", "| 1 | 2 |"]
    assert table(["a", "b"], [], left=2) == ["| a | b |", "| --- | --- |"]


def test_the_text_goes_between_the_markers() -> None:
    document = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    written = put(document, "place", "new")
    assert written == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    assert put(written, "place", "new") == written


@pytest.mark.parametrize("document", ["", BEGIN, f"{END}{BEGIN}", 2 * f"{BEGIN}{END}"])
def test_a_document_without_markers_is_refused(document: str) -> None:
    with pytest.raises(ValueError, match="once each"):
        put(document, "place", "new")
