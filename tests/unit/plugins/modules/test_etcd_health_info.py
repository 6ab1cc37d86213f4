# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module over members of etcd that are small web servers on addresses of this machine's own network."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.netops.cni_migration.plugins.module_utils import etcd_reader
from ansible_collections.netops.cni_migration.plugins.module_utils.host import HostError
from ansible_collections.netops.cni_migration.plugins.modules import etcd_health_info

HEALTHY = (200, {"health": "true", "reason": ""})
LEADERLESS = (503, {"health": "false", "reason": "RAFT NO LEADER"})


class Clock:
    """A clock that does not wait; ``on_sleep`` is called instead, with the time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.on_sleep = lambda _now: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.on_sleep(self.now)

    def wall(self) -> float:
        return self.now


class Members:
    """As many members as there are answers to ``/health``; None stands for one that is not there."""

    def __init__(self, manifest: Path, urls: list[str], answers: list[tuple[int, dict[str, str]] | None]) -> None:
        self.manifest, self.urls, self.answers = str(manifest), urls, answers
        manifest.write_text(f"    - kube-apiserver\n    - --etcd-servers={','.join(urls)}\n", encoding="utf-8")

    def listed(self) -> dict[str, Any]:
        return {"members": [{"ID": str(10 + number), "name": f"cp-{number}", "clientURLs": [url]} for number, url in enumerate(self.urls)]}


@contextmanager
def running(folder: Path, answers: list[tuple[int, dict[str, str]] | None]) -> Iterator[Members]:
    """The members while they run."""
    members: Members

    class Handler(BaseHTTPRequestHandler):
        def _send(self, status: int, body: dict[str, Any]) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def do_GET(self) -> None:
            number = [server.server_address[1] for server in servers].index(self.server.server_address[1])
            answer = members.answers[number]
            assert self.path == "/health"
            if answer:
                self._send(*answer)

        def do_POST(self) -> None:
            assert self.path == "/v3/cluster/member/list"
            self.rfile.read(int(self.headers["Content-Length"]))
            self._send(200, members.listed())

        def log_message(self, *_arguments: Any) -> None:
            pass

    with ExitStack() as stack:
        servers = [stack.enter_context(ThreadingHTTPServer((f"127.0.7.{number + 1}", 0), Handler)) for number in range(len(answers))]
        for server in servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            stack.callback(server.shutdown)
        members = Members(folder / "kube-apiserver.yaml", [f"http://{server.server_address[0]!s}:{server.server_address[1]}" for server in servers], answers)
        yield members


@pytest.fixture(autouse=True)
def first_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine is the node of the first member, and wants everything to go by a proxy."""
    monkeypatch.setattr(etcd_reader.node_reader, "links", lambda: [{"addresses": ["10.0.2.15/24"]}, {"addresses": ["127.0.7.1/24", "fe80::1/64"]}])
    monkeypatch.setenv("http_proxy", "http://127.0.7.9:9")


def told(manifest: str, *, spare: bool = True) -> dict[str, Any]:
    return etcd_health_info.told(etcd_reader.look(manifest), spare=spare)


def test_options_are_documented_as_they_are() -> None:
    documented = yaml.safe_load(etcd_health_info.DOCUMENTATION)["options"]
    assert {name: {key: value for key, value in option.items() if key != "description"} for name, option in documented.items()} == etcd_health_info.OPTIONS


def test_all_that_is_documented_is_returned(tmp_path: Path) -> None:
    with running(tmp_path, [HEALTHY, HEALTHY, HEALTHY]) as members:
        found = told(members.manifest)
    documented = yaml.safe_load(etcd_health_info.RETURN)
    assert list(found) == list(documented)
    assert [list(member) for member in found["members"]] == [list(documented["members"]["contains"])] * 3
    assert [(member["id"], member["name"], member["here"], member["trouble"]) for member in found["members"]] == [
        ("a", "cp-0", True, ""),
        ("b", "cp-1", False, ""),
        ("c", "cp-2", False, ""),
    ]
    assert (found["complaints"], found["stacked"], found["summary"]) == ([], True, documented["summary"]["sample"])


def test_each_member_is_asked_itself(tmp_path: Path) -> None:
    with running(tmp_path, [HEALTHY, LEADERLESS, None]) as members:
        found = told(members.manifest)
    assert [member["trouble"] for member in found["members"]][:2] == ["", "it answers 503: RAFT NO LEADER"]
    assert found["members"][2]["trouble"].startswith("no answer: ")
    assert [list(complaint) for complaint in found["complaints"]] == [["fact", "advice"]] * 2
    assert found["summary"] == ""


def test_another_server_lists_them_when_the_first_is_away(tmp_path: Path) -> None:
    with running(tmp_path, [HEALTHY, HEALTHY]) as members:
        Path(members.manifest).write_text(f"- --etcd-servers=http://127.0.7.8:9,unix:///run/kine.sock,{members.urls[1]}\n", encoding="utf-8")
        found = told(members.manifest, spare=False)
    assert (len(found["members"]), found["complaints"]) == (2, [])


def test_who_lists_nobody_is_told_of(tmp_path: Path) -> None:
    manifest = tmp_path / "kube-apiserver.yaml"
    manifest.write_text("- --etcd-servers=http://127.0.7.8:9,unix:///run/kine.sock\n", encoding="utf-8")
    [complaint] = told(str(manifest))["complaints"]
    assert complaint["fact"].startswith("etcd cannot be asked: http://127.0.7.8:9: no answer: ")
    assert complaint["fact"].endswith("unix:///run/kine.sock: unix:///run/kine.sock is no address that can be asked")


def test_a_node_that_is_no_control_plane_is_told_of(tmp_path: Path) -> None:
    assert told(str(tmp_path / "none"))["complaints"][0]["fact"] == f"etcd cannot be asked: there is no {tmp_path}/none"
    (tmp_path / "other").write_text("- --secure-port=6443\n", encoding="utf-8")
    assert told(str(tmp_path / "other"))["complaints"][0]["fact"] == f"etcd cannot be asked: {tmp_path}/other names no etcd servers"


def test_certificates_that_cannot_be_read_are_an_error(tmp_path: Path) -> None:
    manifest = tmp_path / "kube-apiserver.yaml"
    manifest.write_text(f"- --etcd-servers=https://127.0.7.1:2379\n- --etcd-cafile={tmp_path}/ca.crt\n", encoding="utf-8")
    with pytest.raises(HostError, match=r"cannot use the certificates of the API server .*ca\.crt"):
        told(str(manifest))


def test_a_member_that_comes_back_is_waited_for(tmp_path: Path) -> None:
    clock = Clock()
    with running(tmp_path, [HEALTHY, HEALTHY, LEADERLESS]) as members:

        def recover(now: float) -> None:
            if now >= 3:
                members.answers[2] = HEALTHY

        clock.on_sleep = recover
        seen = etcd_reader.watch(members.manifest, clock, 120)
    assert seen.sound
    assert clock.now == 3


def test_what_was_seen_last_is_returned_when_the_time_is_over(tmp_path: Path) -> None:
    clock = Clock()
    with running(tmp_path, [HEALTHY, LEADERLESS]) as members:
        seen = etcd_reader.watch(members.manifest, clock, 5)
    assert not seen.sound
    assert clock.now == 5


def test_nobody_waits_for_an_etcd_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_reader.node_reader, "links", lambda: [{"addresses": ["10.0.2.15/24"]}])
    clock = Clock()
    with running(tmp_path, [HEALTHY, LEADERLESS]) as members:
        seen = etcd_reader.watch(members.manifest, clock, 5)
    assert (seen.stacked, clock.now) == (False, 0)
