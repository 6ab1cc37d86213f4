# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in the way of a migration, decided from facts alone.

Every check is a pure function from API objects (as the API gives them) and node facts (as ``cni_node_info`` gives them)
to findings. Nothing here asks the cluster or a node.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import eviction
from ansible_collections.netops.cni_migration.plugins.module_utils import migration_status as status
from ansible_collections.netops.cni_migration.plugins.module_utils.node_state import NodeView, Phase

Object = Mapping[str, Any]

REFUSED = "refused"
WARNING = "warning"

MINIMUM_KERNEL = (5, 4)
"""Cilium 1.17's least kernel (its documentation, Operations, System Requirements)."""

OTHER_CNI_DAEMONSETS = {
    "antrea-agent": "Antrea",
    "aws-node": "the Amazon VPC CNI",
    "azure-cni": "the Azure CNI",
    "calico-node": "Calico",
    "canal": "Canal",
    "kindnet": "kindnet",
    "kube-multus-ds": "Multus",
    "kube-ovn-cni": "Kube-OVN",
    "kube-router": "kube-router",
    "weave-net": "Weave Net",
}
"""The DaemonSets by which the manifests of other CNIs are known."""

_FOREIGN_TO_NODE_NETWORK = re.compile(r"^(lo|cni0|flannel.*|cilium_.*|lxc.*|docker0|nodelocaldns|kube-ipvs0)$")


@dataclass(frozen=True)
class Finding:
    """One fact that refuses or warns: the check, its level, the node (empty: the cluster), what was seen, what to do."""

    check: str
    level: str
    fact: str
    advice: str
    node: str = ""


@dataclass(frozen=True)
class Settings:
    """What the migration is about to use, and what its user accepts to lose or to wait for."""

    pod_cidr: str
    tunnel_port: int
    evict: eviction.EvictionPolicy
    accept_blocking_budgets: bool = False
    direct_routes: bool = False
    routing_changes: bool = False


@dataclass(frozen=True)
class Cluster:
    """The API objects the checks read: lists as the API returns them."""

    nodes: Sequence[Object]
    pods: Sequence[Object] = field(default_factory=list)
    budgets: Sequence[Object] = field(default_factory=list)
    daemonsets: Sequence[Object] = field(default_factory=list)
    deployments: Sequence[Object] = field(default_factory=list)
    flannel_config: Object | None = None


def findings(cluster: Cluster, settings: Settings, node_facts: Mapping[str, Object]) -> list[dict[str, str]]:
    """Every finding as a dictionary, the refusals first."""
    found = [
        *cni_findings(cluster, node_facts),
        *cidr_findings(cluster, settings, node_facts),
        *routing_findings(cluster, settings, node_facts),
        *node_findings(cluster, settings, node_facts),
        *workload_findings(cluster, settings),
        *dns_findings(cluster),
    ]
    return [asdict(finding) for finding in sorted(found, key=lambda each: (each.level, each.node, each.check))]


def cni_findings(cluster: Cluster, node_facts: Mapping[str, Object]) -> Iterator[Finding]:
    """Flannel must be the cluster's CNI, unless a migration has removed it; no third one may be there."""
    others = [OTHER_CNI_DAEMONSETS[name] for name in _daemonset_names(cluster) if name in OTHER_CNI_DAEMONSETS]
    for name in others:
        yield Finding("cni", REFUSED, f"{name} runs in this cluster", "only Flannel can be migrated; remove the other CNI first")
    begun = any(NodeView.from_api(node).phase is Phase.MIGRATED for node in cluster.nodes)
    if status.flannel_daemonset(cluster.daemonsets) is None and not begun:
        seen = ", ".join(others) or ("Cilium" if "cilium" in _daemonset_names(cluster) else "no CNI")
        yield Finding("cni", REFUSED, f"Flannel was not found; found {seen}", "this migration starts from Flannel; check the kubeconfig")
    for node, facts in node_facts.items():
        active = facts["cni_active"]
        if active and "flannel" not in active and "cilium" not in active:
            yield Finding("cni", REFUSED, f"{active} is the active CNI configuration", "remove it: it comes before Flannel's by name", node)


