# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the preflight that concern the pods of a node that is to be drained: what would be lost, or waited for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ansible_collections.netops.cni_migration.plugins.module_utils import eviction
from ansible_collections.netops.cni_migration.plugins.module_utils.preflight_model import (
    REFUSED,
    WARNING,
    Cluster,
    Finding,
    Host,
    Object,
    Settings,
    counted,
    judged,
)

NODE_PORTS = "30000,32767"
"""The range of NodePorts where Cilium's chart says nothing of it. A host port in it is left out (cilium 1.17.6, pkg/k8s/watchers/pod.go)."""


def pods(host: Host, cluster: Cluster, settings: Settings) -> Iterator[Finding]:
    """Every line about the node's pods."""
    here = cluster.pods_by_node.get(host.name, [])
    leaving = [pod for pod in here if not eviction.stays(pod) and not eviction.is_own(pod) and not eviction.is_terminating(pod)]
    number = counted(len(leaving), "pod")
    yield from judged("unmanaged", _unmanaged(host, leaving, settings), f"of {number} to be evicted each has a controller", host.name)
    yield from judged("local_data", _local_data(host, leaving, settings), f"of {number} to be evicted none keeps data in an emptyDir", host.name)
    yield from judged("budget", _budgets(host, leaving, cluster, settings), f"of {number} to be evicted no budget holds any back", host.name)
    yield from judged("host_port", _host_ports(host, here, settings), f"of {counted(len(here), 'pod')} none uses a host port", host.name)
    yield from judged("static_pod", _static_pods(host, here, settings), _static_fact(here), host.name)


def _unmanaged(host: Host, leaving: Iterable[Object], settings: Settings) -> Iterator[Finding]:
    for pod in leaving:
        if eviction.controller(pod) is None:
            yield Finding(
                "unmanaged",
                _level(settings.evict.unmanaged_pods),
                f"pod {eviction.pod_name(pod)} has no controller: once evicted it is gone",
                "accept this with cilium_migration_evict_unmanaged_pods: true",
                host.name,
            )


def _local_data(host: Host, leaving: Iterable[Object], settings: Settings) -> Iterator[Finding]:
    for pod in leaving:
        if any("emptyDir" in volume for volume in pod["spec"].get("volumes") or []):
            yield Finding(
                "local_data",
                _level(settings.evict.delete_emptydir_data),
                f"pod {eviction.pod_name(pod)} keeps data in an emptyDir: eviction deletes it",
                "accept this with cilium_migration_evict_emptydir_data: true",
                host.name,
            )


def _level(accepted: bool) -> str:
    return WARNING if accepted else REFUSED


def _budgets(host: Host, leaving: Iterable[Object], cluster: Cluster, settings: Settings) -> Iterator[Finding]:
    for pod in leaving:
        if (pod.get("status") or {}).get("phase") == "Pending":
            continue  # the API server evicts it whatever the budgets say
        name = eviction.pod_name(pod)
        budgets = eviction.budgets_of(pod, cluster.budgets_by_namespace.get(pod["metadata"]["namespace"], []))
        if len(budgets) > 1:
            names = " and ".join(sorted(budget["metadata"]["name"] for budget in budgets))
            fact = f"pod {name} is under the budgets {names}, and the API server evicts no pod that is under more than one"
            yield Finding("budget", _level(settings.accept_blocking_budgets), fact, f"delete all but one of them; {_ACCEPT}", host.name)
            continue
        for budget in budgets:
            if not eviction.allows(budget, pod):
                yield _blocking(host, budget, name, settings)


_ACCEPT = "or start anyway with cilium_migration_accept_blocking_budgets: true"


def _blocking(host: Host, budget: Object, pod: str, settings: Settings) -> Finding:
    state = budget.get("status") or {}
    name = eviction.pod_name(budget)
    if state.get("expectedPods", 0) > state.get("desiredHealthy", 0):
        # It lets pods leave once all of them are healthy: the drain waits for that.
        fact = f"budget {name} lets pod {pod} go only when more of its pods are healthy"
        return Finding("budget", WARNING, fact, "the drain waits for it, up to cilium_migration_timeouts.drain", host.name)
    fact = f"budget {name} never lets pod {pod} go"
    return Finding("budget", _level(settings.accept_blocking_budgets), fact, f"add replicas or relax the budget; {_ACCEPT}", host.name)


def _host_ports(host: Host, here: Iterable[Object], settings: Settings) -> Iterator[Finding]:
    """On Flannel the plugin portmap serves them; Cilium does it in place of kube-proxy, and by its own programs."""
    first, last = settings.cilium_config.get("node-port-range", NODE_PORTS).split(",")
    if settings.host_ports_served:
        otherwise = "Cilium serves it from the move of its node on, at the addresses of its devices: nobody measured that, so ask for it after the first node"
    else:
        otherwise = "nothing serves host ports between the move of its node and the ending"
    for pod in here:
        ports = host_ports(pod)
        if ports:
            lost = any(int(first) <= port <= int(last) for port in ports)
            never = f"Cilium serves none among its NodePorts ({first}-{last}), and after the move of its node nothing else does: choose another"
            fact = f"pod {eviction.pod_name(pod)} uses host port {', '.join(map(str, ports))}"
            yield Finding("host_port", WARNING, fact, never if lost else otherwise, host.name)


def host_ports(pod: Object) -> list[int]:
    """The node's ports the pod asks for, when it is not on the host network anyway."""
    if pod["spec"].get("hostNetwork"):
        return []
    return [port["hostPort"] for container in pod["spec"]["containers"] for port in container.get("ports") or [] if port.get("hostPort")]


def _static_pods(host: Host, here: Sequence[Object], settings: Settings) -> Iterator[Finding]:
    for pod in off_host_static_pods(here) if settings.in_place else ():
        yield Finding(
            "static_pod",
            REFUSED,
            f"static pod {eviction.pod_name(pod)} is not on the host's network, and without a reboot nothing makes it anew",
            "take its manifest away while the node moves, or set cilium_migration_switch: reboot",
            host.name,
        )


def _static_fact(here: Sequence[Object]) -> str:
    affected = eviction.pod_names(off_host_static_pods(here))
    return f"the reboot makes static pod {', '.join(affected)} anew, with an address of Cilium's" if affected else "no static pod needs an address of Cilium's"


def off_host_static_pods(here: Iterable[Object]) -> list[Object]:
    """The pods of the kubelet's own manifests that have an address of their own. No eviction moves them."""
    return [pod for pod in here if eviction.is_static(pod) and not pod["spec"].get("hostNetwork")]
