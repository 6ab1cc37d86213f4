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


def test_a_node_that_somebody_else_cordoned_was_not_cordoned_by_its_move() -> None:
    assert move_times.start(node(), NOW) == {"started": STAMP, "cordoned": STAMP}
    assert move_times.start(node(cordoned=True), NOW) == {"started": STAMP}


def test_an_interrupted_move_keeps_its_first_moments() -> None:
    times = {"started": STAMP, "left": STAMP}
    assert move_times.start(node(times), NOW + 60) == {} == move_times.departure(node(times), NOW + 60)


def test_only_a_node_that_is_being_moved_leaves() -> None:
    assert move_times.departure(node(), NOW) == {}
    assert move_times.departure(node({"started": STAMP}), NOW) == {"left": STAMP}


def test_a_reboot_took_as_long_as_the_node_was_away() -> None:
    assert move_times.reboot_seconds(node({"left": STAMP}), NOW + 31.26) == {"reboot_s": 31.3}
    assert move_times.reboot_seconds(node({"started": STAMP}), NOW) == {}


def test_figures_are_added_to_the_record_and_to_whatever_the_patch_changes() -> None:
    patch = {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}, "spec": {"unschedulable": None}}
    noted = move_times.noted(patch, node({"started": STAMP}), {"drain_s": 3.0})
    assert json.loads(noted["metadata"]["annotations"].pop(move_times.TIMES)) == {"started": STAMP, "drain_s": 3.0}
    assert noted == patch
    assert move_times.noted(patch, node(), {}) is patch
    assert move_times.forgotten(patch)["metadata"]["annotations"] == {"c": "d", move_times.TIMES: None}


def test_a_record_that_is_none_is_an_error_naming_node_and_annotation() -> None:
    with pytest.raises(StateError, match=r"annotation cni-migration.netops/times of node w1"):
        move_times.of(node([1]))
