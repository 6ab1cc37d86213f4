# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What network policies there are, what enforces them in each phase of a migration, and where nothing does. Pure.

Flannel enforces none. Beside it something else may: it is known by its DaemonSet, and what is known by none is not found. What
it still catches of the traffic of pods on Cilium is not counted on: packets between two of them on a node pass no rule of the host.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import migration_status
from ansible_collections.netops.cni_migration.plugins.module_utils.preflight_model import WARNING, Finding, judged

Object = Mapping[str, Any]

CILIUM = "Cilium"
INITIAL = "initial"
FINAL = "final"

ENFORCED_IN = {"type": "list", "elements": "str", "choices": [INITIAL, FINAL], "default": [FINAL]}
"""The option of the modules that take it."""

NAMES_SHOWN = 5


@dataclass(frozen=True)
class Kind:
    """A kind of policy: its name, where the API has it, and whether it is enforced by Cilium 1.17 and by what is found beside Flannel."""

    name: str
    group: str
    version: str
    plural: str
    by_cilium: bool = True
    by_others: bool = True


KINDS = (
    Kind("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies"),
    Kind("CiliumNetworkPolicy", "cilium.io", "v2", "ciliumnetworkpolicies", by_others=False),
    Kind("CiliumClusterwideNetworkPolicy", "cilium.io", "v2", "ciliumclusterwidenetworkpolicies", by_others=False),
    Kind("AdminNetworkPolicy", "policy.networking.k8s.io", "v1alpha1", "adminnetworkpolicies", by_cilium=False),
    Kind("BaselineAdminNetworkPolicy", "policy.networking.k8s.io", "v1alpha1", "baselineadminnetworkpolicies", by_cilium=False),
)

ENFORCERS = {
    "Antrea": {"antrea-agent", "antrea-ubuntu", "antrea-agent-ubuntu"},
    "Azure NPM": {"azure-npm"},
    "Calico": {"calico-node", "canal", "calico/node"},
    "kindnet": {"kindnet", "kindnetd"},
    "kube-network-policies": {"kube-network-policies"},
    "kube-ovn": {"kube-ovn-cni", "kube-ovn"},
    "kube-router": {"kube-router"},
    "the Amazon VPC CNI's agent": {"aws-network-policy-agent"},
    "Weave Net": {"weave-net", "weave-npc"},
}
"""What enforces policies, by the names of its DaemonSet and the last parts of its images' names."""

PHASES = (("flannel", "flannel"), ("mixed", "flannel"), ("mixed", "cilium"), ("ending", "cilium"), ("migrated", "cilium"))
"""Each phase of a migration with each kind of node that it has."""


def overview(policies: Mapping[str, Iterable[Object]], daemonsets: Sequence[Object], enforced_in: Collection[str]) -> dict[str, Any]:
    """What there is and who enforces it when: ``{policies, enforceable, enforcers, phases}``.

    ``policies`` are lists of objects by the name of their kind; ``enforced_in`` names those of :data:`INITIAL` and :data:`FINAL` values
    with which Cilium enforces. In the result ``policies`` holds a list of names for each kind, ``enforceable`` says how many of them are of
    a kind that Cilium enforces, ``enforcers`` are ``{name, daemonset}``, and ``phases`` are ``{phase, nodes, enforcer, unprotected}``, where
    ``enforcer`` has a name by kind, empty for nobody, and ``unprotected`` the kinds without one. There are no phases without policies, nor
    where Flannel is gone, for then the migration is over.
    """
    names = {kind.name: sorted(_name(item) for item in policies.get(kind.name, ())) for kind in KINDS}
    enforcers = enforcers_of(daemonsets)
    used = [kind for kind in KINDS if names[kind.name]]
    under_way = migration_status.flannel_daemonset(daemonsets) is not None
    return {
        "policies": names,
        "enforceable": sum(len(names[kind.name]) for kind in KINDS if kind.by_cilium),
        "enforcers": enforcers,
        "phases": _phases(used, " and ".join(each["name"] for each in enforcers), enforced_in) if used and under_way else [],
    }