def _daemonset_names(cluster: Cluster) -> list[str]:
    return [item["metadata"]["name"] for item in cluster.daemonsets]


def cidr_findings(cluster: Cluster, settings: Settings, node_facts: Mapping[str, Object]) -> Iterator[Finding]:
    """The pod networks may overlap neither each other nor the Services nor a network the nodes are on."""
    pod_networks = {"Cilium's pod CIDR": settings.pod_cidr}
    flannel = status.flannel_network(cluster.flannel_config)
    if flannel:
        pod_networks["Flannel's pod CIDR"] = flannel
    others = {}
    services = service_cidrs(cluster.pods)
    if not services:
        yield Finding("cidr", WARNING, "the service CIDR cannot be read from the API server's flags", "see yourself that it does not overlap the pod CIDRs")
    others.update({f"the service CIDR {cidr}": cidr for cidr in services})
    others.update(node_networks(node_facts))
    for left, right in overlaps(pod_networks, others):
        yield Finding("cidr", REFUSED, f"{left} overlaps {right}", "choose another cilium_migration_pod_cidr")


def service_cidrs(pods: Iterable[Object]) -> list[str]:
    """The value of ``--service-cluster-ip-range`` of the first API server pod that states it."""
    for pod in pods:
        if pod["metadata"].get("labels", {}).get("component") != "kube-apiserver":
            continue
        for argument in pod["spec"]["containers"][0].get("command", []):
            name, _separator, value = argument.partition("=")
            if name == "--service-cluster-ip-range":
                return value.split(",")
    return []


def node_networks(node_facts: Mapping[str, Object]) -> dict[str, str]:
    """The IPv4 networks the nodes' own links are on, by a text that names the first node and link."""
    networks: dict[str, str] = {}
    for node, facts in node_facts.items():
        for link in facts["links"]:
            if _FOREIGN_TO_NODE_NETWORK.match(link["name"]):
                continue
            for address in link["addresses"]:
                network = ipaddress.ip_interface(address).network
                if network.version == 4 and str(network) not in networks.values():
                    networks[f"the node network {network} ({link['name']} of {node})"] = str(network)
    return networks


def routing_findings(cluster: Cluster, settings: Settings, node_facts: Mapping[str, Object]) -> Iterator[Finding]:
    """Direct routes need all nodes in one network; a routing mode that changes under traffic has its price."""
    if not pending_nodes(cluster):
        return
    if settings.routing_changes:
        yield Finding(
            "routing",
            WARNING,
            "the routing mode changes in the ending: measured, no pod reaches a pod on another node for 12 to 25 s",
            "it stays the same with cilium_migration_profile: lossless",
        )
    if not settings.direct_routes:
        return
    first: tuple[str, str] | None = None
    for node in cluster.nodes:
        name = status.name_of(node)
        for _link, address in _own_links(node, node_facts):
            network = str(ipaddress.ip_interface(address).network)
            first = first or (name, network)
            if network != first[1]:
                yield Finding(
                    "routing",
                    REFUSED,
                    f"the node is in the network {network} and {first[0]} in {first[1]}: there is no direct route between them",
                    "set routingMode: tunnel and autoDirectNodeRoutes: false in cilium_migration_values_extra",
                    name,
                )


def _own_links(node: Object, node_facts: Mapping[str, Object]) -> Iterator[tuple[Object, str]]:
    """The links that the node's internal address is on, each with that address and its prefix length."""
    for link in node_facts.get(status.name_of(node), {}).get("links", []):
        for address in link["addresses"]:
            if address.split("/")[0] == status.internal_ip(node):
                yield link, address


def overlaps(pod_networks: Mapping[str, str], others: Mapping[str, str]) -> list[tuple[str, str]]:
    """The pairs that overlap, each named with its CIDR: every two pod networks, and each of these with each other network."""
    named = [(f"{name} {cidr}", ipaddress.ip_network(cidr)) for name, cidr in pod_networks.items()]
    foreign = [(name, ipaddress.ip_network(cidr)) for name, cidr in others.items()]
    pairs = []
    for index, (name, network) in enumerate(named):
        for other_name, other in named[index + 1 :] + foreign:
            if network.version == other.version and network.overlaps(other):
                pairs.append((name, other_name))
    return pairs


