# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fixture is what ``cilium-dbg status -o json`` of Cilium 1.17.6 wrote on a migrated node, without what nobody reads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils.cilium_agents import Agent, Required, complaints, placed, silent, speaking

RECORDED = (Path(__file__).parent / "fixtures" / "cilium-agent-status.json").read_text(encoding="utf-8")
WELL = Agent("w1", "cilium-x", True, "", "True", "Native", "BPF", "BPF")
WANTED = Required(kube_proxy_replacement=True, routing="native")


def status(**changes: Any) -> str:
    """The recorded status with these sections, named with underscores, in place of its own."""
    return json.dumps({**json.loads(RECORDED), **{name.replace("_", "-"): section for name, section in changes.items()}})


def pod(name: str, **parts: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **parts.get("metadata", {})}, "spec": parts.get("spec", {"nodeName": name})}


def test_the_recorded_agent_is_well() -> None:
    assert speaking("w1", "cilium-x", RECORDED) == WELL


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cilium": {"state": "Warning", "msg": "1.17.6 (v1.17.6-x)    Stale status data"}}, "cilium is Warning: 1.17.6 (v1.17.6-x) Stale status data"),
        ({"kubernetes": {"state": "Failure", "msg": "timed out"}}, "kubernetes is Failure: timed out"),
        ({"cilium": None, "kubernetes": {"state": "Failure"}}, "cilium is unknown; kubernetes is Failure"),
    ],
)
def test_an_agent_that_is_not_healthy_says_why(changes: dict[str, Any], message: str) -> None:
    assert speaking("w1", "cilium-x", status(**changes)) == replace(WELL, healthy=False, message=message)


def test_other_ways_are_told_in_the_words_of_the_command() -> None:
    told = status(
        kube_proxy_replacement={"mode": "False"},
        routing={"inter-host-routing-mode": "Tunnel", "intra-host-routing-mode": "Legacy", "tunnel-protocol": "vxlan"},
        masquerading={"enabled": True, "mode": "iptables"},
    )
    assert speaking("w1", "cilium-x", told) == replace(WELL, kube_proxy_replacement="False", routing="Tunnel", host_routing="Legacy", masquerading="IPTables")
    assert speaking("w1", "cilium-x", status(masquerading={"enabled": False})).masquerading == "Disabled"


def test_what_is_not_told_is_empty() -> None:
    told = status(kube_proxy_replacement=None, routing={}, masquerading=None)
    assert speaking("w1", "cilium-x", told) == replace(WELL, kube_proxy_replacement="", routing="", host_routing="", masquerading="")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "its answer is no status: ''"),
        ("KVStore: Ok\n", "its answer is no status: 'KVStore: Ok\\n'"),
        ("[]", "its answer is no status: '[]'"),
        (RECORDED[:100], f"its answer is no status: {RECORDED[:60]!r}"),
    ],
)
def test_an_answer_that_is_no_status_is_shown(text: str, message: str) -> None:
    assert speaking("w1", "cilium-x", text) == Agent("w1", "cilium-x", False, message)


def test_when_all_is_well_there_is_nothing_to_complain_of() -> None:
    assert complaints([WELL, replace(WELL, node="w2")], 2, WANTED) == []


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        (silent("w1", "cilium-x", "no answer within 15 s"), ["the agent on w1 is not healthy: it cannot be asked: no answer within 15 s"]),
        (replace(WELL, kube_proxy_replacement="False"), ["the agent on w1 does not replace kube-proxy"]),
        (replace(WELL, routing="Tunnel"), ["the agent on w1 routes by Tunnel, not Native"]),
        (replace(WELL, kube_proxy_replacement="", routing=""), ["the agent on w1 does not replace kube-proxy", "the agent on w1 does not tell how it routes"]),
        (
            replace(WELL, healthy=False, message="cilium is Warning", kube_proxy_replacement="False"),
            ["the agent on w1 is not healthy: cilium is Warning", "the agent on w1 does not replace kube-proxy"],
        ),
    ],
)
def test_what_is_not_so_is_named_with_its_node(agent: Agent, expected: list[str]) -> None:
    assert complaints([agent], 1, WANTED) == expected


def test_only_what_is_required_is_complained_of() -> None:
    other = replace(WELL, kube_proxy_replacement="False", routing="Tunnel")
    assert complaints([other], 1, Required()) == []
    assert complaints([other], 1, Required(kube_proxy_replacement=False, routing="tunnel")) == []
    assert complaints([WELL], 1, Required(kube_proxy_replacement=False)) == ["the agent on w1 replaces kube-proxy"]


def test_a_missing_agent_is_noticed() -> None:
    assert complaints([WELL, replace(WELL, pod="cilium-y")], 3, WANTED) == ["1 of the 3 nodes that are to have an agent have one: w1"]
    assert complaints([], 0, WANTED) == ["no node has an agent"]
    assert complaints([], 3, WANTED) == ["no node has an agent"]


def test_the_agents_that_count_have_a_node_and_stay() -> None:
    pods = [pod("w2"), pod("w1"), pod("gone", metadata={"deletionTimestamp": "2026-01-02T03:04:05Z"}), pod("unbound", spec={})]
    assert placed(pods) == [("w1", "w1"), ("w2", "w2")]
