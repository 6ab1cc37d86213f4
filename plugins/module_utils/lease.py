# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may change the cluster: one run at a time, by a Lease of ``coordination.k8s.io/v1``. Pure.

A run is a process of Ansible on a controller, and the holder's identity says which: ``user@host/machine/pid/started``. So the run
itself is known again, a killed one can be told from one that lives wherever its process can be looked for, and nobody is taken for
a process that has got its number later. Moments are seconds since the epoch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils.api_absence import moments
from ansible_collections.netops.cni_migration.plugins.module_utils.move_times import stamp

NAMESPACE, NAME = "kube-system", "cni-migration"
LEASE = f"Lease {NAMESPACE}/{NAME}"
UNKNOWN = "-"

_IDENTITY = re.compile(r"([^/]+)/([^/]+)/([1-9][0-9]{0,8})/([0-9]+|-)")


@dataclass(frozen=True)
class Run:
    """A run: ``user@host``, where its process is to be looked for, the process's number, and when it was started.

    ``machine`` names a kernel and a PID namespace, ``started`` counts the kernel's ticks. Both are ``UNKNOWN`` where nothing tells them.
    """

    person: str
    machine: str
    pid: int
    started: str

    def __str__(self) -> str:
        return f"{self.person}/{self.machine}/{self.pid}/{self.started}"

    @classmethod
    def parse(cls, identity: str) -> Run | None:
        """The run of a holder's identity; None when it is of another make."""
        found = _IDENTITY.fullmatch(identity)
        return cls(found[1], found[2], int(found[3]), found[4]) if found else None

    def near(self, other: Run) -> bool:
        """Whether the other run's process, if there is one, can be seen from this one's."""
        return self.machine == other.machine != UNKNOWN

    def same(self, other: Run) -> bool:
        """Whether both are one run. A host can change its name meanwhile, so the name counts only where nothing else tells the machine."""
        return self == other or (self.near(other) and (self.pid, self.started) == (other.pid, other.started))


@dataclass(frozen=True)
class Tenure:
    """Whom a Lease belongs to, since when, and until when at least; no identity means nobody."""

    identity: str = ""
    since: float | None = None
    until: float = 0.0

    @classmethod
    def of(cls, lease: Mapping[str, Any] | None) -> Tenure:
        """What the Lease says, as the API has it. One that does not say for how long has run out."""
        spec = (lease or {}).get("spec") or {}
        if not spec.get("holderIdentity"):
            return cls()
        renewed = moments(spec, "renewTime")
        until = renewed[0] + (spec.get("leaseDurationSeconds") or 0) if renewed else 0.0
        return cls(spec["holderIdentity"], next(iter(moments(spec, "acquireTime")), None), until)

    @property
    def run(self) -> Run | None:
        """The run that holds it, None when that is nobody or something else than a run."""
        return Run.parse(self.identity)

    def is_of(self, me: Run) -> bool:
        """Whether this run holds it."""
        return self.run is not None and self.run.same(me)


class Verdict(Enum):
    """What is to be done about a Lease."""

    TAKE = "take"
    RENEW = "renew"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Decision:
    """The verdict and, where it is to refuse, why and what to do."""

    verdict: Verdict
    refusal: str = ""


def decide(found: Tenure, me: Run, now: float, *, alive: bool | None, renew: bool, take_over: str) -> Decision:
    """Decide for the run ``me`` about a Lease as it was read.

    ``alive`` says whether the holder's process lives, None where that cannot be seen: then the Lease has to run out. With ``renew`` only the holder
    may go on. ``take_over`` is the identity of a holder that has to yield; naming it keeps two who do so from taking the Lease in turns.
    """
    if found.is_of(me):
        return Decision(Verdict.RENEW)
    if renew:
        return Decision(Verdict.REFUSE, _lost(found))
    if not found.identity or found.identity == take_over or alive is False:
        return Decision(Verdict.TAKE)
    if alive is None and found.until <= now:
        return Decision(Verdict.TAKE)
    return Decision(Verdict.REFUSE, _refused(found, bool(alive)))


def spec(lease: Mapping[str, Any] | None, me: Run, now: float, seconds: int) -> dict[str, Any]:
    """The fields to write over the Lease that was read, or into a new one, so that ``me`` holds it for ``seconds`` from now."""
    wanted = {"holderIdentity": str(me), "leaseDurationSeconds": seconds, "renewTime": micro_stamp(now)}
    if Tenure.of(lease).is_of(me):
        return wanted
    transitions = ((lease.get("spec") or {}).get("leaseTransitions") or 0) + 1 if lease else 0
    return {**wanted, "acquireTime": micro_stamp(now), "leaseTransitions": transitions}


def micro_stamp(moment: float) -> str:
    """A moment as the API's MicroTime, never on the full second.

    The API server insists on six digits, and the Kubernetes client leaves a fraction out that is 0.
    """
    utc = datetime.fromtimestamp(moment, timezone.utc)
    return utc.replace(microsecond=utc.microsecond or 1).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _refused(found: Tenure, alive: bool) -> str:
    until = "as long as that process lives, on this machine" if alive else f"until {stamp(found.until)} unless it renews it"
    return (
        f"Another run is changing this cluster: {_who(found)} holds the {LEASE}{_since(found)}, {until}. Nothing was changed. Wait until it has ended"
        f"{'' if alive else ' or the Lease has run out'}, then run again. If you know that it must not go on, take over by "
        f"--extra-vars cilium_migration_take_over={found.identity}"
    )


def _lost(found: Tenure) -> str:
    told = "Nobody holds it now: another run took it over and has ended, or somebody has deleted it. Run again"
    if found.identity:
        told = f"{_who(found)} holds it{_since(found)}, until {stamp(found.until)} unless it renews it. When that run has ended, run again"
    return f"This run has lost the {LEASE} and stops here. {told}; it goes on from what the cluster shows."


def _who(found: Tenure) -> str:
    return f"{found.run.person}, process {found.run.pid}," if found.run else found.identity


def _since(found: Tenure) -> str:
    return "" if found.since is None else f" since {stamp(found.since)}"