def node_findings(cluster: Cluster, settings: Settings, node_facts: Mapping[str, Object]) -> Iterator[Finding]:
    """What a node's kernel, links and state say against it."""
    cilium_is_here = "cilium" in _daemonset_names(cluster)
    for view in map(NodeView.from_api, cluster.nodes):
        if not view.ready and view.phase is Phase.FLANNEL:
            yield Finding("ready", REFUSED, "the node is not Ready", "bring the node back before it is migrated", view.name)
    known = {status.name_of(node) for node in cluster.nodes}
    for name in node_facts.keys() - known:
        yield Finding("node", REFUSED, f"the cluster has no node {name}", "set cilium_migration_node_name to the Node's name", name)
    for name, facts in node_facts.items():
        yield from _kernel_findings(name, facts)
        yield from _tunnel_findings(name, facts, settings.tunnel_port, cilium_is_here)
        if facts["networkd_deletes_rules"]:
            yield Finding(
                "networkd",
                WARNING,
                "systemd-networkd runs and deletes routing policy rules that are not its own",
                "set ManageForeignRoutingPolicyRules=no in networkd.conf",
                name,
            )
    yield from _mtu_findings(cluster, node_facts)


def _kernel_findings(name: str, facts: Object) -> Iterator[Finding]:
    version = re.match(r"(\d+)\.(\d+)", facts["kernel"])
    least = ".".join(map(str, MINIMUM_KERNEL))
    if version is None or (int(version[1]), int(version[2])) < MINIMUM_KERNEL:
        yield Finding("kernel", REFUSED, f"the kernel is {facts['kernel']}", f"Cilium needs {least} or newer", name)
    if not facts["bpf"]:
        yield Finding("kernel", REFUSED, "the kernel has no bpf system call", "boot a kernel with CONFIG_BPF_SYSCALL", name)
    if not facts["btf"]:
        yield Finding("kernel", WARNING, "the kernel carries no BTF (/sys/kernel/btf/vmlinux)", "some of Cilium's features need CONFIG_DEBUG_INFO_BTF", name)


def _tunnel_findings(name: str, facts: Object, port: int, cilium_is_here: bool) -> Iterator[Finding]:
    links = [link for link in facts["links"] if not (cilium_is_here and link["name"].startswith("cilium_"))]
    on_port = [link for link in links if link.get("port") == port]
    for link in on_port:
        yield Finding(
            "tunnel",
            REFUSED,
            f"link {link['name']} (VNI {link['vni']}) already uses UDP port {port}",
            "remove the link or choose another cilium_migration_tunnel_port",
            name,
        )
    if port in facts["udp_ports"] and not on_port and not cilium_is_here:
        yield Finding("tunnel", REFUSED, f"UDP port {port} is bound on the node", "free it or choose another cilium_migration_tunnel_port", name)
    for link in links:
        if link["name"].startswith("cilium_"):
            yield Finding("tunnel", REFUSED, f"link {link['name']} exists, but this cluster has no Cilium", "an earlier Cilium left it: remove the link", name)


def _mtu_findings(cluster: Cluster, node_facts: Mapping[str, Object]) -> Iterator[Finding]:
    seen: dict[int, str] = {}
    for node in cluster.nodes:
        for link, _address in _own_links(node, node_facts):
            seen.setdefault(link["mtu"], f"{link['mtu']} on {link['name']} of {status.name_of(node)}")
    if len(seen) > 1:
        yield Finding("mtu", WARNING, f"the nodes' MTUs differ: {'; '.join(seen.values())}", "make them equal, or large packets may vanish between nodes")


def pending_nodes(cluster: Cluster) -> set[str]:
    """The names of the nodes that are still to move."""
    return {view.name for view in map(NodeView.from_api, cluster.nodes) if view.phase is not Phase.MIGRATED}


