# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disruption monitor's prober: two nodes on the loopback device, with real sockets and real time."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from mortal import mortal

from ansible_collections.netops.cni_migration.plugins.module_utils.disruption import Analysis
from ansible_collections.netops.cni_migration.plugins.module_utils.disruption_excuses import Scope

SCRIPT = Path(__file__).resolve().parents[3] / "roles" / "disruption_monitor" / "files" / "prober.py"

# Runs the prober with the resolver of the test instead of the machine's.
BOOTSTRAP = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("prober", sys.argv[1])
prober = importlib.util.module_from_spec(spec)
spec.loader.exec_module(prober)
prober.resolver = lambda: ("127.0.3.1", "monitor.svc.cluster.local")
prober.DNS_PORT = int(sys.argv[4])
prober.tls_context = lambda _file: __import__("ssl").create_default_context()
prober.main(*sys.argv[2:4])
"""

NODES = ("a", "b")


@pytest.fixture(scope="module")
def prober() -> ModuleType:
    """The script of the role, imported as a module."""
    spec = importlib.util.spec_from_file_location("prober", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = sys.modules["prober"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def free_ports() -> int:
    """The first of two neighbouring ports that nobody uses."""
    for port in range(20000 + os.getpid() % 20000, 60000, 7):
        try:
            with socket.create_server(("", port)), socket.create_server(("", port + 1)):
                return port
        except OSError:
            continue
    raise AssertionError("no free ports")


class Cluster:
    """Two nodes. ``127.0.1.N`` are the nodes, ``127.0.2.N`` their targets, ``127.0.3.1`` the DNS; nobody answers for the API server."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.node_port = folder, free_ports(), free_ports() + 10
        self.processes: dict[tuple[str, str], subprocess.Popen[bytes]] = {}
        self.dns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.dns.bind(("127.0.3.1", 0))
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        while True:
            try:
                query, address = self.dns.recvfrom(512)
                record = b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4\x7f\0\2\1"
                self.dns.sendto(query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12:] + record, address)
            except OSError:
                return

    def start(self, node: str, kind: str, port: int = 0, name: str = "") -> None:
        """Run one prober. ``name`` is what it is called here, ``port`` where it listens if not at the usual place."""
        number = NODES.index(node) + 1
        folder = self.folder / f"{node}{name}"
        folder.mkdir(exist_ok=True)
        config = {
            "run": "r1",
            "nodes": [{"name": name, "ip": f"127.0.1.{index}"} for index, name in enumerate(NODES, 1)],
            "interval_ms": 50,
            "port": port or self.port,
            "service": "probe",
            "cluster_ip": "127.0.2.1",
            "node_ports": {
                f"{road}-{kind}": self.node_port + number for road in ("node-port", "own-node-port") for number, kind in enumerate(("new", "reused"))
            },
            "folder": str(folder),
            "ca_file": "",
        }
        config_file = folder / f"{kind}.config"
        config_file.write_text(json.dumps(config), encoding="utf-8")
        environment = {
            "NODE_NAME": node,
            "HOST_IP": f"127.0.1.{number}",
            "POD_IP": f"127.0.{1 if name else 2}.{number}",
            "KUBERNETES_SERVICE_HOST": "127.0.3.1",
            "KUBERNETES_SERVICE_PORT": "1",
        }
        command = mortal(BOOTSTRAP, str(SCRIPT), kind, str(config_file), str(self.dns.getsockname()[1]))
        self.processes[node, name or kind] = subprocess.Popen(command, env={**os.environ, **environment})

    def stop(self, node: str, kind: str, number: int = signal.SIGTERM) -> None:
        """End a prober."""
        process = self.processes.pop((node, kind))
        process.send_signal(number)
        process.wait(timeout=10)

    def get(self, node: str, path: str) -> bytes:
        """What the node's host prober hands out."""
        number = NODES.index(node) + 1
        with urllib.request.urlopen(f"http://127.0.1.{number}:{self.port}/{path}", timeout=10) as answer:
            return answer.read()

    def log(self, node: str, kind: str) -> list[dict[str, Any]]:
        """The lines of every log of this kind on the node, in order."""
        files = sorted((self.folder / node).glob(f"r1-{kind}-*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]

    def wait_for_status(self, folder: str, kind: str) -> None:
        """Wait until a prober runs."""
        deadline = time.monotonic() + 20
        while not (self.folder / folder / f"{kind}.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def wait(self, node: str, kind: str, path: str, mode: str, answers: int) -> None:
        """Wait until so many of the prober's requests on the path were answered."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            status = self.folder / node / f"{kind}.json"
            totals = json.loads(status.read_text(encoding="utf-8"))["totals"] if status.exists() else {}
            requests, failed = totals.get(f"{path}/{mode}", (0, 0))[:2]
            if requests - failed >= answers:
                return
            time.sleep(0.1)
        raise AssertionError(f"{path}/{mode} of {kind} on {node} had no {answers} answers in time")

    def close(self) -> None:
        """End everything."""
        for process in self.processes.values():
            process.kill()
            process.wait()
        self.dns.close()


@dataclass
class Seen:
    """What a run left."""

    cluster: Cluster
    stats: dict[str, Any]
    listing: dict[str, Any]
    pieces: dict[str, bytes]
    tail: bytes

    def events(self, path: str, mode: str, what: str = "probe") -> list[dict[str, Any]]:
        """What the pod prober of node a logged one by one."""
        lines = self.cluster.log("a", "pod")
        numbers = {line["p"] for line in lines if line["k"] == "path" and (line["path"], line["mode"]) == (path, mode)}
        return [line for line in lines if line["k"] == what and line["p"] in numbers]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """A run in which the target of node b is killed and comes back; then node a is stopped in order."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        for node in NODES:
            cluster.start(node, "target")
            cluster.start(node, "target", cluster.node_port, "-node-port")
        for node in NODES:
            cluster.wait_for_status(node, "target")
            cluster.wait_for_status(f"{node}-node-port", "target")
            cluster.start(node, "host")
        cluster.start("a", "pod")
        cluster.wait("a", "pod", "pod-other", "reused", 40)
        stats, listing = json.loads(cluster.get("a", "stats")), json.loads(cluster.get("a", "logs"))
        pieces = {name: cluster.get("a", f"{name}@0") for name, _size in listing["files"]}
        name, size = listing["files"][0]
        tail = cluster.get("a", f"{name}%40{size - 10}")
        cluster.stop("b", "target", signal.SIGKILL)
        time.sleep(1.2)
        cluster.start("b", "target")
        time.sleep(2.5)
        for kind in ("pod", "host", "target"):
            cluster.stop("a", kind)
        yield Seen(cluster, stats, listing, pieces, tail)
    finally:
        cluster.close()


ANSWERED = [(path, mode) for path in ("pod-same", "pod-other", "cluster-ip", "node-port", "dns") for mode in ("new", "reused")]


@pytest.mark.parametrize(("path", "mode"), ANSWERED)
def test_paths_are_answered(seen: Seen, path: str, mode: str) -> None:
    for kind in ("pod", "host"):
        requests, failed, _late, gap_ms = seen.stats["probers"][kind]["totals"][f"{path}/{mode}"]
        assert requests > 10
        assert failed == 0
        assert 25 <= gap_ms < 250


@pytest.mark.parametrize("path", ["pod-same", "cluster-ip", "node-port", "dns"])
def test_the_rhythm_is_kept(seen: Seen, path: str) -> None:
    log = seen.cluster.log("a", "pod")
    seconds = [line for line in log if line["k"] == "s"][3:]
    numbers = {line["p"] for line in log if line["k"] == "path" and (line["path"], line["mode"]) == (path, "new")}
    asked = sum(figures[1] for line in seconds[1:] for figures in line["f"] if figures[0] in numbers)
    requests = asked / (seconds[-1]["m"] - seconds[0]["m"])
    assert 16 < requests < 25  # with a request to the process now and then


def test_time_in_which_a_target_did_not_look_is_no_latency(seen: Seen) -> None:
    """It looks every 200 ms, so that half of the answers would take more than 100."""
    lines = seen.cluster.log("a", "pod")
    bounds = lines[0]["bounds_ms"]
    same = next(line["p"] for line in lines if line["k"] == "path" and (line["path"], line["mode"]) == ("pod-same", "reused"))
    buckets = [bucket for line in lines if line["k"] == "s" for figures in line["f"] if figures[0] == same for bucket in figures[7][::2]]
    assert len(buckets) > 3
    assert sorted(bounds[bucket] for bucket in buckets)[len(buckets) // 2] < 25


def test_a_server_that_is_not_there_is_told(seen: Seen) -> None:
    for mode in ("new", "reused"):
        events = seen.events("api-server", mode)
        assert {event["error"] for event in events} == {"refused"}
        assert all(event["port"] for event in events)  # by which it is found in a capture


def test_a_target_that_was_killed_breaks_a_kept_connection_once(seen: Seen) -> None:
    errors = [event["error"] for event in seen.events("pod-other", "reused")]
    assert errors[0] in ("closed", "reset")
    assert set(errors[1:]) == {"refused"}
    assert {event["error"] for event in seen.events("pod-other", "new")} == {"refused"}
    assert seen.events("pod-same", "new") == []


def test_a_connection_that_broke_names_who_was_at_its_end(seen: Seen) -> None:
    killed = next(line["incarnation"] for line in seen.cluster.log("b", "target"))
    assert seen.events("pod-other", "reused")[0]["by"] == f"b/{killed}"


def test_the_new_target_is_found(seen: Seen) -> None:
    lines = seen.cluster.log("a", "pod")
    incarnations = [line["incarnation"] for line in seen.cluster.log("b", "target") if line["k"] == "start"]
    found = [line["incarnation"] for line in lines if line["k"] == "path" and (line["path"], line["mode"]) == ("pod-other", "new")]
    assert found == incarnations
    assert [line["k"] for line in seen.cluster.log("b", "target")].count("stop") == 0


def test_a_gap_ends_where_its_target_is_given_up(seen: Seen) -> None:
    gaps = seen.events("pod-other", "new", "gap")
    assert len(gaps) == 1
    assert 1000 < gaps[0]["ms"] < 4500


def test_an_orderly_end_is_logged(seen: Seen) -> None:
    for kind in ("pod", "host", "target"):
        assert seen.cluster.log("a", kind)[-1]["k"] == "stop"
        assert json.loads((seen.cluster.folder / "a" / f"{kind}.json").read_text(encoding="utf-8"))["ip"] == ""


def test_logs_are_handed_out(seen: Seen) -> None:
    assert seen.listing["run"] == "r1"
    assert {name.split("-")[1] for name, _size in seen.listing["files"]} == {"pod", "host", "target"}
    for name, size in seen.listing["files"]:
        whole = (seen.cluster.folder / "a" / name).read_bytes()
        assert len(seen.pieces[name]) >= size
        assert whole.startswith(seen.pieces[name])
    name, size = seen.listing["files"][0]
    assert (seen.cluster.folder / "a" / name).read_bytes()[size - 10 :].startswith(seen.tail)


def test_a_datagram_socket_that_somebody_ended_was_aborted(prober: ModuleType) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", 53))
        # As Cilium ends it: its address is taken away. Connecting to AF_UNSPEC does the same.
        assert ctypes.CDLL(None).connect(sock.fileno(), bytes(16), 16) == 0
        with pytest.raises(OSError) as told:
            sock.send(b"?")
    assert prober.error_name(told.value.errno) == "aborted"


def asked(prober: ModuleType, folder: Path, content: bytes) -> tuple[Any, socket.socket]:
    """A request for a log that has come already, and its other end."""
    (folder / "r1-pod-1-x-0000.jsonl").write_bytes(content)
    server, client = socket.socketpair()
    server.setblocking(False)
    client.settimeout(10)
    client.sendall(b"GET /r1-pod-1-x-0000.jsonl@0 HTTP/1.1\r\n\r\n")
    host = SimpleNamespace(config={"run": "r1", "folder": str(folder)}, node="a", rewatch=lambda *_: None, forget=lambda _: None)
    return prober.Request(host, server), client


def test_a_request_is_answered_in_one_tick(prober: ModuleType, tmp_path: Path) -> None:
    request, client = asked(prober, tmp_path, b"line\n" * 1000)
    request.happened(0.0, 0)
    with client.makefile("rb") as answer:
        assert answer.read().endswith(b"\r\n\r\n" + b"line\n" * 1000)


@pytest.mark.parametrize("left", [3_000_000, 2_500_000])
def test_an_answer_that_the_connection_does_not_take_goes_on_later(prober: ModuleType, tmp_path: Path, left: int) -> None:
    """Also when the log has become shorter in the meantime."""
    request, client = asked(prober, tmp_path, b"line\n" * 600_000)
    request.happened(0.0, 0)
    os.truncate(tmp_path / "r1-pod-1-x-0000.jsonl", left)
    received = b""
    while piece := client.recv(1 << 16):
        received += piece
        if request.sock.fileno() >= 0:
            request.happened(0.0, 0)
    assert len(received.partition(b"\r\n\r\n")[2]) == left
    client.close()


@pytest.mark.parametrize("path", ["nothing", "..%2fa%2fpod.json", "../pod.config", "pod.config@0"])
def test_nothing_else_is_handed_out(seen: Seen, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        seen.cluster.get("b", path)


def test_the_log_is_judged(seen: Seen) -> None:
    """The whole way: what the probers write is what the analysis reads."""
    nodes = {node: [seen.cluster.log(node, kind) for kind in ("target", "host", "pod")] for node in NODES}
    since = max(log[0]["t"] for logs in nodes.values() for log in logs if log) + 2
    until = {"a": seen.cluster.log("a", "pod")[-1]["t"], "b": time.time()}
    analysis = Analysis(Scope("r1", NODES, since, until, {}, (), "10.245.0.0/16"))
    for logs in zip(*nodes.values()):
        for log in logs:
            analysis.read(map(json.dumps, log))
    report = analysis.report()
    assert report["requests"] > 500
    others = [failure for failure in report["failures"] if failure["path"].startswith("pod/pod-other") and failure["error"]]
    assert {failure["excused"] for failure in others} == {"target ended"}
    assert report["by_path"]["pod/dns/new/flannel>service"]["failed"] == 0
    assert report["verdict"] == "lost"
    assert any("requests to the API server failed" in reason for reason in report["reasons"])


@pytest.mark.parametrize(
    ("node", "names", "expected"),
    [
        ("a", ["a"], []),
        ("a", ["a", "b"], ["b"]),
        ("b", ["a", "b", "c"], ["c", "a"]),
        ("c", ["a", "b", "c", "d", "e", "f"], ["d", "f"]),
        ("new", ["a", "z"], ["z", "a"]),
    ],
)
def test_neighbours(prober: ModuleType, node: str, names: list[str], expected: list[str]) -> None:
    assert prober.neighbours(node, names) == expected


def test_every_node_of_a_large_cluster_is_probed_by_two_others(prober: ModuleType) -> None:
    names = [f"n{number:03}" for number in range(100)]
    probed = [other for node in names for other in prober.neighbours(node, names)]
    assert sorted(probed) == sorted(names * 2)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"\0\1\x81\x80\0\1\0\1\0\0\0\0rest", True),
        (b"\0\1\x81\x80\0\1\0\0\0\0\0\0rest", False),  # no record
        (b"\0\1\x81\x83\0\1\0\1\0\0\0\0rest", False),  # no such name
        (b"\0\1\x01\x00\0\1\0\1\0\0\0\0rest", False),  # a query
        (b"\0\1", False),
    ],
)
def test_answers_of_the_dns(prober: ModuleType, answer: bytes, expected: bool) -> None:
    assert prober.is_dns_answer(answer) is expected


def test_queries_to_the_dns(prober: ModuleType) -> None:
    assert prober.dns_query("probe.x.") == b"\1\0\0\1\0\0\0\0\0\0\5probe\1x\0\0\1\0\1"


def test_segments_begin_with_the_header_and_the_oldest_go_first(prober: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prober, "SEGMENT_BYTES", 200)
    monkeypatch.setattr(prober, "FOLDER_BYTES", 1500)
    log = prober.Log(str(tmp_path), "r1-pod-1-x", lambda: [{"k": "start"}])
    for number in range(100):
        log.write({"k": "s", "number": number, "filler": "." * 40})
        log.flush()
    log.close()
    files = sorted(tmp_path.iterdir())
    assert 2 < len(files) < 12
    assert sum(file.stat().st_size for file in files) < 2000
    lines = [[json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] for file in files]
    assert all(segment[0] == {"k": "start"} for segment in lines)
    numbers = [line["number"] for segment in lines for line in segment[1:]]
    assert numbers == list(range(numbers[0], 100))


def test_a_full_disk_does_not_stop_it(prober: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = prober.Log(str(tmp_path / "missing"), "r1-pod-1-x", list)
    log.write({"k": "s"})
    log.flush()
    assert "cannot write the log" in capfd.readouterr().err
    assert log.lines == []


@pytest.mark.parametrize("moment", [0.0, 0.013, 0.07, 1234.0987])
def test_the_two_probers_of_a_node_take_turns(prober: ModuleType, moment: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prober.time, "time", lambda: 1_768_642_000 + moment)
    monkeypatch.setattr(prober, "monotonic", lambda: 500.0)
    first = {}
    for kind in ("host", "pod"):
        made = SimpleNamespace(node="k8s-w1", kind=kind)
        first[kind] = prober.Prober.first_tick(made, 0.1)
        assert 500 < first[kind] <= 500.1
    assert (first["pod"] - first["host"]) % 0.1 == pytest.approx(0.05, abs=1e-6)
