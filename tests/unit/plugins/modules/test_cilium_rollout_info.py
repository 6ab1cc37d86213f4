# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollout is waited for, and when it is given up."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.module_utils.basic import AnsibleModule

from ansible_collections.netops.cni_migration.plugins.module_utils.cluster import ApiUnavailable, NotFound
from ansible_collections.netops.cni_migration.plugins.module_utils.waiting import Hopeless, TimedOut
from ansible_collections.netops.cni_migration.plugins.modules import cilium_rollout_info

DOWN = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 1m20s restarting failed container"}}
ENDED = {"terminated": {"reason": "Error", "exitCode": 1, "message": "invalid CIDR address: nonsense"}}
OPERATORS = [
    {
        "metadata": {"name": "cilium-operator", "generation": 1},
        "spec": {"replicas": 1},
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
    }
]


def agent(restarts: int, state: dict[str, Any], revision: str = "b", second: int = 9) -> dict[str, Any]:
    """An agent that is not ready."""
    status = {"name": "cilium-agent", "image": "cilium", "restartCount": restarts, "state": state, "lastState": ENDED}
    return {
        "metadata": {
            "name": f"cilium-{revision}",
            "uid": revision,
            "labels": {"controller-revision-hash": revision},
            "creationTimestamp": f"2026-01-02T03:04:{second:02d}Z",
        },
        "spec": {"nodeName": "k8s-w1"},
        "status": {"phase": "Running", "containerStatuses": [status]},
    }


class Cluster:
    """One agent that gets ready after ``ready_at`` seconds; one restart every 30 s until then when it ``crashes``. Also the clock."""

    def __init__(self, *, ready_at: float = 1e9, crashes: bool = False, away: tuple[float, float] = (0, 0)) -> None:
        self.now, self.ready_at, self.crashes, self.away = 0.0, ready_at, crashes, away
        self.former_crashes = False

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def get_daemonset(self, namespace: str, name: str) -> dict[str, Any]:
        assert (namespace, name) == ("kube-system", "cilium")
        if self.away[0] <= self.now < self.away[1]:
            raise ApiUnavailable("connection refused")
        ready = int(self.now >= self.ready_at)
        status = {"observedGeneration": 2, "desiredNumberScheduled": 1, "updatedNumberScheduled": 1, "numberReady": ready}
        return {"metadata": {"name": "cilium", "generation": 2}, "status": status}

    def list_deployments(self, namespace: str, selector: str) -> list[dict[str, Any]]:
        assert (namespace, selector) == ("kube-system", "io.cilium/app=operator")
        return OPERATORS

    def list_pods(self, namespace: str, selector: str) -> list[dict[str, Any]]:
        if selector != "k8s-app=cilium":
            return []
        former = [agent(9 + int(self.now / 30), DOWN, "a", 1)] if self.former_crashes else []
        return [*former, agent(int(self.now / 30), DOWN) if self.crashes else agent(0, {"running": {}})]


def run(cluster: Cluster, seconds: float = 600) -> dict[str, Any]:
    return cilium_rollout_info.wait_for_rollout(cluster, cluster, "kube-system", seconds)  # type: ignore[arg-type]


def test_it_ends_as_soon_as_every_agent_is_ready() -> None:
    found = run(Cluster(ready_at=12))
    assert found == {"agents": 1, "seconds": pytest.approx(12, abs=1)}
    assert set(found) == set(yaml.safe_load(cilium_rollout_info.RETURN))


def test_an_api_server_that_is_away_for_a_minute_is_waited_for() -> None:
    assert run(Cluster(ready_at=70, away=(5, 65)))["agents"] == 1


def test_an_agent_that_crashes_is_told_of_long_before_the_deadline() -> None:
    cluster = Cluster(crashes=True)
    with pytest.raises(Hopeless, match=r"cilium-agent of pod cilium-b on k8s-w1 was started 5 times.*Error, exit code 1: invalid CIDR address: nonsense$"):
        run(cluster)
    assert cluster.now < 130


def test_an_agent_of_the_former_values_may_crash() -> None:
    cluster = Cluster(ready_at=300)
    cluster.former_crashes = True
    assert run(cluster)["agents"] == 1


def test_the_deadline_names_what_was_missing() -> None:
    with pytest.raises(
        TimedOut, match=r"^DaemonSet cilium is not rolled out \(1 of 1 pods are new, 0 ready\); pod cilium-b is Running.*\(on k8s-w1\) \(waited 5 s\)$"
    ):
        run(Cluster(), 5)


class Ended(Exception):
    """The module ended."""


def test_a_failure_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {}

    def fail_json(self: AnsibleModule, **facts: Any) -> None:
        told.update(facts)
        raise Ended

    def get_daemonset(*_of: str) -> None:
        raise NotFound("get daemonset cilium/cilium: 404 not found")

    def init(self: AnsibleModule, **spec: Any) -> None:
        documented = yaml.safe_load(cilium_rollout_info.DOCUMENTATION)["options"]
        taken = {name: option["default"] for name, option in spec["argument_spec"].items() if name != "kubeconfig"}
        assert taken == {name: option["default"] for name, option in documented.items()}
        self.params, self.check_mode = {"kubeconfig": "/k", "namespace": "cilium", "timeout": 0.0}, False

    monkeypatch.setattr(AnsibleModule, "__init__", init)
    monkeypatch.setattr(AnsibleModule, "fail_json", fail_json)
    monkeypatch.setattr(cilium_rollout_info.ClusterReader, "__init__", lambda _self, _kubeconfig: None)
    monkeypatch.setattr(cilium_rollout_info.ClusterReader, "get_daemonset", get_daemonset)
    with pytest.raises(Ended):
        cilium_rollout_info.main()
    assert told["msg"] == (
        "Cilium is not rolled out: get daemonset cilium/cilium: 404 not found. Look at its pods (kubectl -n cilium describe pods "
        "-l app.kubernetes.io/part-of=cilium), then run again; it goes on from here."
    )
