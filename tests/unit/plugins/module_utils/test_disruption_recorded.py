# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A minute and a half of a real migration, as the probers wrote it.

``fixtures/monitor``: the targets of a cluster of three, and what the host prober of its control plane saw on six of its paths, while k8s-w1
was rebooted into Cilium. Afterwards its kept connection to the NodePort of k8s-w1 acknowledged every ping, and answered no large request.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils.disruption import Analysis
from ansible_collections.netops.cni_migration.plugins.module_utils.disruption_excuses import Scope

LOGS = sorted((Path(__file__).parent / "fixtures" / "monitor").glob("*.jsonl"), key=lambda file: "-target-" not in file.name)
FROM, TO = 1_795_386_005.0, 1_795_386_095.0
REBOOTED = [FROM + 8.0, FROM + 66.0]


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    nodes = ("k8s-ctr", "k8s-w1", "k8s-w2")
    scope = Scope("20261122T221758Z", nodes, FROM, dict.fromkeys(nodes, TO), {"k8s-w1": [REBOOTED]}, ("k8s-ctr",), "10.245.0.0/16")
    analysis = Analysis(scope)
    for file in LOGS:
        analysis.read(file.read_text(encoding="utf-8").splitlines())
    return analysis.report()


def test_both_cnis_are_seen(report: dict[str, Any]) -> None:
    assert {key: counts["requests"] > 100 for key, counts in report["by_path"].items()} == {
        "host/cluster-ip/new/flannel>service": True,
        "host/cluster-ip/reused/flannel>service": True,
        "host/dns/new/flannel>service": True,
        "host/node-port/reused/flannel>service": True,
        "host/pod-other/reused/flannel>cilium": True,
        "host/pod-other/reused/flannel>flannel": True,
    }


def test_the_reboot_is_excused(report: dict[str, Any]) -> None:
    paths = report["by_path"]
    assert paths["host/pod-other/reused/flannel>flannel"]["excused"] > 5
    assert paths["host/cluster-ip/reused/flannel>service"]["excused"] == 1
    for key, counts in paths.items():
        if "node-port" not in key:
            assert counts["failed"] == 0, key
            assert counts["max_gap_ms"] <= 250, key


def test_requests_that_are_too_large_are_found(report: dict[str, Any]) -> None:
    assert report["verdict"] == "lost"
    lost = [failure for failure in report["failures"] if not failure["excused"] and failure["error"]]
    assert {(failure["path"], failure["target"], failure["error"]) for failure in lost} == {("host/node-port/reused/flannel>service", "k8s-w1", "timeout")}
    assert len(lost) == report["failed"] >= 3
    assert all(gap["path"] == "host/node-port/reused/flannel>service" for gap in report["gaps"])


def test_each_target_had_its_time(report: dict[str, Any]) -> None:
    targets = {prober["node"]: prober for prober in report["probers"] if prober["kind"] == "target"}
    assert {node: (prober["incarnations"], prober["holes"]) for node, prober in targets.items()} == {
        "k8s-ctr": (1, []),
        "k8s-w1": (2, []),
        "k8s-w2": (1, []),
    }
    assert 30 < targets["k8s-w1"]["seconds"] < 35
    json.dumps(report)
