# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as the same end state, and as no larger a disruption."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from faults.end_state import GAP_SLACK_MS, Cost, cost, differences, larger, normalised

CONTAINER = "0123456789abcdef" * 4
RAW: dict[str, Any] = {
    "nodes": [
        {
            "metadata": {
                "name": "k8s-w1",
                "labels": {"kubernetes.io/hostname": "k8s-w1", "cni-migration.netops/state": "migrated"},
                "annotations": {"cni-migration.netops/times": '{"started": "2026-01-02T03:04:05Z"}'},
            },
            "spec": {"podCIDR": "10.244.1.0/24"},
            "status": {"conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}]},
        }
    ],
    "objects": [
        {"kind": "DaemonSet", "metadata": {"namespace": "kube-system", "name": "cilium", "uid": "1"}, "status": {"numberReady": 3}},
        {"kind": "Namespace", "metadata": {"name": "default", "uid": "2"}},
    ],
    "migration": {
        "nodes": [{"name": "k8s-w1", "state": "migrated", "cni": "cilium"}],
        "pending": [],
        "flannel": False,
        "kube_proxy": False,
        "cilium": True,
        "evidence": {"verdict": "migrated", "last": "20260102T030405Z"},
        "release": {"values": {"bpf": {"masquerade": True}, "routingMode": "native"}, "chart_version": "1.17.6", "unfinished": []},
    },
    "facts": {
        "k8s-w1": {
            "cni_files": ["05-cilium.conflist"],
            "links": [{"name": name} for name in ("lo", "eth1", "cilium_host", "lxc_health", "lxc12ab34", "veth9f")],
            "routes": {"cilium_host": 3, "lxc12ab34": 1},
        }
    },
    "residue": {
        "k8s-w1": {
            "residue": [
                {"kind": "file", "name": f"/var/lib/cni/results/cbr0-{CONTAINER}-eth0", "owner": "cni_plugins", "detail": ""},
                {"kind": "fdb", "name": "9a:01:02:03:04:05", "owner": "flannel", "detail": ""},
                {"kind": "rules", "name": "nft ipv4 nat", "owner": "kube_proxy", "detail": "18 chains, 47 rules"},
            ],
            "rules": {"nft": {"ipv4": {"nat": {"kube_proxy": {"chains": 18, "rules": 47}}}}},
            "kept_rules": {"nft": {"ipv4": {"nat": {"foreign": {"chains": 5, "rules": 2}}}}},
        }
    },
}


def changed(change: Callable[[dict[str, Any]], object]) -> list[str]:
    """How the state differs after ``change``."""
    other = copy.deepcopy(RAW)
    change(other)
    return differences(normalised(RAW), normalised(other))


def test_a_state_is_the_same_as_itself() -> None:
    assert changed(lambda raw: None) == []
    assert normalised(RAW)["nodes"]["k8s-w1"]["links"] == ["cilium_host", "eth1", "lo", "lxc_health"]


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw["nodes"][0]["metadata"]["annotations"].update({"cni-migration.netops/times": "{}"}),
        lambda raw: raw["facts"]["k8s-w1"]["links"].append({"name": "lxc99"}),
        lambda raw: raw["facts"]["k8s-w1"]["routes"].update(lxc99=1, cilium_host=4),
        lambda raw: raw["residue"]["k8s-w1"]["rules"]["nft"]["ipv4"]["nat"]["kube_proxy"].update(rules=50),
        lambda raw: raw["residue"]["k8s-w1"]["residue"][0].update(name=f"/var/lib/cni/results/cbr0-{CONTAINER[::-1]}-eth0"),
        lambda raw: raw["residue"]["k8s-w1"]["residue"][1].update(name="9a:99:99:99:99:99"),
        lambda raw: raw["objects"][0]["metadata"].update(uid="9"),
        lambda raw: raw["migration"]["evidence"].update(last="later"),
        lambda raw: raw["objects"].reverse(),
    ],
)
def test_what_differs_between_any_two_runs_does_not_count(change: Callable[[dict[str, Any]], object]) -> None:
    assert changed(change) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda raw: raw["nodes"][0]["metadata"]["labels"].update({"cni-migration.netops/state": "verified"}),
            [
                "nodes/k8s-w1/labels: cni-migration.netops/state=migrated is missing",
                "nodes/k8s-w1/labels: cni-migration.netops/state=verified is too much",
            ],
        ),
        (lambda raw: raw["nodes"][0]["metadata"]["annotations"].update(x="1"), ["nodes/k8s-w1/annotations: x is too much"]),
        (lambda raw: raw["nodes"][0]["spec"].update(unschedulable=True), ["nodes/k8s-w1/unschedulable: True instead of False"]),
        (lambda raw: raw["nodes"][0]["status"]["conditions"][1].update(status="Unknown"), ["nodes/k8s-w1/ready: False instead of True"]),
        (lambda raw: raw["nodes"][0]["spec"].update(taints=[{"key": "a", "effect": "NoSchedule"}]), ["nodes/k8s-w1/taints: a:NoSchedule is too much"]),
        (lambda raw: raw["facts"]["k8s-w1"]["cni_files"].append("10-flannel.conflist"), ["nodes/k8s-w1/cni_files: 10-flannel.conflist is too much"]),
        (lambda raw: raw["facts"]["k8s-w1"]["links"].append({"name": "flannel.1"}), ["nodes/k8s-w1/links: flannel.1 is too much"]),
        (
            lambda raw: raw["residue"]["k8s-w1"]["kept_rules"]["nft"]["ipv4"]["nat"]["foreign"].update(rules=1),
            [
                "nodes/k8s-w1/rules: nft ipv4 nat foreign 5 chains 2 rules is missing",
                "nodes/k8s-w1/rules: nft ipv4 nat foreign 5 chains 1 rules is too much",
            ],
        ),
        (lambda raw: raw["residue"]["k8s-w1"]["rules"]["nft"]["ipv4"].clear(), ["nodes/k8s-w1/rules: nft ipv4 nat kube_proxy is missing"]),
        (lambda raw: raw["objects"].pop(0), ["objects: DaemonSet kube-system cilium 3 ready is missing"]),
        (
            lambda raw: raw["migration"]["release"]["values"]["bpf"].update(masquerade=False),
            ["release/values: bpf.masquerade=True is missing", "release/values: bpf.masquerade=False is too much"],
        ),
        (lambda raw: raw["migration"]["release"]["unfinished"].append("sh.helm.release.v1.cilium.v2"), ["release/unfinished: 1 instead of 0"]),
        (lambda raw: raw["migration"].update(kube_proxy=True), ["kube_proxy: True instead of False"]),
        (lambda raw: raw["migration"]["evidence"].update(verdict="residue"), ["verdict: 'residue' instead of 'migrated'"]),
    ],
)
def test_what_a_migration_is_about_counts(change: Callable[[dict[str, Any]], object], words: list[str]) -> None:
    assert changed(change) == words


