# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module makes of the agents of a cluster that audits, or does not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from fake_cluster import FakeClock

from ansible_collections.netops.cni_migration.plugins.module_utils import cluster
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_exec import Answer, CommandFailed
from ansible_collections.netops.cni_migration.plugins.module_utils.waiting import TimedOut
from ansible_collections.netops.cni_migration.plugins.modules import policy_audit_info

VERDICTS = (Path(__file__).parents[1] / "module_utils" / "fixtures" / "cilium-policy-verdicts.txt").read_text(encoding="utf-8")
CONFIGURATION = "PolicyAuditMode                   : Enabled\nPolicyVerdictNotification         : Enabled\nPolicyEnforcement                 : default\n"
ALLOW_NOBODY = "Endpoint ID: 1357\n\nPOLICY   DIRECTION   IDENTITY   PORT/PROTO   PROXY PORT   AUTH TYPE   BYTES   PACKETS   PREFIX\n"
OPTIONS = {"namespace": "kube-system", "seconds": 60, "agent_timeout": 30, "timeout": 300, "pod_cidr": "10.245.0.0/16"}
PODS = {"shop/web-6f7c-x": "10.245.1.3", "shop/database-6f7c-y": "10.245.2.9"}


def endpoint(enabled: str, state: str = "ready", runs: int = 3) -> str:
    status = {
        "state": state,
        "policy": {"realized": {"policy-enabled": enabled}},
        "networking": {"addressing": [{"ipv4": "10.245.2.9"}]},
        "controllers": [{"name": "sync-policymap-1357", "status": {"success-count": runs}}],
    }
    return json.dumps([{"id": 1357, "status": status}])


def record(expires: int) -> str:
    return f"TCP IN 10.245.1.3:5 -> 10.245.2.9:5432 expires={expires} Packets=0 Flags=0x0010 [ SeenNonSyn ] RevNAT=0 SourceSecurityID=21544 IfIndex=0 \n"


AUDITED = {
    "config": CONFIGURATION,
    "endpoint": endpoint("audit-ingress"),
    "ct": [record(100), record(160)],
    "monitor": VERDICTS,
    "policy": ALLOW_NOBODY,
    "ipcache": "{}",
}
UNTOUCHED = {"config": CONFIGURATION, "endpoint": endpoint("none")}


class Cluster:
    """Stands in for the cluster: by node, what its agent answers to a command, a list one after the other."""

    def __init__(self, answers: Mapping[str, Mapping[str, Any]], desired: int | None = None) -> None:
        self.answers = {node: {command: list(said) if isinstance(said, list) else [said] for command, said in each.items()} for node, each in answers.items()}
        self.desired = len(answers) if desired is None else desired
        self.asked: list[tuple[str, float, list[str]]] = []

    def get_daemonset(self, namespace: str, name: str) -> dict[str, Any]:
        assert (namespace, name) == ("kube-system", "cilium")
        return {"status": {"desiredNumberScheduled": self.desired}}

    def list_nodes(self) -> list[dict[str, Any]]:
        return [{"metadata": {"name": "w1"}, "status": {"addresses": [{"type": "InternalIP", "address": "192.168.10.101"}]}}]

    def list_pods(self, namespace: str = "", selector: str = "") -> list[dict[str, Any]]:
        if selector:
            assert (namespace, selector) == ("kube-system", "k8s-app=cilium")
            return [{"metadata": {"name": f"cilium-{node}"}, "spec": {"nodeName": node}} for node in self.answers]
        owner = {"kind": "ReplicaSet", "controller": True}
        return [
            {
                "metadata": {
                    "namespace": name.split("/", maxsplit=1)[0],
                    "name": name.split("/")[1],
                    "labels": {"pod-template-hash": "6f7c"},
                    "ownerReferences": [{**owner, "name": name.split("/")[1].rpartition("-")[0]}],
                },
                "spec": {},
                "status": {"podIP": address},
            }
            for name, address in PODS.items()
        ]

    def run_each(self, namespace: str, pods: Sequence[str], container: str, command: Sequence[str], seconds: float) -> dict[str, Answer]:
        assert (namespace, container) == ("kube-system", "cilium-agent")
        what = "monitor" if command[0] == "sh" else next(word for word in command if word in AUDITED)
        self.asked.append((what, seconds, sorted(pods)))
        found = {}
        for pod in pods:
            said = self.answers[pod.partition("-")[2]][what]
            answer = said.pop(0) if len(said) > 1 else said[0]
            if isinstance(answer, cluster.ClusterError):
                raise answer
            found[pod] = cast("Answer", answer)
        return found


