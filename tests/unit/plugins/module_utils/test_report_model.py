# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from small_evidence import BEGAN, PATH, absence, disruption, evidence, gap, node, record, rules, series, summary

from ansible_collections.netops.cni_migration.plugins.module_utils import report_model as model


@pytest.mark.parametrize(
    ("changes", "mood", "sentence", "reasons"),
    [
        ({}, "good", "Migrated. 0 of 123,456 requests failed; longest gap 120 ms.", []),
        (
            {"disruption": disruption(failed=3, verdict="lost", reasons=["pods lost 3 requests"])},
            "bad",
            "Migrated. 3 of 123,456 requests failed; longest gap 120 ms.",
            ["Pods lost 3 requests."],
        ),
        (
            {"disruption": disruption(verdict="unknown", reasons=["the prober on w1 has holes."])},
            "unsure",
            "Migrated. Whether requests were lost is unknown; of what was seen, 0 of 123,456 requests failed; longest gap 120 ms.",
            ["The prober on w1 has holes."],
        ),
        (
            {"disruption": disruption(requests=0, verdict="unknown", reasons=["no request was made"])},
            "unsure",
            "Migrated. Whether requests were lost is unknown.",
            ["No request was made."],
        ),
        (
            {"disruption": None},
            "unsure",
            "Migrated. Lost requests were not measured.",
            ["No disruption monitor ran, so nobody knows whether a request was lost."],
        ),
        (
            {"summary": summary(verdict="residue")},
            "bad",
            "Migrated, but something of the old network is left. 0 of 123,456 requests failed; longest gap 120 ms.",
            [],
        ),
        (
            {"summary": summary(verdict="partial"), "nodes": [node(), node("w2", state="flannel")]},
            "unsure",
            "Not finished: 1 of 2 nodes moved. 0 of 123,456 requests failed; longest gap 120 ms.",
            ["Still to be moved: w2."],
        ),
        (
            {"summary": summary(verdict="partial")},
            "unsure",
            "Not finished: 1 of 1 node moved. 0 of 123,456 requests failed; longest gap 120 ms.",
            ["Every node has moved, but kube-proxy and Flannel have not left all of them yet."],
        ),
    ],
)
def test_the_verdict_is_never_better_than_what_is_known(changes: dict[str, Any], mood: str, sentence: str, reasons: list[str]) -> None:
    assert model.verdict(evidence(**changes)) == (mood, sentence, reasons)


@pytest.mark.parametrize(
    ("verdict", "states", "mood", "sentence", "reasons"),
    [
        ("returned", ["flannel", "flannel"], "good", "Back on Flannel.", []),
        ("residue", ["flannel", "flannel"], "bad", "Back on Flannel, but something of Cilium is left.", []),
        ("partial", ["flannel", "migrated"], "unsure", "1 of 2 nodes on Flannel.", ["Still on Cilium: w2."]),
        ("partial", ["flannel", "flannel"], "unsure", "2 of 2 nodes on Flannel.", ["Every node is back, and Cilium is still beside Flannel."]),
    ],
)
def test_the_way_back_has_a_verdict_of_its_own(verdict: str, states: list[str], mood: str, sentence: str, reasons: list[str]) -> None:
    nodes = [node(f"w{number}", state=state) for number, state in enumerate(states, 1)]
    found = evidence(summary=summary(direction="rollback", verdict=verdict), nodes=nodes)
    assert model.verdict(found) == (mood, f"{sentence} 0 of 123,456 requests failed; longest gap 120 ms.", reasons)


@pytest.mark.parametrize(
    ("key", "path"),
    [
        (PATH, ("pod", "pod, other node", "new", "flannel → cilium")),
        ("host/dns/reused/cilium>service", ("host", "DNS name", "reused", "cilium")),
        ("host/moon/new/a>b", ("host", "moon", "new", "a → b")),
        ("something else", ("something else", "", "", "")),
    ],
)
def test_a_path_is_told_in_words(key: str, path: tuple[str, ...]) -> None:
    assert model.path_of(key) == path


def test_paths_go_from_pods_to_hosts_and_from_near_to_far() -> None:
    ordered = [
        "pod/pod-same/new/flannel>flannel",
        "pod/pod-same/new/cilium>cilium",
        "pod/api-server/new/cilium>api-server",
        "host/pod-same/new/cilium>cilium",
        "odd",
    ]
    mixed = [*ordered[2:], *ordered[:2]]
    assert sorted(mixed, key=model.path_order) == ordered


def test_a_series_is_kept_as_it_is_until_it_is_too_long() -> None:
    found = model.buckets(disruption()["series"])
    assert (len(found), found[3]) == (60, (BEGAN + 3, 1, 600, 0, 1, 4.5))
    found = model.buckets(series({"pod/dns": ([10] * 4000, [0, 1] * 2000, [0] * 4000, [7.0] + [0.0] * 3999)}))
    assert (len(found), found[0].seconds, found[0].rate, found[0].worst_ms, found[1].worst_ms) == (1334, 3, 10, 7.0, None)
    assert sum(bucket.failed for bucket in found) == 2000
    assert model.buckets({"start": 0, "paths": {}}) == []


