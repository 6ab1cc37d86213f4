# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module makes of the agents' answers, and of agents that give none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from ansible_collections.netops.cni_migration.plugins.module_utils import cluster
from ansible_collections.netops.cni_migration.plugins.module_utils.cilium_agents import Required
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_exec import Answer, CommandFailed
from ansible_collections.netops.cni_migration.plugins.modules import cilium_agents_info

RECORDED = (Path(__file__).parents[1] / "module_utils" / "fixtures" / "cilium-agent-status.json").read_text(encoding="utf-8")
WANTED = Required(kube_proxy_replacement=True, routing="native")


class Cluster:
    """Stands in for the cluster: ``answers`` by node, where each agent's pod is named after its node."""

    def __init__(self, answers: dict[str, Answer | cluster.ClusterError], desired: int) -> None:
        self.answers, self.desired = answers, desired

    def get_daemonset(self, namespace: str, name: str) -> dict[str, Any]:
        assert (namespace, name) == ("kube-system", "cilium")
        return {"status": {"desiredNumberScheduled": self.desired}}

    def list_pods(self, namespace: str, selector: str) -> list[dict[str, Any]]:
        assert (namespace, selector) == ("kube-system", "k8s-app=cilium")
        return [{"metadata": {"name": f"cilium-{node}"}, "spec": {"nodeName": node}} for node in self.answers]

    def run_each(self, namespace: str, pods: Sequence[str], container: str, command: Sequence[str], seconds: float) -> dict[str, Answer]:
        assert (namespace, container, list(command), seconds) == ("kube-system", "cilium-agent", ["cilium-dbg", "status", "-o", "json"], 15)
        assert sorted(pods) == sorted(f"cilium-{node}" for node in self.answers)
        for answer in self.answers.values():
            if isinstance(answer, cluster.ClusterError):
                raise answer
        return {f"cilium-{node}": cast("Answer", answer) for node, answer in self.answers.items()}


def collect(answers: dict[str, Any], desired: int, required: Required = WANTED) -> dict[str, Any]:
    return cilium_agents_info.collect(Cluster(answers, desired), "kube-system", required, 15)  # type: ignore[arg-type]


def test_every_agent_is_told_of_as_it_is_documented() -> None:
    found = collect({"w1": RECORDED, "ctr": RECORDED}, 2)
    documented = yaml.safe_load(cilium_agents_info.RETURN)
    assert [agent["node"] for agent in found["agents"]] == ["ctr", "w1"]
    assert [list(agent) for agent in found["agents"]] == [list(documented["agents"]["contains"])] * 2
    assert found["agents"][1] == {**documented["agents"]["sample"][0], "node": "w1", "pod": "cilium-w1"}
    assert found["complaints"] == []


def test_what_is_not_so_is_a_complaint_and_no_error() -> None:
    without = json.dumps({**json.loads(RECORDED), "kube-proxy-replacement": {"mode": "False"}})
    found = collect({"w1": CommandFailed("no answer within 15 s"), "w2": without}, 3)
    assert found["complaints"] == [
        "2 of the 3 nodes that are to have an agent have one: w1, w2",
        "the agent on w1 is not healthy: it cannot be asked: no answer within 15 s",
        "the agent on w2 does not replace kube-proxy",
    ]
    assert [agent["healthy"] for agent in found["agents"]] == [False, True]


def test_an_api_server_that_is_away_is_an_error() -> None:
    with pytest.raises(cluster.ApiUnavailable):
        collect({"w1": cluster.ApiUnavailable("away")}, 1)