def audit(answers: Mapping[str, Mapping[str, Any]], desired: int | None = None, **options: Any) -> tuple[dict[str, Any], Cluster, FakeClock]:
    api, clock = Cluster(answers, desired), FakeClock()
    return policy_audit_info.audit(cast("Any", api), clock, {**OPTIONS, **options}), api, clock


def test_what_would_be_dropped_is_told_as_it_is_documented() -> None:
    found, api, _clock = audit({"w1": UNTOUCHED, "w2": AUDITED})
    documented = yaml.safe_load(policy_audit_info.RETURN)
    assert list(found) == list(documented)
    assert all(list(flow) == list(documented["flows"]["contains"]) for flow in found["flows"])
    assert [flow["text"] for flow in found["flows"]][1:3] == [
        "10.245.2.4 (a pod that is gone) -> 10.245.0.17 (a pod that is gone) 53/udp: 1 new, by the egress policies of 10.245.2.4 (a pod that is gone), on w2",
        "10.245.2.4 (a pod that is gone) -> 203.0.113.5 (world) 443/tcp: 1 new, by the egress policies of 10.245.2.4 (a pod that is gone), on w2",
    ]
    assert {flow["text"] for flow in found["flows"] if flow["source"] == "shop/web"} == {
        "shop/web -> shop/database 80/tcp: 1 new, by the ingress policies of shop/database, on w2",
        "shop/web -> shop/database 5432/tcp: 1 open, by the ingress policies of shop/database, on w2",
    }
    assert (found["pods"], found["lost"], found["seconds"]) == (1, 12, 60)
    assert [(what, seconds) for what, seconds, _pods in api.asked] == [
        ("config", 30),
        ("endpoint", 30),
        ("ct", 30),
        ("monitor", 90),
        ("ct", 30),
        ("policy", 30),
        ("ipcache", 30),
    ]
    assert [pods for _what, _seconds, pods in api.asked[2:]] == [["cilium-w2"]] * 5


def test_nothing_would_be_dropped() -> None:
    found, _api, _clock = audit({"w2": {**AUDITED, "ct": "", "monitor": ""}})
    assert found == {"flows": [], "pods": 1, "lost": 0, "seconds": 60}


def test_where_policies_select_no_pod_nothing_is_waited_for() -> None:
    found, api, clock = audit({"w1": UNTOUCHED, "w2": UNTOUCHED})
    assert found == {"flows": [], "pods": 0, "lost": 0, "seconds": 0}
    assert [what for what, _seconds, _pods in api.asked] == ["config", "endpoint"]
    assert clock.now == 0


@pytest.mark.parametrize(
    "waits",
    [
        {"endpoint": [endpoint("none", "restoring"), endpoint("audit-ingress", runs=1), endpoint("audit-ingress")]},
        {"endpoint": [CommandFailed("no answer within 30 s"), endpoint("audit-ingress")]},
        {"endpoint": ["level=fatal", endpoint("audit-ingress")]},
        {"config": [CommandFailed("container not found"), CONFIGURATION]},
        {"config": [cluster.ApiUnavailable("away"), CONFIGURATION]},
    ],
)
def test_the_agents_are_waited_for(waits: dict[str, Any]) -> None:
    found, _api, clock = audit({"w2": {**AUDITED, **waits}})
    assert len(found["flows"]) == 5
    assert clock.now > 0