def test_a_machine_that_could_not_be_reached_is_a_difference() -> None:
    found = changed(lambda raw: raw["facts"].update({"k8s-w1": {"unreachable": True}}))
    assert "nodes/k8s-w1/reached: False instead of True" in found
    assert "nodes/k8s-w1/cni_files: None instead of ['05-cilium.conflist']" in found


def test_a_node_that_is_gone_is_a_difference() -> None:
    assert any(line.startswith("nodes/k8s-w1") for line in changed(lambda raw: raw["nodes"].clear()))


def summary(requests: int = 1000, gap: float = 200.0, **failed: int) -> dict[str, Any]:
    paths = {"service": "pod/service/new", "dns": "pod/dns/reused", "api": "host/api-server/new"}
    by_path = {path: {"failed": failed.get(name, 0)} for name, path in paths.items()}
    return {"requests": requests, "by_path": by_path, "max_gap_ms": gap, "disruption": "ok", "verdict": "partial"}


def test_queries_and_the_api_server_are_excused() -> None:
    assert cost([summary(service=2, dns=3, api=40)]) == Cost(1000, 2, 43, 200.0, "ok", "partial")


def test_of_several_summaries_the_fullest_counts() -> None:
    empty = {"requests": 0, "by_path": {}, "max_gap_ms": 0.0, "disruption": "unknown", "verdict": "migrated"}
    found = cost([summary(2000, service=1), empty, {"disruption": "unknown", "verdict": "migrated"}])
    assert found is not None and (found.requests, found.lost) == (2000, 1)
    assert cost([empty]) is None and cost([]) is None


def test_a_disruption_is_no_larger_within_the_slack() -> None:
    reference = Cost(1000, 1, 0, 200.0, "ok", "migrated")
    assert larger(Cost(2000, 1, 9, 200.0 + GAP_SLACK_MS, "ok", "migrated"), reference) == []
    assert larger(Cost(2000, 2, 0, 900.0, "lost", "migrated"), reference) == [
        "2 requests were lost instead of 1",
        "the longest gap was 900 ms instead of 200 ms",
    ]
    assert larger(None, reference) == ["nothing was measured"]
