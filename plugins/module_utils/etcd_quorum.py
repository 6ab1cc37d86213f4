# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a node of the control plane can be spared by etcd, decided from what etcd's members tell. Pure.

Where etcd is and how it is reached is what the API server of the node is told by its flags: that is true of a stacked etcd, which has a
member on each node of the control plane, of an external one, and of one that somebody runs beside kubeadm on the same machines. Which members there
are is etcd's own list, since one that is forgotten counts for the quorum, too. Answers are those of etcd's HTTP gateway
(``/v3/cluster/member/list``, api/etcdserverpb/rpc.proto) and of ``/health`` (server/etcdserver/api/etcdhttp/health.go).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_FLAG = re.compile(r"""^\s*-\s+["']?--(etcd-(?:servers|cafile|certfile|keyfile))=([^"'\s]*)""", re.MULTILINE)


@dataclass(frozen=True)
class Access:
    """How an API server reaches etcd: any of its servers, and the files with the authority it trusts and with its own certificate and key."""

    servers: Sequence[str]
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


@dataclass(frozen=True)
class Member:
    """A member of etcd, as etcd lists it. A learner does not vote yet; one that was never started has neither a name nor ``urls``.

    ``here`` says that it is on the node that was asked, ``trouble`` why it is not healthy, empty when it is.
    """

    id: int
    name: str
    urls: Sequence[str]
    learner: bool = False
    here: bool = False
    trouble: str = ""


@dataclass(frozen=True)
class Etcd:
    """Etcd as one node sees it. ``trouble`` says why there is no list of its members."""

    members: Sequence[Member] = ()
    trouble: str = ""

    @property
    def sound(self) -> bool:
        """Whether every member votes and is healthy."""
        return bool(self.members) and not any(member.trouble or member.learner for member in self.members)

    @property
    def settled(self) -> bool:
        """Whether there is nothing to wait for: all is well, or none of it is on the node that was asked."""
        return self.sound or (bool(self.members) and not self.stacked)

    @property
    def stacked(self) -> bool:
        """Whether a member is on the node that was asked, so that it goes where the node goes."""
        return any(member.here for member in self.members)

    @property
    def quorum(self) -> int:
        """How many members have to agree."""
        return len(self.members) // 2 + 1

    @property
    def left(self) -> int:
        """How many members there are without those on the node that was asked."""
        return sum(not member.here for member in self.members)


@dataclass(frozen=True)
class Complaint:
    """What keeps the node where it is, and what to do about it."""

    fact: str
    advice: str


def access(manifest: str) -> Access | None:
    """What the manifest of a kube-apiserver tells of etcd, or None when it names no server."""
    flags = dict(_FLAG.findall(manifest))
    servers = [server for server in flags.get("etcd-servers", "").split(",") if server]
    return Access(servers, *(flags.get(f"etcd-{name}file", "") for name in ("ca", "cert", "key"))) if servers else None


def listed(answer: str) -> list[Member]:
    """The members in the answer of the gateway, nothing known of their health yet. Raises :class:`ValueError` for anything else."""
    told = json.loads(answer)
    if not isinstance(told, dict) or not told.get("members"):
        raise ValueError(f"the answer is no list of members: {answer[:100]!r}")
    return [Member(int(each["ID"]), each.get("name", ""), tuple(each.get("clientURLs", ())), bool(each.get("isLearner"))) for each in told["members"]]


def trouble(status: int, body: str) -> str:
    """Why a member that answered ``/health`` so is not healthy, empty when it is."""
    try:
        told: Any = json.loads(body)
    except ValueError:
        told = None
    if status == 200 and isinstance(told, Mapping) and told.get("health") == "true":
        return ""
    reason = told.get("reason") if isinstance(told, Mapping) else " ".join(body.split())[:100]
    return f"it answers {status}" + (f": {reason}" if reason else "")


def complaints(etcd: Etcd, *, spare: bool) -> list[Complaint]:
    """What keeps the node from going: nothing, where it carries no member, or all are healthy and, with ``spare``, can do without it.

    A cluster with one node of the control plane is known to be without etcd while this node is away, so that it is nothing to complain of.
    """
    if etcd.trouble:
        advice = "see whether etcd runs (crictl ps --name etcd, journalctl -u kubelet), and whether this is a node of the control plane by kubeadm"
        return [Complaint(f"etcd cannot be asked: {etcd.trouble}", advice)]
    if not etcd.stacked:
        return []
    found = list(_unsound(etcd))
    if spare and not found and len(etcd.members) > 1 and etcd.left < etcd.quorum:
        fact = f"etcd has {len(etcd.members)} members: without this node {etcd.left} is left, which is no quorum, and no API server answers"
        found.append(Complaint(fact, "add a node to the control plane, or set cilium_migration_switch: in_place, with which etcd goes on"))
    return found


def _unsound(etcd: Etcd) -> Iterator[Complaint]:
    for member in etcd.members:
        removal = f"if its node is gone for good, remove it: etcdctl member remove {member.id:x}"
        if not member.urls:
            yield Complaint(f"member {member.id:x} of etcd was never started", f"let its node finish joining; {removal}")
        elif member.learner:
            yield Complaint(f"{_named(member)} is a learner, which has no vote yet", f"let its node finish joining; {removal}")
        elif member.trouble:
            yield Complaint(f"{_named(member)} is not healthy: {member.trouble}", f"bring it back first (crictl logs of etcd on its node); {removal}")


def _named(member: Member) -> str:
    return f"member {member.name} of etcd ({', '.join(member.urls)})"


def summary(etcd: Etcd) -> str:
    """One line of what was seen, for a node about which there is no complaint."""
    number, healthy = len(etcd.members), sum(not member.trouble for member in etcd.members)
    if not etcd.stacked:
        return f"no member of etcd is on this node; {healthy} of {number} at {', '.join(url for member in etcd.members for url in member.urls)} are healthy"
    if number == 1:
        return "the only member of etcd is on this node, and healthy"
    return f"all {number} members of etcd are healthy; {etcd.left} without this node, {etcd.quorum} are a quorum"