def enforcers_of(daemonsets: Iterable[Object]) -> list[dict[str, str]]:
    """What enforces policies beside Cilium: ``{name, daemonset}``, the DaemonSet as ``namespace/name``. One that is to run nowhere does not."""
    return [
        {"name": name, "daemonset": _name(item)}
        for item in daemonsets
        if (item.get("status") or {}).get("desiredNumberScheduled") != 0
        for name, marks in ENFORCERS.items()
        if marks & set(_marks(item))
    ]


def _marks(daemonset: Object) -> Iterator[str]:
    yield migration_status.name_of(daemonset)
    pod = (daemonset.get("spec") or {}).get("template", {}).get("spec", {})
    for container in pod.get("containers") or []:
        parts = container.get("image", "").partition("@")[0].split("/")
        parts[-1] = parts[-1].partition(":")[0]
        yield parts[-1]
        yield "/".join(parts[-2:])


def _name(item: Object) -> str:
    metadata = item["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else metadata["name"]


def _phases(kinds: Sequence[Kind], others: str, enforced_in: Collection[str]) -> list[dict[str, Any]]:
    rows = []
    for phase, nodes in PHASES:
        enforcer = {kind.name: _enforcer(kind, phase, nodes, others, enforced_in) for kind in kinds}
        rows.append({"phase": phase, "nodes": nodes, "enforcer": enforcer, "unprotected": [name for name, who in enforcer.items() if not who]})
    return rows


def _enforcer(kind: Kind, phase: str, nodes: str, others: str, enforced_in: Collection[str]) -> str:
    """Until the ending's audit is over, Cilium enforces what it did before."""
    if nodes == "flannel":
        return others if kind.by_others else ""
    return CILIUM if kind.by_cilium and (FINAL if phase == "migrated" else INITIAL) in enforced_in else ""


def findings(seen: Mapping[str, Any], enforced_in: Collection[str]) -> Iterator[Finding]:
    """What a user has to know of an :func:`overview` before the start."""
    return judged("policies", _problems(seen, enforced_in), "no network policy is affected")


def _problems(seen: Mapping[str, Any], enforced_in: Collection[str]) -> Iterator[Finding]:
    if not seen["phases"]:
        return
    used = [kind for kind in KINDS if seen["policies"][kind.name]]
    for by_others, enforcers in ((True, seen["enforcers"]), (False, [])):
        kinds = [kind.name for kind in used if kind.by_cilium and kind.by_others is by_others]
        if kinds:
            yield _enforced_finding(_listed(seen, kinds), enforcers, enforced_in)
    never = [kind.name for kind in used if not kind.by_cilium]
    if never:
        yield Finding(
            "policies",
            WARNING,
            f"{_listed(seen, never)}: Cilium 1.17 does not enforce this kind, so nothing does on a node on Cilium",
            "write what they demand as CiliumClusterwideNetworkPolicies, or do without",
        )


def _enforced_finding(policies: str, enforcers: Sequence[Mapping[str, str]], enforced_in: Collection[str]) -> Finding:
    who = " and ".join(f"{each['name']} (DaemonSet {each['daemonset']})" for each in enforcers)
    today = f"enforced by {who} on nodes on Flannel" if who else "enforced by nobody now, as far as DaemonSets tell"
    if INITIAL in enforced_in:
        then = "Cilium enforces them on each node from its move on, without an audit"
        advice = "see yourself that they drop nothing that is needed"
    elif FINAL in enforced_in:
        then = ("pods on nodes on Cilium are under none" if who else "this stays so") + " until the ending, from then on Cilium enforces them"
        advice = "the ending first lists what they would drop, and stops if it finds anything; cilium_migration_accept_policy_drops: true accepts that"
    else:
        then = "Cilium is told not to enforce any"
        advice = "look for policyEnforcementMode and policyAuditMode in the values"
    if who:
        advice += f"; remove {who} when Cilium enforces, unless it goes with Flannel"
    return Finding("policies", WARNING, f"{policies}: {today}; {then}", advice)


def _listed(seen: Mapping[str, Any], kinds: Sequence[str]) -> str:
    return ", ".join(_few(kind, seen["policies"][kind]) for kind in kinds)


def _few(kind: str, names: Sequence[str]) -> str:
    rest = len(names) - NAMES_SHOWN
    return f"{kind} {' '.join(names[:NAMES_SHOWN])}" + (f" and {rest} more" if rest > 0 else "")
