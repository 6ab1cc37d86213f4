# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An API server with at most one Lease, on a port of this machine: versions, conflicts and moments are as kube-apiserver has them."""

from __future__ import annotations

import itertools
import json
import re
import threading
from typing import Any, Callable

from fake_api_server import FakeApiServer, _Handler

FOLDER = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
PATH = f"{FOLDER}/cni-migration"
# k8s.io/apimachinery parses a MicroTime by the layout 2006-01-02T15:04:05.000000Z07:00, which wants exactly six digits.
MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")


class LeaseServer(FakeApiServer):
    """``lease`` is the Lease, or None; ``writes`` what was written, in order. ``before`` is called with each request's method before it is served.

    ``away`` requests are answered by 503 first, as an API server does whose etcd is away.
    """

    def __init__(self, lease: dict[str, Any] | None = None) -> None:
        super().__init__({}, {})
        self.lease = lease
        self.writes: list[str] = []
        self.away = 0
        self.before: Callable[[str], None] = lambda method: None
        self.lock = threading.Lock()
        self.versions = itertools.count(100)

    def handler(self) -> type[_Handler]:
        return LeaseHandler

    def write(self, spec: dict[str, Any] | None) -> None:
        """Write the Lease as somebody else does; None deletes it."""
        with self.lock:
            self._put(spec)

    def _put(self, spec: dict[str, Any] | None) -> None:
        metadata = {"name": "cni-migration", "namespace": "kube-system", "resourceVersion": str(next(self.versions))}
        self.lease = None if spec is None else {"metadata": metadata, "spec": spec}

    def carry_out(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The status and the body of the answer."""
        self.before(method)
        with self.lock:
            if self.away > 0:
                self.away -= 1
                return refusal(503, "etcdserver: leader changed")
            assert path == (FOLDER if method == "POST" else PATH)
            spec = body.get("spec") or {}
            wrong = [spec[name] for name in ("acquireTime", "renewTime") if name in spec and not MICRO_TIME.fullmatch(spec[name])]
            if wrong:
                return refusal(400, f'parsing time "{wrong[0]}": cannot parse')
            if method == "POST":
                if self.lease is not None:
                    return refusal(409, 'leases.coordination.k8s.io "cni-migration" already exists')
                self._put(spec)
            elif self.lease is None:
                return refusal(404, 'leases.coordination.k8s.io "cni-migration" not found')
            elif method != "GET":
                wanted = (body.get("metadata") or body.get("preconditions") or {}).get("resourceVersion")
                if wanted not in (None, self.lease["metadata"]["resourceVersion"]):
                    return refusal(409, "the object has been modified; please apply your changes to the latest version and try again")
                self._put({**self.lease["spec"], **spec} if method == "PATCH" else None)
            if method != "GET":
                self.writes.append(method)
            return 200, self.lease or {"status": "Success"}


class LeaseHandler(_Handler):
    """Every method leads to the Lease."""

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        status, answer = self.api.carry_out(self.command, self.path, json.loads(self.rfile.read(length) or b"{}"))  # type: ignore[attr-defined]
        self._answer(status, json.dumps(answer))

    do_POST = do_PATCH = do_DELETE = do_GET


def refusal(status: int, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"kind": "Status", "status": "Failure", "message": message, "code": status}