@pytest.mark.parametrize(
    ("answers", "desired", "message"),
    [
        (
            {"w2": {**AUDITED, "endpoint": endpoint("audit-both", "regenerating")}},
            None,
            r"the agent on w2 is not done with 1 endpoints: endpoint 1357 is regenerating",
        ),
        ({"w2": {**AUDITED, "endpoint": endpoint("audit-both", runs=1)}}, None, r"w2 is not done .*: the policy map of endpoint 1357 is not reconciled yet"),
        ({"w2": AUDITED}, 3, r"1 of the 3 nodes that are to have an agent have one"),
        ({"w2": {**AUDITED, "config": CommandFailed("gone")}}, None, r"the agent on w2 \(cilium-w2\), cilium-dbg config: gone"),
    ],
)
def test_agents_that_do_not_come_to_it_are_named(answers: dict[str, Any], desired: int | None, message: str) -> None:
    with pytest.raises(TimedOut, match=rf"^{message.replace('w2 is not done', '.*w2 is not done')} \(waited 300 s\)$"):
        audit(answers, desired)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"config": CONFIGURATION.replace("default", "never")}, r"the agent on w2 does not audit: PolicyEnforcement is never"),
        (
            {"config": CONFIGURATION.replace("Enabled", "Disabled")},
            r"the agent on w2 does not audit: PolicyAuditMode is Disabled, PolicyVerdictNotification is Disabled",
        ),
        ({"endpoint": endpoint("ingress")}, r"the agent on w2 enforces policies on some of its endpoints already"),
        (
            {"monitor": CommandFailed("exit code 1: Cannot open monitor socket")},
            r"the agent on w2 \(cilium-w2\), sh -c timeout 60 .*: exit code 1: Cannot open .*",
        ),
        ({"monitor": "Policy verdict log: in a new form\n"}, r"the agent on w2 .*: a verdict is in an unknown form: Policy verdict log: in a new form"),
        ({"ct": [CommandFailed("no answer within 30 s")]}, r"the agent on w2 \(cilium-w2\), cilium-dbg bpf ct list global: no answer within 30 s"),
        ({"ipcache": "[]"}, r"the agent on w2 \(cilium-w2\), cilium-dbg bpf ipcache list -o json: it is no dict: '\[\]'"),
    ],
)
def test_an_agent_that_was_not_watched_makes_it_no_audit(answers: dict[str, Any], message: str) -> None:
    with pytest.raises(policy_audit_info.AuditFailed, match=rf"^{message}$"):
        audit({"w1": UNTOUCHED, "w2": {**AUDITED, **answers}})


def test_an_api_server_that_goes_away_while_it_is_watched_is_an_error() -> None:
    with pytest.raises(cluster.ApiUnavailable):
        audit({"w2": {**AUDITED, "monitor": cluster.ApiUnavailable("away")}})


class Ended(Exception):
    """The module gave its result."""


class Module:
    """Stands in for AnsibleModule."""

    def __init__(self, **params: Any) -> None:
        self.params = {"kubeconfig": "/none", **OPTIONS, **params}

    def fail_json(self, **facts: Any) -> None:
        raise Ended(facts["msg"])

    exit_json = fail_json


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"seconds": 0}, r"^seconds is 0: it takes at least one to see anything$"),
        ({}, r"^the agent on w2 does not audit: PolicyEnforcement is never\. Nothing can be said of what the policies would drop\. Look at "),
    ],
)
def test_the_module_says_what_to_do(monkeypatch: pytest.MonkeyPatch, params: dict[str, Any], message: str) -> None:
    never = {**AUDITED, "config": CONFIGURATION.replace("default", "never")}
    monkeypatch.setattr(policy_audit_info, "cluster_module", lambda options: Module(**params))
    monkeypatch.setattr(policy_audit_info, "ExecCluster", lambda kubeconfig: Cluster({"w2": never}))
    with pytest.raises(Ended, match=message):
        policy_audit_info.main()
