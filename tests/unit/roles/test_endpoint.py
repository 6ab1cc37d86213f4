# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in front of the API servers of a lab: servers on the loopback device, with real connections and real time."""

from __future__ import annotations

import datetime
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from mortal import AS_SCRIPT, mortal

SCRIPT = Path(__file__).resolve().parents[3] / "roles" / "vm_provision" / "files" / "nspawn" / "endpoint.py"
FRONT = "127.0.8.9"
SECONDS = 10


class ApiServer:
    """Answers ``/readyz`` as it is told to, and any other line with its name and that line."""

    def __init__(self, name: str, address: str, port: int, context: ssl.SSLContext) -> None:
        self.name, self.status = name, 200
        self._context = context
        self._listener = socket.create_server((address, port))
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with self._context.wrap_socket(connection, server_side=True) as secured, secured.makefile("rwb") as stream:
                for line in stream:
                    ready = line.startswith(b"GET /readyz ")
                    stream.write(f"HTTP/1.0 {self.status} told\r\n\r\n".encode() if ready else f"{self.name} {line.decode()}".encode())
                    stream.flush()
        except OSError:
            pass  # the other side has gone


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """The certificate that all servers show."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kube-apiserver")])
    now = datetime.datetime.now(datetime.timezone.utc)
    unsigned = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(days=1))
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(private + unsigned.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(file)
    return made


@pytest.fixture
def port() -> int:
    with socket.create_server((FRONT, 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def servers(context: ssl.SSLContext, port: int) -> Iterator[list[ApiServer]]:
    """Two API servers behind the endpoint, of three that it knows."""
    running = [ApiServer(name, address, port, context) for name, address in (("a", "127.0.8.1"), ("b", "127.0.8.2"))]
    process = subprocess.Popen(mortal(AS_SCRIPT, str(SCRIPT), FRONT, str(port), "127.0.8.1", "127.0.8.2", "127.0.8.3"))
    try:
        yield running
    finally:
        process.kill()
        process.wait()
        for server in running:
            server.close()


def connect(port: int) -> ssl.SSLSocket:
    unchecked = ssl.create_default_context()
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    return unchecked.wrap_socket(socket.create_connection((FRONT, port), timeout=SECONDS))


def ask(connection: ssl.SSLSocket, line: str = "hello") -> str:
    connection.sendall(f"{line}\n".encode())
    return connection.recv(100).decode().strip()


def answer(port: int) -> str:
    """Who answers a new connection; empty when nobody does."""
    try:
        with connect(port) as connection:
            return ask(connection).partition(" ")[0]
    except OSError:
        return ""


def seen(port: int, wanted: Callable[[set[str]], bool]) -> bool:
    """Whether in time eight new connections in a row are answered by those who are wanted."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if wanted({answer(port) for _each in range(8)}):
            return True
        time.sleep(0.1)
    return False


def ended(connection: ssl.SSLSocket) -> bool:
    """Whether in time a connection that was answered so far has been ended."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            if not ask(connection):
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


def test_connections_go_to_all_that_are_ready_and_to_no_other(servers: list[ApiServer], port: int) -> None:
    assert seen(port, lambda who: who == {"a", "b"})
    servers[0].status = 500
    assert seen(port, lambda who: who == {"b"})
    servers[0].status = 200
    assert seen(port, lambda who: who == {"a", "b"})
    for server in servers:
        server.status = 403
    assert seen(port, lambda who: who == {""})


def test_a_connection_lasts_as_long_as_its_server_is_ready(servers: list[ApiServer], port: int) -> None:
    assert seen(port, lambda who: who == {"a", "b"})
    kept = [connect(port) for _each in range(6)]
    by_name = {ask(connection).split()[0]: connection for connection in kept}
    assert by_name.keys() == {"a", "b"}
    servers[0].status = 500
    assert ended(by_name["a"]), "without a word of its server"
    assert ask(by_name["b"], "still here") == "b still here"
    for connection in kept:
        connection.close()