def test_kinds_of_paths_are_summed_and_a_second_without_a_request_is_none() -> None:
    found = model.buckets(
        series({"pod/dns": ([5, 0, 5], [1, 0, 0], [0, 0, 2], [9.0, 0.0, 3.0]), "host/dns": ([4, 0, 4], [0, 0, 0], [0, 0, 1], [4.0, 0.0, 6.0])})
    )
    assert found == [(BEGAN, 1, 9, 1, 0, 9.0), (BEGAN + 2, 1, 9, 0, 3, 6.0)]


def test_without_records_a_node_has_one_stretch_by_its_own_times() -> None:
    found = evidence(records=[], nodes=[node(), node("w2", times={"started": "2026-01-17T09:30:20Z"})])
    assert model.spans(found) == [{"lane": "w1", "phase": "move", "start": BEGAN + 8, "end": BEGAN + 68}]
    assert model.lanes(found) == ["w1", "w2"]


def test_lanes_are_the_cluster_and_the_nodes_as_they_were_moved() -> None:
    records = [record(0, 1, "prepare", "ctr"), record(2, 3, "drain", "w2"), record(4, 5, "drain", "w1"), record(6, 7, "clean", "ctr")]
    assert model.lanes(evidence(records=records, nodes=[node("ctr"), node("w1"), node("w2")])) == ["cluster", "w2", "w1", "ctr"]


def test_seconds_are_summed_by_phase_and_lane_in_the_order_of_a_migration() -> None:
    records = [record(0, 10, "drain"), record(11, 13, "prepare"), record(14, 15, "drain"), record(16, 18, "drain", "w2")]
    assert {key: list(value.items()) for key, value in model.phase_seconds(evidence(records=records)).items()} == {
        "prepare": [("cluster", 2)],
        "drain": [("w1", 11), ("w2", 2)],
    }


def test_a_gap_without_a_task_gets_the_one_that_ran() -> None:
    bare, told = gap(12, 400.0), gap(5, 300.0, task="theirs", host="w9")
    found = model.gaps(evidence(disruption=disruption(gaps=[bare, told])))
    assert [(each["task"], each["host"]) for each in found] == [("theirs", "w9"), ("a task of drain", "w1")]
    assert model.gaps(evidence(disruption=disruption(gaps=[bare]), records=[])) == [bare]
    assert model.gaps(evidence(disruption=None)) == []


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        (
            {"absence": absence()},
            "The API server was silent for 20.5 s while w1 was away: machine 9.2 s (45 %), kubelet 6.1 s (30 %), etcd 0.0 s (0 %), apiserver 5.2 s (25 %).",
        ),
        (
            {"absence": absence(shares=[{"what": "machine and kubelet", "seconds": 15.3}, {"what": "etcd and apiserver", "seconds": 5.2}])},
            "The API server was silent for 20.5 s while w1 was away: machine and kubelet 15.3 s (75 %), etcd and apiserver 5.2 s (25 %).",
        ),
        ({"absence": absence(shares=[])}, "The API server was silent for 20.5 s while w1 was away; what of it took how long is not known."),
        ({"absence": absence(node=None, shares=[])}, "The API server was silent for 20.5 s while no node of the control plane was away."),
        ({"absence": None}, ""),
        ({}, ""),
    ],
)
def test_the_absence_of_the_api_server_is_told_with_its_shares(told: dict[str, Any], sentence: str) -> None:
    assert model.api_absence(evidence(disruption=disruption(api_server=told))) == sentence


def test_without_a_monitor_no_absence_is_known() -> None:
    assert model.api_absence(evidence(disruption=None)) == ""


def test_the_ledger_is_counted_by_cause() -> None:
    failures = [{"path": PATH, "error": "timeout", "excused": "target away"}] * 2 + [{"path": PATH, "error": None, "excused": None}]
    assert model.causes(failures) == [("pod, other node", "timeout", "target away", 2), ("pod, other node", "late", "", 1)]


def test_rules_of_a_table_that_was_not_counted_are_unknown() -> None:
    assert model.rules_by_owner({**rules("a", 2), "legacy": rules("a", 3)["nft"]}) == {"a": 5}
    assert model.rules_by_owner({**rules("a", 2), "legacy": rules("a", None)["nft"]}) == {"a": None}
    assert model.rules_by_owner(None) == {}


def test_rules_are_listed_before_removed_and_after() -> None:
    mine = node()
    mine["after"]["rules"]["removed"]["nft"]["ipv4"]["nat"]["foreign"] = {"chains": 0, "rules": 1}
    assert model.rule_details(mine) == [("nft", "ipv4", "nat", "foreign", 2, 1, 3), ("nft", "ipv4", "nat", "kube_proxy", 47, 47, 0)]
    mine["after"] = {"pods": {}}
    assert model.rule_details(mine) == [("nft", "ipv4", "nat", "foreign", 2, None, None), ("nft", "ipv4", "nat", "kube_proxy", 47, None, None)]
    mine["before"] = {}
    assert model.rule_details(mine) == []


def test_a_finding_about_the_cluster_is_told_once() -> None:
    own = {"check": "mtu", "level": "refused", "node": "w2", "fact": "f", "advice": "a"}
    fine = {"check": "cni", "level": "ok", "node": "", "fact": "f", "advice": ""}
    nodes = [node(decisions=[*node()["decisions"], fine]), node("w2", decisions=[*node()["decisions"], own, fine])]
    assert [finding["check"] for finding in model.decisions(nodes)] == ["mtu", "dns", "cni"]
