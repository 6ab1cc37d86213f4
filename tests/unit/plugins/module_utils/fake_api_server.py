# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An API server on a port of this machine: it hands out what it was given, and runs commands over websockets as kube-apiserver does."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

STDOUT, STDERR, VERDICT = 1, 2, 3
SUCCESS = {"metadata": {}, "status": "Success"}
# In the words of kubelet 1.33 and containerd 1.7 (pkg/cri/streaming/remotecommand/exec.go, pkg/cri/server/streaming.go).
EXIT_1 = {
    "metadata": {},
    "status": "Failure",
    "message": "command terminated with non-zero exit code: error executing command [tell -o json], exit code 1",
    "reason": "NonZeroExitCode",
    "details": {"causes": [{"reason": "ExitCode", "message": "1"}]},
}


@dataclass(frozen=True)
class Ran:
    """What a command wrote, in pieces, and how it ended, if it did; what becomes of the connection then: ``closed``, ``cut`` or ``kept``."""

    stdout: tuple[bytes, ...] = ()
    stderr: bytes = b""
    verdict: Mapping[str, Any] | None = field(default_factory=lambda: SUCCESS)
    connection: str = "closed"


@dataclass(frozen=True)
class Refused:
    """The answer in place of a connection."""

    status: int
    body: str


@dataclass(frozen=True)
class Stuck:
    """No answer at all, not even a refusal."""


class FakeApiServer:
    """``objects`` are what it hands out by path, ``commands`` what running anything in a pod does, by the pod's name."""

    def __init__(self, objects: Mapping[str, Any], commands: Mapping[str, Ran | Refused | Stuck]) -> None:
        self.objects, self.commands = dict(objects), dict(commands)
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        self.closing = threading.Event()

    def handler(self) -> type[_Handler]:
        """What answers the requests."""
        return _Handler

    @contextmanager
    def running(self, folder: Path) -> Iterator[str]:
        """Serve, and give the path of a kubeconfig that leads here."""

        class Handler(self.handler()):  # type: ignore[misc]
            api = self

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "c",
                    "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
                    "users": [{"name": "u", "user": {"token": "t"}}],
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                }
            ),
            encoding="utf-8",
        )
        try:
            yield str(kubeconfig)
        finally:
            self.closing.set()
            server.shutdown()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    api: FakeApiServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.api.asked.append((url.path, parse_qs(url.query)))
        if not url.path.endswith("/exec"):
            found = self.api.objects.get(url.path)
            self._answer(404 if found is None else 200, json.dumps({"message": "not found"} if found is None else found))
            return
        command = self.api.commands[url.path.split("/")[-2]]
        if isinstance(command, Stuck):
            self.api.closing.wait()
        elif isinstance(command, Refused):
            self._answer(command.status, command.body)
        else:
            self._run(command)
        self.close_connection = True

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def _run(self, command: Ran) -> None:
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        assert self.headers["Authorization"] == "Bearer t"
        assert "v4.channel.k8s.io" in self.headers["Sec-WebSocket-Protocol"]
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.send_header("Sec-WebSocket-Protocol", "v4.channel.k8s.io")
        self.end_headers()
        for piece in command.stdout:
            self._frame(0x82, bytes([STDOUT]) + piece)
        if command.stderr:
            self._frame(0x82, bytes([STDERR]) + command.stderr)
        if command.verdict is not None:
            self._frame(0x82, bytes([VERDICT]) + json.dumps(command.verdict).encode())
        if command.connection == "closed":
            self._frame(0x88, (1000).to_bytes(2, "big"))
        elif command.connection == "kept":
            self.api.closing.wait()

    def _frame(self, kind: int, content: bytes) -> None:
        size = len(content)
        self.wfile.write(bytes([kind, size]) if size < 126 else bytes([kind, 126]) + size.to_bytes(2, "big"))
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged."""
