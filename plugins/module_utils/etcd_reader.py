# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks etcd how it is, from a node of the control plane and by the certificate of its API server. Changes nothing."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from ansible_collections.netops.cni_migration.plugins.module_utils import etcd_quorum, node_reader
from ansible_collections.netops.cni_migration.plugins.module_utils.etcd_quorum import Access, Etcd, Member
from ansible_collections.netops.cni_migration.plugins.module_utils.host import HostError, read_text
from ansible_collections.netops.cni_migration.plugins.module_utils.waiting import Clock

ANSWER_SECONDS = 10
"""A member gives itself 7 s for a read that needs the quorum (server/config/config.go, ``ReqTimeout``)."""
PAUSE_SECONDS = 1.0


def look(manifest: str) -> Etcd:
    """Etcd as the API server of this node is told of it in ``manifest``.

    What cannot be asked is told in the answer. Raises :class:`HostError` when this node's own files or addresses cannot be read.
    """
    text = read_text(manifest)
    if text is None:
        return Etcd(trouble=f"there is no {manifest}")
    access = etcd_quorum.access(text)
    if access is None:
        return Etcd(trouble=f"{manifest} names no etcd servers")
    try:
        context = _context(access)
        members = _list(access, context)
    except _Silent as silence:
        return Etcd(trouble=str(silence))
    addresses = {address.split("/")[0] for link in node_reader.links() for address in link["addresses"]}
    with ThreadPoolExecutor(max_workers=len(members)) as pool:
        return Etcd(list(pool.map(lambda member: _asked(member, addresses, context), members)))


def watch(manifest: str, clock: Clock, seconds: float) -> Etcd:
    """The first :func:`look` after which there is nothing to wait for, or the last one within ``seconds``. Raises :class:`HostError`."""
    deadline = clock.monotonic() + seconds
    while True:
        seen = look(manifest)
        if seen.settled or clock.monotonic() >= deadline:
            return seen
        clock.sleep(PAUSE_SECONDS)


class _Silent(Exception):
    """Nobody gave an answer that can be understood; the message says why."""


def _context(access: Access) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=access.ca_file or None)
        # Newer versions of Python ask more of a certificate than Go does, by which kubeadm makes them and the API server checks them.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if access.cert_file:
            context.load_cert_chain(access.cert_file, access.key_file or None)
    except (OSError, ssl.SSLError) as exc:
        files = ", ".join(filter(None, (access.ca_file, access.cert_file, access.key_file)))
        raise HostError(f"cannot use the certificates of the API server ({files}): {exc}", path=access.cert_file) from exc
    return context


def _list(access: Access, context: ssl.SSLContext) -> list[Member]:
    """The members, by the first server that lists them."""
    reasons = []
    for server in access.servers:
        try:
            # Without `linearizable` it is the server's own list, which it tells also when there is no quorum.
            status, body = _request("POST", server, "/v3/cluster/member/list", context, "{}")
            if status == 200:
                return etcd_quorum.listed(body)
            reasons.append(f"{server} answers {status}: {' '.join(body.split())[:200]}")
        except (_Silent, ValueError) as exc:
            reasons.append(f"{server}: {exc}")
    raise _Silent("; ".join(reasons))


def _asked(member: Member, addresses: set[str], context: ssl.SSLContext) -> Member:
    located = replace(member, here=any(address in addresses for url in member.urls for address in _resolved(urlsplit(url).hostname)))
    reasons = []
    for url in member.urls:
        try:
            trouble = etcd_quorum.trouble(*_request("GET", url, "/health", context))
        except _Silent as exc:
            trouble = str(exc)
        if not trouble:
            return located
        reasons.append(trouble)
    return replace(located, trouble="; ".join(reasons) or "it was never started")


def _resolved(name: str | None) -> Iterator[str]:
    try:
        yield from (str(found[4][0]) for found in socket.getaddrinfo(name, None))
    except OSError:
        return


def _request(method: str, url: str, path: str, context: ssl.SSLContext, body: str | None = None) -> tuple[int, str]:
    """The status and the body of an answer, past any proxy. Raises :class:`_Silent`."""
    parts = urlsplit(url)
    connection: HTTPConnection
    try:
        if parts.scheme == "https":
            connection = HTTPSConnection(parts.hostname or "", parts.port, timeout=ANSWER_SECONDS, context=context)
        elif parts.scheme == "http":
            connection = HTTPConnection(parts.hostname or "", parts.port, timeout=ANSWER_SECONDS)
        else:
            raise _Silent(f"{url} is no address that can be asked")
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        finally:
            connection.close()
    except TimeoutError as exc:
        raise _Silent(f"no answer within {ANSWER_SECONDS} s") from exc
    except (OSError, HTTPException, ValueError) as exc:
        raise _Silent(f"no answer: {exc or type(exc).__name__}") from exc
