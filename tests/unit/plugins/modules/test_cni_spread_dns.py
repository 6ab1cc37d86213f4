# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module over a small cluster, whose DNS is restarted replica by replica."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from ansible_collections.netops.cni_migration.plugins.module_utils import cluster, waiting
from ansible_collections.netops.cni_migration.plugins.module_utils.waiting import TimedOut
from ansible_collections.netops.cni_migration.plugins.modules import cni_spread_dns

MARK = "cni-migration.netops/spread-for"


def conditions(ready: bool) -> list[dict[str, str]]:
    return [{"type": "Ready", "status": str(ready)}]


class Cluster:
    """Two nodes and two replicas of DNS on w1. Also the clock: a roll-out replaces one replica every ``pace`` seconds, and each takes 5 s to end.

    A kubelet takes a patch of its pod's status back after 2 s.
    """

    def __init__(self, pace: float = 3) -> None:
        self.now, self.pace = 0.0, pace
        self.nodes = [{"metadata": {"name": name}, "spec": {}, "status": {"conditions": conditions(True)}} for name in ("w1", "w2")]
        self.pods = {name: self.pod(name, "w1") for name in ("old-1", "old-2")}
        self.deployment: dict[str, Any] = {
            "metadata": {"name": "coredns", "generation": 1},
            "spec": {"replicas": 2, "template": {"metadata": {}}},
            "status": {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2},
        }
        self.patches = 0
        self.dismissed: list[tuple[str, float]] = []
        self.ended: dict[str, float] = {}
        self.away_until = -1.0
        self._due: list[tuple[float, Any]] = []

    @staticmethod
    def pod(name: str, node: str) -> dict[str, Any]:
        return {
            "metadata": {"name": name, "namespace": "kube-system", "uid": name, "labels": {"k8s-app": "kube-dns"}},
            "spec": {"nodeName": node, "containers": [{"name": "coredns", "ports": [{"containerPort": 53, "protocol": "UDP"}]}]},
            "status": {"phase": "Running", "conditions": conditions(True)},
        }

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return 1_768_642_212.0 + self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        while self._due and min(self._due, key=lambda due: due[0])[0] <= self.now:
            event = min(self._due, key=lambda due: due[0])
            self._due.remove(event)
            event[1]()

    def later(self, seconds: float, action: Any) -> None:
        self._due.append((self.now + seconds, action))

    def list_nodes(self) -> list[dict[str, Any]]:
        return self._answer(self.nodes)

    def list_pods(self, node: str = "", namespace: str = "", selector: str = "") -> list[dict[str, Any]]:
        assert (node, namespace, selector) == ("", "kube-system", "k8s-app=kube-dns")
        return self._answer(list(self.pods.values()))

    def list_deployments(self, namespace: str = "", selector: str = "") -> list[dict[str, Any]]:
        assert (namespace, selector) == ("kube-system", "k8s-app=kube-dns")
        return self._answer([self.deployment])

    def list_endpoint_slices(self) -> list[dict[str, Any]]:
        endpoints = [
            {
                "targetRef": {"kind": "Pod", "namespace": "kube-system", "name": name},
                "conditions": {"ready": pod["status"]["conditions"] == conditions(True) and "deletionTimestamp" not in pod["metadata"]},
            }
            for name, pod in self.pods.items()
        ]
        metadata = {"namespace": "kube-system", "labels": {"kubernetes.io/service-name": "kube-dns"}}
        return self._answer([{"metadata": metadata, "ports": [{"protocol": "UDP"}], "endpoints": endpoints}])

    def patch_deployment(self, namespace: str, name: str, patch: dict[str, Any]) -> dict[str, Any]:
        assert (namespace, name) == ("kube-system", "coredns")
        self._answer(None)
        self.patches += 1
        self.deployment["spec"]["template"] = patch["spec"]["template"]
        self.deployment["metadata"]["generation"] += 1
        self.later(0.2, self._observed)
        for number in (1, 2):
            self.later(number * self.pace, lambda number=number: self._replace(number))
        return self._answer(self.deployment)

    def patch_pod_status(self, namespace: str, name: str, patch: dict[str, Any]) -> dict[str, Any]:
        found = self.pods[name]
        self.dismissed.append((name, self.now))
        found["status"]["conditions"] = [{key: condition[key] for key in ("type", "status")} for condition in patch["status"]["conditions"]]
        self.later(2, lambda: found["status"].update(conditions=conditions(True)))
        return self._answer(found)

    def _answer(self, objects: Any) -> Any:
        if self.now < self.away_until:
            raise cluster.ApiUnavailable("connection refused")
        return copy.deepcopy(objects)

    def _observed(self) -> None:
        self.deployment["status"].update(observedGeneration=2, updatedReplicas=0)

    def _replace(self, number: int) -> None:
        self.pods[f"new-{number}"] = self.pod(f"new-{number}", "w2" if number == 1 else "w1")
        self.deployment["status"].update(updatedReplicas=number)
        self.pods[f"old-{number}"]["metadata"]["deletionTimestamp"] = "now"
        self.ended[f"old-{number}"] = self.now + 5
        self.later(5, lambda: self.pods.pop(f"old-{number}"))


