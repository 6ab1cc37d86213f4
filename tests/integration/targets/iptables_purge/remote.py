# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The least a node needs to be reached over TCP as by SSH, and the program Ansible takes for ssh.

``remote.py serve`` runs on the node; any other call is Ansible's ssh: host and command are its last two arguments. Every
command comes over a new TCP connection through the node's real packet filter, which is what is tested.
"""

from __future__ import annotations

import json
import socket
import socketserver
import subprocess
import sys

PORT = 2222
UNREACHABLE = 255  # what ssh says when it cannot connect


class Node(socketserver.StreamRequestHandler):
    """One command: a line of JSON with it, then its input; the answer is one line of JSON."""

    def handle(self) -> None:
        """Run the command."""
        command = json.loads(self.rfile.readline())
        done = subprocess.run(["/bin/sh", "-c", command], input=self.rfile.read(), capture_output=True, check=False)
        answer = {"rc": done.returncode, "out": done.stdout.decode("latin-1"), "err": done.stderr.decode("latin-1")}
        self.wfile.write(json.dumps(answer).encode() + b"\n")


def client(host: str, command: str) -> int:
    """Run one command on ``host``."""
    try:
        with socket.create_connection((host, PORT), timeout=2) as connection:
            connection.settimeout(60)
            connection.sendall(json.dumps(command).encode() + b"\n" + sys.stdin.buffer.read())
            connection.shutdown(socket.SHUT_WR)
            answer = json.loads(connection.makefile().readline())
    except (OSError, ValueError) as exc:
        print(f"ssh: connect to host {host}: {exc}", file=sys.stderr)
        return UNREACHABLE
    sys.stdout.buffer.write(answer["out"].encode("latin-1"))
    sys.stderr.buffer.write(answer["err"].encode("latin-1"))
    return int(answer["rc"])


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        socketserver.ThreadingTCPServer.allow_reuse_address = True
        socketserver.ThreadingTCPServer(("", PORT), Node).serve_forever()
    sys.exit(UNREACHABLE if "-O" in sys.argv else client(*sys.argv[-2:]))
