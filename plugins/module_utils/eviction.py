# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods must leave a node, which may, and which disruption budgets stand in the way. Pure.

The rules are those of ``kubectl drain`` (k8s.io/kubectl/pkg/drain/filters.go): DaemonSet and mirror pods stay, finished
pods always go, a pod without a controller or with an emptyDir goes only when that was accepted.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils.node_state import is_ready

MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
UNSCHEDULABLE_TAINT = "node.kubernetes.io/unschedulable"
OWN_LABEL = "cni-migration.netops/verify"

Pod = Mapping[str, Any]


@dataclass(frozen=True)
class EvictionPolicy:
    """What the user accepted to lose: data in emptyDir volumes; pods that nothing will create again."""

    delete_emptydir_data: bool = False
    unmanaged_pods: bool = False


@dataclass(frozen=True)
class Sorting:
    """The pods of a node by what becomes of them. ``leaving`` includes those already terminating."""

    leaving: tuple[Pod, ...]
    refused: tuple[tuple[Pod, str], ...]

    @property
    def unmanaged(self) -> tuple[Pod, ...]:
        """The leaving pods that nothing will create again."""
        return tuple(pod for pod in self.leaving if not is_finished(pod) and not is_own(pod) and controller(pod) is None)


def pod_name(pod: Pod) -> str:
    """``namespace/name``."""
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def pod_names(pods: Iterable[Pod]) -> list[str]:
    """Sorted ``namespace/name`` of the pods."""
    return sorted(pod_name(pod) for pod in pods)


def controller(pod: Pod) -> Mapping[str, Any] | None:
    """The owner reference of the pod's controller, if it has one."""
    owners = pod["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), None)


def is_finished(pod: Pod) -> bool:
    """True for a pod that will not run again."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_terminating(pod: Pod) -> bool:
    """True when the pod's deletion has begun."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def is_own(pod: Pod) -> bool:
    """True for a verification pod that a killed run left behind."""
    return OWN_LABEL in (pod["metadata"].get("labels") or {})


def is_static(pod: Pod) -> bool:
    """True for the mirror of a pod that the kubelet takes from a manifest of its own."""
    return MIRROR_ANNOTATION in (pod["metadata"].get("annotations") or {})


def stays(pod: Pod) -> bool:
    """True for pods that no eviction removes: the kubelet's own, and a DaemonSet's, which ignores cordons."""
    owner = controller(pod)
    return is_static(pod) or (owner is not None and owner.get("kind") == "DaemonSet")


def own_address(pod: Pod) -> str:
    """The address of a pod that runs off the host network; empty when it has none, yet or any more."""
    if pod["spec"].get("hostNetwork") or is_finished(pod):
        return ""
    return (pod.get("status") or {}).get("podIP") or ""


def outside_network(pods: Iterable[Pod], cidr: str) -> list[Pod]:
    """The pods that run with an address of their own which is not in ``cidr``."""
    network = ipaddress.ip_network(cidr)
    return [pod for pod in pods if (address := own_address(pod)) and ipaddress.ip_address(address) not in network]


def ignores_cordon(pod: Pod) -> bool:
    """True when the scheduler may put the pod on a cordoned node: evicting it there again could go on for ever."""
    for toleration in (pod.get("spec") or {}).get("tolerations") or []:
        key, effect = toleration.get("key") or "", toleration.get("effect") or "NoSchedule"
        by_existence = toleration.get("operator") == "Exists" and key in ("", UNSCHEDULABLE_TAINT)
        by_value = toleration.get("operator", "Equal") == "Equal" and key == UNSCHEDULABLE_TAINT and not toleration.get("value")
        if effect == "NoSchedule" and (by_existence or by_value):
            return True
    return False


def sort_pods(pods: Iterable[Pod], policy: EvictionPolicy, *, keep_tolerant: bool = False) -> Sorting:
    """Decide for each pod of a node. With ``keep_tolerant`` those that :func:`ignores_cordon` stay: they came back by design."""
    leaving: list[Pod] = []
    refused: list[tuple[Pod, str]] = []
    for pod in pods:
        if stays(pod) or (keep_tolerant and ignores_cordon(pod) and not is_own(pod)):
            continue
        reason = "" if is_terminating(pod) or is_finished(pod) or is_own(pod) else _refusal(pod, policy)
        if reason:
            refused.append((pod, reason))
        else:
            leaving.append(pod)
    return Sorting(tuple(leaving), tuple(refused))


def _refusal(pod: Pod, policy: EvictionPolicy) -> str:
    """Every reason why the pod may not be evicted; empty when it may."""
    reasons = []
    if controller(pod) is None and not policy.unmanaged_pods:
        reasons.append("has no controller and would be gone for good (evict.unmanaged_pods accepts it)")
    volumes = [volume["name"] for volume in (pod.get("spec") or {}).get("volumes") or [] if "emptyDir" in volume]
    if volumes and not policy.delete_emptydir_data:
        reasons.append(f"would lose the data of its emptyDir volumes {', '.join(volumes)} (evict.delete_emptydir_data accepts it)")
    return " and ".join(reasons)


def refusal_text(refused: Sequence[tuple[Pod, str]]) -> str:
    """One sentence that names each refused pod and the option that accepts it."""
    return "; ".join(f"pod {pod_name(pod)} {reason}" for pod, reason in refused)


def budgets_of(pod: Pod, budgets: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The PodDisruptionBudgets (policy/v1) that cover the pod."""
    labels = pod["metadata"].get("labels") or {}
    return [
        budget for budget in budgets if budget["metadata"]["namespace"] == pod["metadata"]["namespace"] and _selects(budget["spec"].get("selector"), labels)
    ]


def _selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """A label selector of policy/v1: an empty one selects every pod, an absent one none."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_matches(rule, labels) for rule in selector.get("matchExpressions") or [])


def _matches(rule: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, operator, values = rule["key"], rule["operator"], rule.get("values") or []
    return {
        "In": key in labels and labels[key] in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }[operator]


def allows(budget: Mapping[str, Any], pod: Pod) -> bool:
    """Whether the eviction API would let the pod go now (pkg/registry/core/pod/storage/eviction.go)."""
    status = budget.get("status") or {}
    if not is_ready(pod):
        if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
            return True
        if status.get("currentHealthy", 0) >= status.get("desiredHealthy", 0) > 0:
            return True
    return status.get("disruptionsAllowed", 0) > 0


def foreseen_blocks(leaving: Iterable[Pod], budgets: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The leaving pods whose eviction a budget would refuse at this moment, as :func:`block` describes them."""
    blocks = []
    for pod in leaving:
        if is_finished(pod) or is_terminating(pod) or (pod.get("status") or {}).get("phase") == "Pending":
            continue
        closed = [budget for budget in budgets_of(pod, budgets) if not allows(budget, pod)]
        if closed:
            healthy = ", ".join(
                f"{b['metadata']['name']} needs {(b.get('status') or {}).get('desiredHealthy', 0)} healthy pods "
                f"and has {(b.get('status') or {}).get('currentHealthy', 0)}"
                for b in closed
            )
            blocks.append(block(pod, closed, healthy))
    return blocks


def block(pod: Pod, budgets: Iterable[Mapping[str, Any]], message: str) -> dict[str, Any]:
    """One entry of ``blocked_by``: the pod, the budgets that hold it and the words that say so."""
    return {
        "namespace": pod["metadata"]["namespace"],
        "pod": pod["metadata"]["name"],
        "budgets": sorted(budget["metadata"]["name"] for budget in budgets),
        "message": message,
    }