def workload_findings(cluster: Cluster, settings: Settings) -> Iterator[Finding]:
    """What the drain of the nodes that are still to move would lose or would wait for."""
    pending = pending_nodes(cluster)
    for pod in cluster.pods:
        node = pod["spec"].get("nodeName")
        if node not in pending or eviction.is_finished(pod):
            continue
        ports = host_ports(pod)
        if ports:
            yield Finding(
                "host_port",
                WARNING,
                f"pod {eviction.pod_name(pod)} uses host port {', '.join(map(str, ports))}",
                "nothing serves host ports between the move of its node and the ending",
                node,
            )
        if not eviction.stays(pod) and not eviction.is_own(pod):
            yield from _loss_findings(pod, settings)
            for budget in eviction.budgets_of(pod, cluster.budgets):
                yield from _budget_finding(budget, pod, settings)


def _loss_findings(pod: Object, settings: Settings) -> Iterator[Finding]:
    name, node = eviction.pod_name(pod), pod["spec"]["nodeName"]
    if eviction.controller(pod) is None:
        yield Finding(
            "unmanaged",
            _level(settings.evict.unmanaged_pods),
            f"pod {name} has no controller: once evicted it is gone",
            "accept this with cilium_migration_evict_unmanaged_pods: true",
            node,
        )
    if any("emptyDir" in volume for volume in pod["spec"].get("volumes") or []):
        yield Finding(
            "local_data",
            _level(settings.evict.delete_emptydir_data),
            f"pod {name} keeps data in an emptyDir: eviction deletes it",
            "accept this with cilium_migration_evict_emptydir_data: true",
            node,
        )


def _level(accepted: bool) -> str:
    return WARNING if accepted else REFUSED


def _budget_finding(budget: Object, pod: Object, settings: Settings) -> Iterator[Finding]:
    state = budget.get("status", {})
    name = f"{budget['metadata']['namespace']}/{budget['metadata']['name']}"
    if state.get("disruptionsAllowed", 0) > 0:
        return
    if state.get("expectedPods", 0) > state.get("desiredHealthy", 0):
        # It lets pods leave once all of them are healthy: the drain waits for that.
        yield Finding(
            "budget",
            WARNING,
            f"budget {name} lets pod {eviction.pod_name(pod)} go only when more of its pods are healthy",
            "the drain waits for it, up to cilium_migration_timeouts.drain",
            pod["spec"]["nodeName"],
        )
        return
    yield Finding(
        "budget",
        _level(settings.accept_blocking_budgets),
        f"budget {name} never lets pod {eviction.pod_name(pod)} go",
        "add replicas or relax the budget; or start anyway with cilium_migration_accept_blocking_budgets: true",
        pod["spec"]["nodeName"],
    )


def host_ports(pod: Object) -> list[int]:
    """The node's ports the pod asks for, when it is not on the host network anyway."""
    if pod["spec"].get("hostNetwork"):
        return []
    return [port["hostPort"] for container in pod["spec"]["containers"] for port in container.get("ports") or [] if port.get("hostPort")]


def dns_findings(cluster: Cluster) -> Iterator[Finding]:
    """Names that stop resolving, and applications that stop, while the one node they are on is drained."""
    if not pending_nodes(cluster):
        return
    dns = [pod for pod in cluster.pods if status.is_dns(pod)]
    nodes = {pod["spec"].get("nodeName") for pod in dns}
    if len(dns) == 1:
        yield Finding("dns", WARNING, "cluster DNS has one replica", "names do not resolve while it moves: scale it to two")
    elif len(nodes) == 1:
        yield Finding(
            "dns", WARNING, f"all {len(dns)} replicas of cluster DNS are on one node", "they are spread before that node is drained", nodes.pop() or ""
        )
    for deployment in cluster.deployments:
        if deployment["spec"].get("replicas", 1) == 1 and not _is_dns_deployment(deployment):
            yield Finding("single_replica", WARNING, f"Deployment {eviction.pod_name(deployment)} has one replica", "it is away while that replica moves")


def _is_dns_deployment(deployment: Object) -> bool:
    return deployment["metadata"].get("labels", {}).get("k8s-app") == "kube-dns"