def run(api: Cluster, node: str = "w1", *, check_mode: bool = False, timeout: float = 60) -> dict[str, Any]:
    return cni_spread_dns.run(api, api, node, timeout, check_mode=check_mode)  # type: ignore[arg-type]


def test_each_old_replica_is_let_go_while_it_still_answers() -> None:
    api = Cluster()
    found = run(api)
    assert (found["changed"], found["spread"], found["moved"]) == (True, True, ["old-1", "old-2"])
    assert found["diff"] == {"before": {"coredns": {MARK: ""}}, "after": {"coredns": {MARK: "w1"}}}
    first = dict(reversed(api.dismissed))
    assert first == {"old-1": 3.0 + waiting.POLL_SECONDS, "old-2": 6.0 + waiting.POLL_SECONDS}, "what it was asked before it ended, it has answered"
    assert 6 < api.now < api.ended["old-2"], "it is not waited for until they are gone"
    assert api.patches == 1


def test_replicas_that_are_ready_before_they_listen_get_a_startup_probe() -> None:
    api = Cluster()
    ports = [{"containerPort": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
    container = {"name": "coredns", "ports": ports, "readinessProbe": {"httpGet": {"port": 8181}}}
    api.deployment["spec"]["template"]["spec"] = {"containers": [container]}
    found = run(api, "w2")
    assert (found["changed"], found["spread"], found["moved"], api.patches) == (True, True, ["old-1", "old-2"], 1)
    probe = {"tcpSocket": {"port": 53}, "periodSeconds": 1, "failureThreshold": 60}
    assert found["diff"]["after"] == {"coredns": {MARK: "w2", "startupProbe": {"coredns": probe}}}
    assert api.deployment["spec"]["template"]["spec"] == {"containers": [{"name": "coredns", "startupProbe": probe}]}


def test_what_it_returns_is_documented() -> None:
    assert [name for name in run(Cluster()) if name not in ("changed", "diff")] == list(yaml.safe_load(cni_spread_dns.RETURN))


def test_check_mode_tells_what_would_be_done() -> None:
    api = Cluster()
    assert run(api, check_mode=True) == run(Cluster())
    assert (api.patches, api.dismissed, api.now) == (0, [], 0)


@pytest.mark.parametrize("check_mode", [True, False])
def test_where_it_is_not_due_nothing_happens(check_mode: bool) -> None:
    api = Cluster()
    assert run(api, "w2", check_mode=check_mode) == {"changed": False, "spread": False, "moved": [], "diff": {"before": {}, "after": {}}}
    assert (api.patches, api.now) == (0, 0)


def test_a_run_that_was_killed_after_the_patch_goes_on_waiting() -> None:
    api = Cluster()
    api.patch_deployment("kube-system", "coredns", {"spec": {"template": {"metadata": {"annotations": {MARK: "w1"}}}}})
    found = run(api)
    assert (found["changed"], found["spread"], api.patches) == (False, True, 1)
    assert {name for name, _moment in api.dismissed} == {"old-1", "old-2"}


def test_an_api_server_that_is_away_is_waited_for() -> None:
    api = Cluster()
    api.away_until = 10
    assert run(api)["spread"]


def test_a_roll_out_that_does_not_end_is_an_error() -> None:
    with pytest.raises(TimedOut, match=r"Deployment coredns is not rolled out \(1 of 2 replicas are new, 2 available\) \(waited 60 s\)"):
        run(Cluster(pace=40))


class Exit(Exception):
    """The module ended."""


class Module:
    """Stands in for AnsibleModule."""

    def __init__(self) -> None:
        self.params = {"node": "w1", "kubeconfig": "config", "timeout": 1.0}
        self.check_mode = False

    def exit_json(self, **facts: Any) -> None:
        raise Exit(facts)

    fail_json = exit_json


@pytest.mark.parametrize("error", [cluster.ClusterError("patch deployment kube-system/coredns: 422 no", status=422), TimedOut("it does not answer")])
def test_an_error_says_where_it_was_and_what_to_do(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: Any, **_options: Any) -> None:
        raise error

    monkeypatch.setattr(cni_spread_dns, "cluster_module", lambda options: Module())
    monkeypatch.setattr(cni_spread_dns, "ClusterReader", fail)
    with pytest.raises(Exit) as ended:
        cni_spread_dns.main()
    message = ended.value.args[0]["msg"]
    assert message.startswith(f"node w1, step spread_dns: {error}. ")
    assert message.endswith("then run again; it goes on from here.")
