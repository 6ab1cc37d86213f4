# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a node's move began and ended, as the node tells it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils import move_times
from ansible_collections.netops.cni_migration.plugins.module_utils.node_state import NodeView, StateError

NOW = 1_700_000_000.0
STAMP = "2023-11-14T22:13:20Z"


def node(times: Any = None, cordoned: bool = False) -> NodeView:
    annotations = {} if times is None else {move_times.TIMES: json.dumps(times)}
    return NodeView.from_api({"metadata": {"name": "w1", "annotations": annotations}, "spec": {"unschedulable": cordoned}})


def test_stamps_are_utc() -> None:
    assert move_times.stamp(NOW) == STAMP and move_times.epoch(STAMP) == NOW


PATCH = {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}, "spec": {"unschedulable": True}}


def begun(view: NodeView, now: float = NOW) -> dict[str, Any] | None:
    """The record that the patch begins; None when it lets an earlier one go on."""
    patch = move_times.begun(PATCH, view, now)
    text = patch["metadata"]["annotations"].pop(move_times.TIMES, None)
    assert patch == PATCH
    return None if text is None else json.loads(text)


def test_a_node_that_somebody_else_cordoned_was_not_cordoned_by_its_move() -> None:
    assert begun(node()) == {"started": STAMP, "cordoned": STAMP}
    assert begun(node(cordoned=True)) == {"started": STAMP}


def test_an_interrupted_move_keeps_its_first_moments() -> None:
    times = {"started": STAMP, "left": STAMP}
    assert begun(node(times), NOW + 60) is None
    assert move_times.departure(node(times), NOW + 60) == {}


def test_a_move_that_is_over_leaves_the_next_one_only_when_the_node_was_away() -> None:
    first = {"started": STAMP, "left": STAMP, "finished": STAMP, "drain_s": 3.0}
    second = begun(node(first), NOW + 60)
    assert second == {"started": "2023-11-14T22:14:20Z", "cordoned": "2023-11-14T22:14:20Z", "earlier": [[STAMP, STAMP]]}
    third = begun(node({**second, "left": "l", "finished": "f"}), NOW)
    assert third is not None and third["earlier"] == [[STAMP, STAMP], ["l", "f"]]
    assert begun(node({"started": STAMP, "finished": STAMP})) == {"started": STAMP, "cordoned": STAMP}


def test_only_a_node_that_is_being_moved_leaves() -> None:
    assert move_times.departure(node(), NOW) == {}
    assert move_times.departure(node({"started": STAMP}), NOW) == {"left": STAMP}


def test_only_a_node_that_is_being_moved_is_given_back() -> None:
    assert move_times.arrival(node(), NOW) == {}
    assert move_times.arrival(node({"started": STAMP}), NOW) == {"finished": STAMP}


def test_a_reboot_took_as_long_as_the_node_was_away() -> None:
    assert move_times.reboot_seconds(node({"left": STAMP}), NOW + 31.26) == {"reboot_s": 31.3}
    assert move_times.reboot_seconds(node({"started": STAMP}), NOW) == {}


def test_figures_are_added_to_the_record_and_to_whatever_the_patch_changes() -> None:
    noted = move_times.noted(PATCH, node({"started": STAMP}), {"drain_s": 3.0})
    assert json.loads(noted["metadata"]["annotations"].pop(move_times.TIMES)) == {"started": STAMP, "drain_s": 3.0}
    assert noted == PATCH
    assert move_times.noted(PATCH, node(), {}) is PATCH


def test_a_record_that_is_none_is_an_error_naming_node_and_annotation() -> None:
    with pytest.raises(StateError, match=r"annotation cni-migration.netops/times of node w1"):
        move_times.of(node([1]))
