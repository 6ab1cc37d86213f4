# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdicts of ``cilium-dbg monitor`` as cilium 1.17.6 writes them (``pkg/monitor/datapath_policy.go``), and the flows that come of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils.policy_audit import Denial, flows, heard, monitor_command, names_by_address, workload

ANSWER = (Path(__file__).parent / "fixtures" / "cilium-policy-verdicts.txt").read_text(encoding="utf-8")

WEB = Denial("ingress", "tcp", "10.245.1.3", "10.245.2.9", 80, "21544")
DNS = Denial("egress", "udp", "10.245.2.4", "10.245.0.17", 53, "9112")


def pod(name: str, address: str, owner: tuple[str, str] | None = None, **extra: Any) -> dict[str, Any]:
    owners = [{"kind": owner[0], "name": owner[1], "controller": True}] if owner else []
    metadata = {"namespace": "shop", "name": name, "ownerReferences": owners, "labels": extra.pop("labels", {})}
    return {"metadata": metadata, "spec": extra, "status": {"phase": "Running", "podIP": address}}


def node(name: str, address: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}]}}


NAMES = {"10.245.1.3": "shop/web", "10.245.2.9": "shop/database", "10.245.0.17": "kube-system/coredns", "192.168.10.101": "node k8s-w1"}


def test_what_the_audit_alone_let_through_is_heard() -> None:
    assert heard(ANSWER) == (
        [
            WEB,
            DNS,
            Denial("egress", "tcp", "10.245.2.4", "203.0.113.5", 443, "world"),
            Denial("ingress", "icmp", "10.245.0.211", "10.245.2.9", 0, "remote-node"),
        ],
        12,
    )


def test_nothing_was_said() -> None:
    assert heard("") == ([], 0)
    assert heard('level=info msg="Initializing dissection cache..." subsys=monitor\n') == ([], 0)


@pytest.mark.parametrize(
    ("packet", "source", "destination", "port"),
    [
        ("[fd00::1:3]:41234 -> [fd00::9]:80 tcp SYN", "fd00::1:3", "fd00::9", 80),
        ("10.245.1.3 -> 10.245.2.9", "10.245.1.3", "10.245.2.9", 0),
        ("fd00::1:3 -> fd00::9", "fd00::1:3", "fd00::9", 0),
        ("[unknown]", "", "", 0),
        ("[error]", "", "", 0),
    ],
)
def test_the_packet_of_a_verdict_is_read_as_far_as_the_agent_could(packet: str, source: str, destination: str, port: int) -> None:
    ((denial,), _lost) = heard(f"Policy verdict log: flow 0x0 local EP ID 1, remote ID 2, proto 6, ingress, action audit, auth: disabled, match none, {packet}")
    assert (denial.source, denial.destination, denial.port) == (source, destination, port)


@pytest.mark.parametrize(
    "line",
    [
        "Policy verdict log: flow 0x0 local EP ID 1, remote ID 2, proto 6, ingress, acti",
        "Policy verdict log: flow 0x0 endpoint 1, identity 2->3, action audit",
    ],
)
def test_a_verdict_in_another_form_is_no_silence(line: str) -> None:
    with pytest.raises(ValueError, match="a verdict is in an unknown form: Policy verdict log: "):
        heard(f"{ANSWER}{line}\n")


def test_the_monitor_runs_for_its_time_and_its_early_end_is_a_failure() -> None:
    assert monitor_command(60) == ("sh", "-c", "timeout 60 cilium-dbg monitor --type policy-verdict; test $? -eq 124")


@pytest.mark.parametrize(
    ("item", "name"),
    [
        (pod("web-6f7c9d-x2k4p", "", ("ReplicaSet", "web-6f7c9d"), labels={"pod-template-hash": "6f7c9d"}), "shop/web"),
        (pod("db-0", "", ("StatefulSet", "db")), "shop/db"),
        (pod("agent-x", "", ("DaemonSet", "agent"), labels={"pod-template-hash": "6f7c9d"}), "shop/agent"),
        (pod("old-rs-x", "", ("ReplicaSet", "old-rs")), "shop/old-rs"),
        (pod("alone", ""), "shop/alone"),
    ],
)
def test_a_workload_is_what_a_user_made(item: dict[str, Any], name: str) -> None:
    assert workload(item) == name


def test_addresses_have_the_names_of_pods_and_nodes() -> None:
    pods = [pod("web", "10.245.1.3"), pod("proxy", "192.168.10.101", hostNetwork=True), pod("waiting", "")]
    assert names_by_address(pods, [node("k8s-w1", "192.168.10.101")]) == {"192.168.10.101": "node k8s-w1", "k8s-w1": "node k8s-w1", "10.245.1.3": "shop/web"}


def test_flows_are_counted_and_the_most_frequent_come_first() -> None:
    found = flows({"k8s-w2": [DNS, WEB, WEB], "k8s-w1": [WEB]}, {"k8s-w1": [WEB], "k8s-w2": []}, NAMES, "10.245.0.0/16")
    assert found[0] == {
        "source": "shop/web",
        "destination": "shop/database",
        "protocol": "tcp",
        "port": 80,
        "direction": "ingress",
        "new": 3,
        "used": 1,
        "nodes": ["k8s-w1", "k8s-w2"],
        "text": "shop/web -> shop/database 80/tcp: 3 new and 1 open, by the ingress policies of shop/database, on k8s-w1, k8s-w2",
    }
    assert [each["text"] for each in found[1:]] == [
        "10.245.2.4 (a pod that is gone) -> kube-system/coredns 53/udp: 1 new, by the egress policies of 10.245.2.4 (a pod that is gone), on k8s-w2"
    ]
    assert flows({}, {}, NAMES, "10.245.0.0/16") == []


@pytest.mark.parametrize(
    ("denial", "text"),
    [
        (
            Denial("egress", "tcp", "10.245.1.3", "203.0.113.5", 443, "world"),
            "shop/web -> 203.0.113.5 (world) 443/tcp: 1 new, by the egress policies of shop/web",
        ),
        (Denial("egress", "tcp", "10.245.1.3", "203.0.113.5", 443, "16777218"), "shop/web -> 203.0.113.5 443/tcp: 1 new, by the egress policies of shop/web"),
        (
            Denial("ingress", "icmp", "10.245.0.211", "10.245.2.9", 0, "remote-node"),
            "10.245.0.211 (remote-node) -> shop/database icmp: 1 new, by the ingress policies of shop/database",
        ),
        (
            Denial("ingress", "tcp", "192.168.10.101", "10.245.2.9", 80, "host"),
            "node k8s-w1 -> shop/database 80/tcp: 1 new, by the ingress policies of shop/database",
        ),
        (Denial("ingress", "tcp", "", "", 0, "21544"), "unknown -> unknown tcp: 1 new, by the ingress policies of unknown"),
    ],
)
def test_what_is_no_pod_is_called_what_is_known_of_it(denial: Denial, text: str) -> None:
    (flow,) = flows({"k8s-w2": [denial]}, {}, NAMES, "10.245.0.0/16")
    assert flow["text"] == f"{text}, on k8s-w2"
