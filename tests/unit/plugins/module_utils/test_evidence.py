# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils import evidence
from ansible_collections.netops.cni_migration.plugins.module_utils.node_state import NodeView

TIMES = {"started": "2025-01-16T14:30:00Z", "cordoned": "2025-01-16T14:30:05Z", "finished": "2025-01-16T14:31:30Z", "drain_s": 8.2, "verify_s": 3.0}


def rules(count: int | None) -> dict[str, Any]:
    return {"nft": {"ipv4": {"nat": {"kube_proxy": {"chains": 2, "rules": count}}, "filter": {"flannel": {"chains": 1, "rules": 1}}}}}


def node(name: str = "w1", **changes: Any) -> dict[str, Any]:
    cleaned = {"rules": {"removed": rules(9), "kept": rules(2)}, "purge_seconds": 0.1, "residue": []}
    return {
        "name": name,
        "state": "migrated",
        "before": {"rules": {"removed": rules(9), "kept": rules(4)}},
        "times": TIMES,
        "cleaned": cleaned,
        "reported": "",
        **changes,
    }


def test_durations_come_from_the_moments_and_what_was_not_measured_is_left_out() -> None:
    assert evidence.timings(TIMES) == {"seconds": 90.0, "unschedulable_s": 85.0, "drain_s": 8.2, "verify_s": 3.0}
    assert evidence.timings({"started": TIMES["started"]}) == {}


@pytest.mark.parametrize(("counts", "total"), [({}, 0), (rules(9), 10), (rules(None), None)])
def test_rules_are_summed_unless_one_table_was_not_counted(counts: dict[str, Any], total: int | None) -> None:
    assert evidence.rule_total(counts) == total


def test_rules_before_and_after_leave_out_what_is_unknown() -> None:
    cleaned = node()["cleaned"]
    assert evidence.rule_change(node()["before"], cleaned) == {"before": 15, "after": 3, "purge_seconds": 0.1}
    assert evidence.rule_change({}, cleaned) == {"after": 3, "purge_seconds": 0.1}
    assert evidence.rule_change({"rules": {"removed": rules(None), "kept": rules(4)}}, cleaned) == {"after": 3, "purge_seconds": 0.1}


def told(*nodes: dict[str, Any], old_world: bool = False, outside: tuple[str, ...] = ()) -> dict[str, Any]:
    return evidence.summary(nodes, old_world=old_world, outside=outside)


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        (told(node("w1"), node("w2")), "migrated"),
        (told(node("w1"), node("w2", state="flannel", cleaned={})), "partial"),
        (told(node("w1"), node("w2", cleaned={})), "partial"),
        (told(node("w1"), old_world=True), "partial"),
        (told(), "partial"),
        (told(node("w1"), outside=("default/a 10.244.0.2",)), "residue"),
        (told(node("w1", cleaned={**node()["cleaned"], "residue": ["link cni0"]})), "residue"),
    ],
)
def test_the_verdict_is_migrated_only_when_nothing_is_left(result: dict[str, Any], verdict: str) -> None:
    assert result["verdict"] == verdict


def test_the_summary_tells_of_migrated_and_cleaned_nodes_only() -> None:
    result = told(node("w1"), node("w2", state="drained", cleaned={}, times={"started": TIMES["started"]}))
    assert result["nodes"] == [{"name": "w1", "seconds": 90.0, "unschedulable_s": 85.0, "drain_s": 8.2, "verify_s": 3.0}]
    assert (list(result["rules"]), result["residue"]) == (["w1"], {"w1": []})


def test_evidence_is_due_until_every_migrated_node_names_the_verdict() -> None:
    first, later = "partial 20250116T143000Z", "migrated 20250116T150000Z"
    assert told(node("w1", reported=later), node("w2", reported=first))["due"] is True
    done = told(node("w1", reported=later), node("w2", reported=later))
    assert (done["due"], done["last"]) == (False, "20250116T150000Z")
    assert told(node("w1", state="flannel", cleaned={}))["due"] is False


def test_a_record_that_is_not_an_object_is_an_error_naming_node_and_annotation() -> None:
    view = NodeView.from_api({"metadata": {"name": "w1", "annotations": {"cni-migration.netops/times": "[1]"}}})
    with pytest.raises(ValueError, match=r"annotation cni-migration.netops/times of node w1"):
        evidence.records(view)


@pytest.mark.parametrize(
    ("times", "windows"),
    [
        ({}, []),
        ({"left": "1970-01-01T00:01:00Z"}, [[60.0, None]]),
        ({"left": "1970-01-01T00:01:00Z", "finished": "1970-01-01T00:02:00Z"}, [[60.0, 120.0]]),
        ({"earlier": [["1970-01-01T00:00:10Z", "1970-01-01T00:00:20Z"]]}, [[10.0, 20.0]]),
        ({"earlier": [["1970-01-01T00:00:10Z", "1970-01-01T00:00:20Z"]], "left": "1970-01-01T00:01:00Z"}, [[10.0, 20.0], [60.0, None]]),
    ],
)
def test_a_node_is_away_from_its_reboot_to_its_release(times: dict[str, Any], windows: list[Any]) -> None:
    assert evidence.away_windows(times) == windows


def home(name: str = "w1", **changes: Any) -> dict[str, Any]:
    pods = {"flannel": ["default/a 10.244.0.2"], "cilium": [], "other": []}
    return {"name": name, "state": "flannel", "labelled": False, "times": {}, "pods": pods, **changes}


def back(*nodes: dict[str, Any], old_world: bool = True) -> dict[str, Any]:
    return evidence.way_back(nodes, old_world=old_world)


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        (back(home("w1"), home("w2")), "returned"),
        (back(home("w1"), old_world=False), "partial"),
        (back(home("w1"), home("w2", state="migrated", labelled=True)), "partial"),
        (back(home("w1"), home("w2", labelled=True)), "partial"),
        (back(home("w1", pods={"flannel": [], "cilium": ["default/a 10.245.0.2"]})), "partial"),
        (back(home("w1", pods={"flannel": [], "other": ["default/a 172.17.0.2"]})), "partial"),
    ],
)
def test_the_cluster_is_back_only_when_every_node_and_pod_is(result: dict[str, Any], verdict: str) -> None:
    assert result["verdict"] == verdict


def test_a_way_back_is_told_of_until_its_times_are_forgotten() -> None:
    on_its_way = home("w2", state="restored", times={"started": TIMES["started"]})
    result = back(home("w1", times=TIMES), on_its_way, home("w3"))
    assert (result["pending"], result["due"]) == (["w2"], True)
    assert result["nodes"] == [{"name": "w1", "seconds": 90.0, "unschedulable_s": 85.0, "drain_s": 8.2, "verify_s": 3.0}]
    assert back(home("w1"), on_its_way)["due"] is False
