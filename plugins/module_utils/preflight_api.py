# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the preflight that concern the way to the API server, and from it. Pure: each gives the lines of one check."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence

from ansible_collections.netops.cni_migration.plugins.module_utils import migration_status as status
from ansible_collections.netops.cni_migration.plugins.module_utils.preflight_model import WARNING, Cluster, Finding, Host, Object, Settings, judged

CALLERS = ("kube-apiserver", "kube-controller-manager")
"""What calls webhooks and other APIs that run in pods, and so must not do it by a proxy."""


def endpoint(cluster: Cluster, settings: Settings, pending: Sequence[Host]) -> Iterator[Finding]:
    """Where there are several nodes of the control plane, the address of one of them is the address of none while it reboots."""
    control_plane = [node for node in cluster.nodes if status.is_control_plane(node)]
    alone = {address: status.name_of(node) for node in control_plane for address in (status.internal_ip(node), status.name_of(node)) if address}

    def problems() -> Iterator[Finding]:
        if len(control_plane) < 2:
            return
        if node := alone.get(settings.api_host):
            advice = "while it is away, the agents of moved nodes reach no other: set cilium_migration_k8s_service_host to what leads to all of them"
            yield Finding("endpoint", WARNING, f"Cilium's agents are to reach the API server at {settings.api_host}, which is {node} alone", advice)
        if node := alone.get(cluster.server):
            advice = "nothing needs to be done: the run waits while it reboots. If it does not come back, go on with a kubeconfig that leads to another one"
            yield Finding("endpoint", WARNING, f"the kubeconfig leads to {cluster.server}, which is {node} alone", advice)

    if pending:
        yield from judged(
            "endpoint", problems(), f"Cilium's agents are to reach the API server at {settings.api_host}, the kubeconfig leads to {cluster.server}"
        )


def proxy(cluster: Cluster, settings: Settings, pending: Sequence[Host]) -> Iterator[Finding]:
    """kubeadm gives the control plane the proxy of the shell it was run in, and what is to be reached without it. That has to hold for the new network, too."""

    def problems() -> Iterator[Finding]:
        for pod in cluster.pods:
            component = (pod["metadata"].get("labels") or {}).get("component", "")
            if component in CALLERS and not _reached(_environment(pod), settings.pod_cidr):
                fact = f"{component} uses a proxy for all but its NO_PROXY, which does not name {settings.pod_cidr}"
                advice = f"add it in /etc/kubernetes/manifests/{component}.yaml on the node, or webhooks and APIs that run in pods may not be reached"
                yield Finding("proxy", WARNING, fact, advice, pod["spec"].get("nodeName") or "")

    if pending:
        yield from judged("proxy", problems(), "nothing that the control plane sends to pods goes by a proxy")


def _environment(pod: Object) -> dict[str, str]:
    """The pod's variables by their names in capitals; kubeadm hands on both ways of writing them."""
    return {each["name"].upper(): each.get("value") or "" for container in pod["spec"]["containers"] for each in container.get("env") or []}


def _reached(environment: Mapping[str, str], pod_cidr: str) -> bool:
    """Whether no proxy stands before the network: there is none, or one of the networks that are named without it holds it."""
    if not (environment.get("HTTP_PROXY") or environment.get("HTTPS_PROXY")):
        return True
    return any(_holds(each.strip(), pod_cidr) for each in environment.get("NO_PROXY", "").split(","))


def _holds(network: str, pod_cidr: str) -> bool:
    if network == "*":
        return True
    try:
        wide, own = ipaddress.ip_network(network, strict=False), ipaddress.ip_network(pod_cidr)
    except ValueError:
        return False  # a name; or a pod CIDR that is none, of which the check of CIDRs tells
    return isinstance(wide, ipaddress.IPv4Network) and isinstance(own, ipaddress.IPv4Network) and own.subnet_of(wide)
