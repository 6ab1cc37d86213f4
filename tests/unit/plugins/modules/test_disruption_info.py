# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module reads through the API server's proxy, with probers that do not answer."""

from __future__ import annotations

import json
import re
import time
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils import cluster
from ansible_collections.netops.cni_migration.plugins.module_utils.disruption_reader import SINCE, Monitor
from ansible_collections.netops.cni_migration.plugins.module_utils.disruption_tally import MODES, PATHS
from ansible_collections.netops.cni_migration.plugins.module_utils.waiting import SystemClock
from ansible_collections.netops.cni_migration.plugins.modules import disruption_info

NAMESPACE = "cni-migration-monitor"
CONFIG = {"run": "r1", "port": 9470, "nodes": [{"name": "ctr", "ip": "192.168.10.100"}, {"name": "w1", "ip": "192.168.10.101"}]}
CIDR = "10.245.0.0/16"


def stamp(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def static_pod(component: str, started: float) -> dict[str, Any]:
    return {"metadata": {"labels": {"component": component}}, "status": {"containerStatuses": [{"state": {"running": {"startedAt": stamp(started)}}}]}}


class Client:
    """Stands in for the client: two nodes, whose probers hand out what ``answers`` holds by pod and path."""

    def __init__(self, answers: dict[tuple[str, str], Any], since: float = 0.0) -> None:
        self.answers, self.asked = answers, []  # type: ignore[var-annotated]
        self.starts: dict[str, float] = {}
        self.dns_ended: list[float] = []
        self.looks = self.late = 0
        annotations = {SINCE: str(since)} if since else None
        self.config_map = {"metadata": {"annotations": annotations}, "data": {"config.json": json.dumps(CONFIG)}}

    def request(self, verb: str, path: str, **options: Any) -> Any:
        assert verb == "get"
        selector, fields = options.get("label_selector"), options.get("field_selector")
        if "/proxy/" in path:
            answer = self.handed_out(unquote(path))
        else:
            answer = {
                "/api/v1/nodes": self.nodes,
                f"/api/v1/namespaces/{NAMESPACE}/configmaps/monitor": self.config,
                f"/api/v1/namespaces/{NAMESPACE}/pods": self.hosts,
                "/api/v1/namespaces/kube-system/pods": self.static_pods,
                "/apis/apps/v1/namespaces/kube-system/replicasets": self.replica_sets,
                "/api/v1/namespaces/kube-system/events": self.dns_events,
                "/api/v1/namespaces/default/events": self.node_events,
            }[path](selector, fields)
        return SimpleNamespace(data=answer if isinstance(answer, bytes) else json.dumps(answer).encode())

    def config(self, *_: Any) -> Any:
        return self.config_map

    def hosts(self, selector: str, _fields: Any) -> Any:
        assert selector == "app=probe-host"
        pods = [{"metadata": {"name": f"host-{node}"}, "spec": {"nodeName": node}} for node in ("ctr", "w1")]
        gone = {"metadata": {"name": "host-old", "deletionTimestamp": "x"}, "spec": {"nodeName": "w1"}}
        created = {"metadata": {"name": "host-new"}, "spec": {}}
        self.looks += 1
        return {"items": [*(pods if self.looks > self.late else pods[:1]), gone, created]}

    def static_pods(self, selector: str, fields: str) -> Any:
        assert (selector, fields) == ("tier=control-plane", "spec.nodeName=ctr")
        return {"items": [static_pod(*start) for start in self.starts.items() if start[0] != "kubelet"]}

    def replica_sets(self, selector: str, _fields: Any) -> Any:
        assert selector == "k8s-app=kube-dns"
        return {"items": [{"metadata": {"name": "coredns-674b8bbfcf"}}]}

    def dns_events(self, _selector: Any, fields: str) -> Any:
        assert fields == "involvedObject.kind=Pod,reason=Killing,source=kubelet"
        about = {"involvedObject": {"name": "coredns-674b8bbfcf-x7k2p"}, "source": {"host": "ctr"}}
        return {"items": [{**about, "lastTimestamp": stamp(moment)} for moment in self.dns_ended]}

    def node_events(self, _selector: Any, fields: str) -> Any:
        assert fields == "involvedObject.kind=Node,involvedObject.name=ctr,reason=Starting,source=kubelet"
        return {"items": [{"eventTime": None, "firstTimestamp": stamp(self.starts["kubelet"])}] if "kubelet" in self.starts else []}

    def nodes(self, *_: Any) -> Any:
        return {"items": [{"metadata": {"name": "ctr", "labels": {"node-role.kubernetes.io/control-plane": ""}}}, {"metadata": {"name": "w1"}}]}

    def handed_out(self, path: str) -> Any:
        found = re.fullmatch(rf"/api/v1/namespaces/{NAMESPACE}/pods/(.+):9470/proxy/(.+)", path)
        assert found
        self.asked.append(found.groups())
        answer = self.answers.get((found[1], found[2]))
        if answer is None:
            raise cluster.ApiUnavailable(f"{found[1]} is away")
        return answer


def connected(answers: dict[tuple[str, str], Any], since: float = 0.0) -> tuple[Monitor, Client]:
    monitor = Monitor.__new__(Monitor)
    monitor._client = client = Client(answers, since)
    monitor._namespace = NAMESPACE
    return monitor, client


def stats() -> dict[str, Any]:
    counts = {f"{path}/{mode}": [10, 0, 0, 51.0] for path in PATHS for mode in MODES}
    status = {"run": "r1", "ip": "10.244.0.5", "t": 100.0}
    return {"t": 100.5, "probers": {kind: {**status, "totals": {} if kind == "target" else counts} for kind in ("host", "pod", "target")}}


def log(node: str, kind: str, began: float, *, seconds: int = 10, figures: list[Any] | None = None) -> list[dict[str, Any]]:
    head = {"k": "start", "format": 1, "run": "r1", "node": node, "kind": kind, "ip": "10.244.0.5", "incarnation": f"{node}-{kind}", "boot": "x"}
    sizes = {"interval_ms": 50.0, "late_ms": 250.0, "bounds_ms": [1.0, 10.0]}
    path = {"k": "path", "p": 1, "path": "dns", "mode": "new", "node": "", "address": "10.96.0.10", "incarnation": ""}
    api_server = {**path, "p": 2, "path": "api-server"}
    second = {"k": "s", "lag": 1.0, "stalls": [], "cpu": 0.1, "f": [figures] if figures else []}
    return [{**head, **sizes, "t": began}, path, api_server, *({**second, "t": began + number} for number in range(1, seconds + 1))]


def handed_out(node: str, began: float, ahead: float = 0.0, silence: tuple[float, float] | None = None) -> dict[tuple[str, str], Any]:
    """What the prober of a node hands out, of ten seconds that are just over. ``ahead`` is its clock, ``silence`` what it saw of the API server."""
    answers: dict[tuple[str, str], Any] = {}
    files = []
    for kind in ("target", "host", "pod"):
        lines = log(node, kind, began + ahead, figures=[1, 10, 10, 0, 0, 0.5, 51.0, [0, 10]] if kind == "pod" else None)
        if silence and kind == "pod":
            lines.append({"k": "gap", "p": 2, "t": silence[0] + ahead, "ms": 1000 * (silence[1] - silence[0]), "by": ""})
        content = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        name = f"r1-{kind}-1-x-0000.jsonl"
        files.append([name, len(content)])
        # In two pieces, as a long log would come, and the second after a line was cut.
        answers[f"host-{node}", f"{name}@0"] = content[:700]
        answers[f"host-{node}", f"{name}@700"] = content[700:]
    return {**answers, (f"host-{node}", "logs"): {"node": node, "run": "r1", "t": time.time() + ahead, "files": files}}


def test_totals() -> None:
    monitor, _client = connected({("host-ctr", "stats"): stats(), ("host-w1", "stats"): stats()})
    found = disruption_info.read_totals(monitor)
    assert found["requests"] == 2 * 2 * 2 * 5 * 10
    assert (found["waiting_for"], found["silent"]) == ([], {})


def test_totals_tell_of_a_node_that_is_away() -> None:
    monitor, _client = connected({("host-ctr", "stats"): stats()})
    found = disruption_info.read_totals(monitor)
    assert found["requests"] == 2 * 2 * 5 * 10
    assert found["silent"] == {"w1": "host-w1 is away"}
    assert "the probers of w1" in found["waiting_for"]


def test_logs_are_read_whole_and_those_of_targets_first() -> None:
    began = time.time() - 10
    monitor, client = connected({**handed_out("ctr", began), **handed_out("w1", began)}, since=began)
    found = disruption_info.read_logs(monitor, CIDR, {}, [], 0)
    assert (found["verdict"], found["reasons"], found["silent"]) == ("ok", [], {})
    assert found["requests"] == 2 * 10 * 10
    assert found["since"] == pytest.approx(began)
    kinds = [path.split("-")[1] for _pod, path in client.asked if path.endswith("@0")]
    assert kinds[:2] == ["target", "target"]
    assert len(kinds) == 6


def test_a_prober_that_is_just_replaced_is_waited_for() -> None:
    began = time.time() - 10
    monitor, client = connected({**handed_out("ctr", began), **handed_out("w1", began)}, since=began)
    client.late = 1
    found = disruption_info.read_logs(monitor, CIDR, {}, [], 5)
    assert (found["silent"], client.looks) == ({}, 2)


@pytest.mark.parametrize("ahead", [0.0, 500.0])
def test_ends_of_dns_are_told_by_the_clock_of_the_controller(ahead: float) -> None:
    monitor, client = connected({})
    client.dns_ended = [100.0 + ahead]
    assert monitor.ends_of_dns({"ctr": ahead}) == [(99.0, 110.0)]


def test_what_was_before_the_monitor_was_complete_does_not_count() -> None:
    began = time.time() - 10
    monitor, _client = connected({**handed_out("ctr", began), **handed_out("w1", began)}, since=began + 5.5)
    assert disruption_info.read_logs(monitor, CIDR, {}, [], 0)["requests"] == 2 * 10 * 5


def test_the_clock_of_a_node_may_be_wrong() -> None:
    began = time.time() - 10
    monitor, _client = connected({**handed_out("ctr", began, ahead=500.0), **handed_out("w1", began)}, since=began)
    found = disruption_info.read_logs(monitor, CIDR, {}, [], 0)
    assert (found["verdict"], found["reasons"]) == ("ok", [])


def absence(starts: dict[str, float], *, ahead: float = 0.0, away: str = "ctr") -> Any:
    """What is made of seven and a half seconds without the API server, with what was started so many seconds after their first full one."""
    began = float(int(time.time() - 10))
    answers = {**handed_out("ctr", began, ahead), **handed_out("w1", began, silence=(began + 1.5, began + 9.0))}
    monitor, client = connected(answers, since=began)
    client.starts = {what: began + 2 + ahead + second for what, second in starts.items()}
    found = disruption_info.read_logs(monitor, CIDR, {away: [[began + 1, began + 9]]}, [], 0)["api_server"]["absence"]
    # On a busy machine the clocks seem to differ by as much as it takes to get from here to the reading.
    moments = [found.pop(name) for name in ("start", "answered", "end", "ms")] if found else None
    assert moments in (None, pytest.approx([began + 1.5, began + 9.0, began + 9.0, 7500.0], abs=0.2))
    return found


@pytest.mark.parametrize("ahead", [0.0, 500.0])
def test_an_absence_of_the_api_server_is_divided_by_the_starts_on_its_node(ahead: float) -> None:
    shares = [{"what": "machine", "seconds": 1.5}, {"what": "kubelet", "seconds": 2.0}, {"what": "etcd", "seconds": 1.0}, {"what": "apiserver", "seconds": 3.0}]
    found = absence({"kubelet": 1, "etcd": 3, "kube-apiserver": 4}, ahead=ahead)
    # A clock that is wrong is known no better than the answer took.
    assert (found["node"], [share["what"] for share in found["shares"]]) == ("ctr", [share["what"] for share in shares])
    assert [share["seconds"] for share in found["shares"]] == pytest.approx([share["seconds"] for share in shares], abs=0.2)


def test_an_absence_in_which_nothing_was_started_has_no_shares() -> None:
    assert absence({"kubelet": -600, "etcd": -590, "kube-apiserver": -590}) == {"node": "ctr", "shares": []}


def test_without_a_witness_there_is_no_absence() -> None:
    assert absence({}, away="w1") is None


def test_an_absence_while_no_control_plane_node_was_away_has_no_shares() -> None:
    began = time.time() - 10
    answers = {**handed_out("ctr", began), **handed_out("w1", began, silence=(began + 1.5, began + 9.0))}
    monitor, _client = connected(answers, since=began)
    found = disruption_info.read_logs(monitor, CIDR, {}, [], 0)["api_server"]["absence"]
    assert (found["node"], found["shares"]) == (None, [])


def test_starts_that_are_denied_are_an_error() -> None:
    monitor, client = connected({})
    client.node_events = raising(cluster.NotFound("no"))  # type: ignore[method-assign, assignment]
    with pytest.raises(cluster.NotFound):
        disruption_info.read_shares(monitor, {"start": 1.0, "end": 9.0, "node": "ctr"}, {}, 0)


@pytest.mark.parametrize("away", [{}, {"w1": [[time.time() - 30, None]]}])
def test_a_node_that_hands_out_nothing_leaves_it_unknown(away: dict[str, Any]) -> None:
    began = time.time() - 10
    monitor, _client = connected(handed_out("ctr", began), since=began)
    found = disruption_info.read_logs(monitor, CIDR, away, [], 0)
    assert found["verdict"] == "unknown"
    assert list(found["silent"]) == ["w1"]
    assert found["reasons"] == [f"the {kind} prober of w1 never reported" for kind in ("host", "pod", "target")]


def test_without_a_monitor_it_says_so() -> None:
    monitor, client = connected({})
    client.config = raising(cluster.NotFound("no"))  # type: ignore[method-assign, assignment]
    with pytest.raises(cluster.NotFound, match="there is no monitor in the namespace cni-migration-monitor"):
        disruption_info.read_totals(monitor)


def test_evidence_that_has_no_monitor_any_more_is_unknown_and_no_error() -> None:
    monitor, client = connected({})
    client.config = raising(cluster.NotFound("no"))  # type: ignore[method-assign, assignment]
    found = disruption_info.read_logs(monitor, CIDR, {}, [], 0)
    assert (found["verdict"], found["reasons"]) == ("unknown", ["no request was made"])


def raising(error: Exception) -> Any:
    def call(*_args: Any, **_kwargs: Any) -> Any:
        raise error

    return call


def test_an_api_server_that_goes_away_while_a_log_is_read_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor, client = connected({("host-w1", "log@0"): b"one\ntw", ("host-w1", "log@6"): b"o\n"})
    slept: list[float] = []
    answer = client.handed_out

    def flaky(path: str) -> Any:
        if path.endswith("/log@6") and len(slept) < 3:
            raise cluster.ApiUnavailable("connection refused")
        return answer(path)

    monkeypatch.setattr(SystemClock, "sleep", slept.append)
    client.handed_out = flaky  # type: ignore[method-assign]
    assert list(monitor.lines("host-w1", 9470, "log", 8)) == ["one", "two"]
    assert len(slept) == 3
