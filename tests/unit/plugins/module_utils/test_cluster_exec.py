# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands in containers, through the real client and over real connections to an API server that answers as it is told."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from fake_api_server import EXIT_1, FakeApiServer, Ran, Refused, Stuck

from ansible_collections.netops.cni_migration.plugins.module_utils import cluster, cluster_exec
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_exec import CommandFailed, ExecCluster

# The client imports this at its first use, which takes more than the half second that some tests give: ansible-test runs each in a process of its own.
pytest.importorskip("kubernetes.client.api.core_v1_api")

COMMAND = ("tell", "-o", "json")
FORBIDDEN = {"kind": "Status", "status": "Failure", "message": 'pods "a" is forbidden: cannot create resource "pods/exec"', "reason": "Forbidden", "code": 403}


def run_each(folder: Path, commands: Mapping[str, Ran | Refused | Stuck], seconds: float = 10.0) -> tuple[dict[str, str], FakeApiServer]:
    """What each pod answered, where a failure counts as its words."""
    server = FakeApiServer({}, commands)
    with server.running(folder) as kubeconfig:
        answers = ExecCluster(kubeconfig).run_each("ns", list(commands), "box", COMMAND, seconds)
    return {pod: f"failed: {answer}" if isinstance(answer, CommandFailed) else answer for pod, answer in answers.items()}, server


def test_a_command_is_run_in_the_container_and_its_output_is_put_together(tmp_path: Path) -> None:
    pieces = (b'{"a": ', b"1" * 40_000, "}\u00e4".encode())
    answers, server = run_each(tmp_path, {"a": Ran(stdout=pieces, stderr=b"level=info")})
    assert answers == {"a": b"".join(pieces).decode()}
    ((path, query),) = server.asked
    assert path == "/api/v1/namespaces/ns/pods/a/exec"
    assert query["command"] == list(COMMAND) and query["container"] == ["box"]
    assert {name: query[name][0].lower() for name in ("stdout", "stderr", "stdin", "tty")} == {
        "stdout": "true",
        "stderr": "true",
        "stdin": "false",
        "tty": "false",
    }


def test_many_are_asked_at_the_same_time_and_none_gets_the_answer_of_another(tmp_path: Path) -> None:
    names = [f"p{number}" for number in range(3 * cluster_exec.THREADS)]
    answers, _server = run_each(tmp_path, {name: Ran(stdout=(name.encode(),)) for name in names})
    assert answers == {name: name for name in names}


def test_nothing_to_ask(tmp_path: Path) -> None:
    assert run_each(tmp_path, {})[0] == {}


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (Ran(stderr=b"no such\nsocket\n", verdict=EXIT_1), f"{EXIT_1['message']}: no such socket"),
        (Ran(stdout=(b"{",), verdict=None), "the connection ended before the command did"),
        (Ran(stdout=(b"{",), verdict=None, connection="cut"), "the connection ended before the command did: "),
        (Refused(404, json.dumps({"kind": "Status", "message": 'pods "a" not found', "reason": "NotFound", "code": 404})), 'pods "a" not found'),
        (Refused(500, 'container not found ("box")'), 'container not found ("box")'),
        (Ran(verdict=None, connection="kept"), "no answer within 0.5 s"),
        (Ran(stdout=(b"{",), verdict=None, connection="kept"), "no answer within 0.5 s"),
        (Stuck(), "no answer within 0.5 s"),
    ],
)
def test_a_pod_that_does_not_answer_says_why_and_the_others_are_heard(tmp_path: Path, command: Ran | Refused | Stuck, reason: str) -> None:
    began = time.monotonic()
    answers, _server = run_each(tmp_path, {"a": command, "b": Ran(stdout=(b"b",))}, seconds=0.5)
    assert answers["b"] == "b"
    assert answers["a"] == f"failed: {reason}" or (reason.endswith(": ") and answers["a"].startswith(f"failed: {reason}"))
    assert time.monotonic() - began < 5


def test_pods_that_are_stuck_do_not_keep_the_rest_waiting_for_ever(tmp_path: Path) -> None:
    names = [f"p{number}" for number in range(2 * cluster_exec.THREADS)]
    began = time.monotonic()
    answers, _server = run_each(tmp_path, {name: Stuck() for name in names}, seconds=0.2)
    assert answers == dict.fromkeys(names, "failed: no answer within 0.2 s")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("status", [401, 403])
def test_a_missing_right_is_nobodys_answer(tmp_path: Path, status: int) -> None:
    with pytest.raises(cluster.ApiDenied, match=rf'^run tell in pod ns/a: {status} pods "a" is forbidden: cannot create resource "pods/exec"(\.|$)'):
        run_each(tmp_path, {"a": Refused(status, json.dumps(FORBIDDEN)), "b": Ran()})


def test_an_api_server_that_is_away_is_nobodys_answer(tmp_path: Path) -> None:
    with FakeApiServer({}, {}).running(tmp_path) as kubeconfig:
        api = ExecCluster(kubeconfig)
    with pytest.raises(cluster.ApiUnavailable, match=r"^run tell in pod ns/a: .*refused"):
        api.run_each("ns", ["a"], "box", COMMAND, 10.0)


def test_a_daemonset_is_read(tmp_path: Path) -> None:
    with FakeApiServer({"/apis/apps/v1/namespaces/ns/daemonsets/d": {"metadata": {"name": "d"}}}, {}).running(tmp_path) as kubeconfig:
        api = ExecCluster(kubeconfig)
        assert api.get_daemonset("ns", "d") == {"metadata": {"name": "d"}}
        with pytest.raises(cluster.NotFound, match=r"^get daemonset ns/e: 404"):
            api.get_daemonset("ns", "e")
