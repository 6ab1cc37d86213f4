# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the preflight that concern the cluster as a whole. Pure: each gives the lines of one check."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from ansible_collections.netops.cni_migration.plugins.module_utils import eviction
from ansible_collections.netops.cni_migration.plugins.module_utils import migration_status as status
from ansible_collections.netops.cni_migration.plugins.module_utils.preflight_model import (
    OK,
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

UNDELETABLE = ("default", "kube-public", "kube-system")
"""Namespaces that the API server refuses to delete (its admission plugin NamespaceLifecycle)."""

MEASURED_BACKEND = "vxlan"
"""The backend of Flannel that this migration was measured with."""

_FOREIGN_TO_NODE_NETWORK = re.compile(r"^(lo|cni0|flannel.*|cilium_.*|lxc.*|docker0|nodelocaldns|kube-ipvs0)$")


def flannel(cluster: Cluster, settings: Settings, node_facts: Mapping[str, Object], pending: Sequence[Host]) -> Iterator[Finding]:
    """Flannel must be the cluster's CNI, unless a migration has removed it, and alone in its namespace; no third one may be there."""
    found = status.flannel_daemonset(cluster.daemonsets)
    names = [item["metadata"]["name"] for item in cluster.daemonsets]
    others = [OTHER_CNI_DAEMONSETS[name] for name in names if name in OTHER_CNI_DAEMONSETS]
    begun = len(pending) < len(cluster.nodes)

    def problems() -> Iterator[Finding]:
        for name in others:
            yield Finding("cni", REFUSED, f"{name} runs in this cluster", "only Flannel can be migrated; remove the other CNI first")
        if found is None and not begun:
            seen = ", ".join(others) or ("Cilium" if cluster.has_cilium else "no CNI by a DaemonSet")
            traces = _traces(node_facts)
            advice = f"only one that is a DaemonSet with the label {status.FLANNEL_LABEL} can be migrated" if traces else "check the kubeconfig"
            yield Finding("cni", REFUSED, f"Flannel was not found; found {seen}{traces}", f"this migration starts from Flannel; {advice}")
        if found is not None:
            yield from _home(found, cluster, settings)
        backend = status.flannel_backend(cluster.flannel_config)
        if found is not None and backend not in ("", MEASURED_BACKEND):
            advice = f"the migration was measured with {MEASURED_BACKEND} only: try it on a cluster that does not matter first"
            yield Finding("cni", WARNING, f"Flannel uses its backend {backend}", advice)
        if found is not None and (few := _too_few_ready(found)):
            advice = "look at its pods first: pods on such a node may have lost their network already"
            yield Finding("cni", WARNING, f"Flannel is Ready on {few}", advice)

    fact = "Flannel was removed by this migration" if found is None else f"DaemonSet {eviction.pod_name(found)} is the only CNI"
    return judged("cni", problems(), fact)


def _traces(node_facts: Mapping[str, Object]) -> str:
    """What of Flannel is on nodes although no DaemonSet runs it, in words; empty where there is nothing."""
    marks = {
        node: [name for name in (*(link["name"] for link in facts["links"]), *facts["cni_files"]) if "flannel" in name] for node, facts in node_facts.items()
    }
    nodes = [node for node, names in marks.items() if names]
    if not nodes:
        return ""
    return f", but {marks[nodes[0]][0]} on {nodes[0]}" + (f" and {counted(len(nodes) - 1, 'other node')}" if len(nodes) > 1 else "")


def _home(found: Object, cluster: Cluster, settings: Settings) -> Iterator[Finding]:
    """The ending deletes a namespace with all that is in it: that has to be Flannel's, and Flannel's alone."""
    namespace, name = found["metadata"]["namespace"], eviction.pod_name(found)
    if namespace in UNDELETABLE:
        advice = "move Flannel into one of its own first: its present manifest has kube-flannel"
        yield Finding("cni", REFUSED, f"DaemonSet {name} is in a namespace that nobody can delete", advice)
    elif namespace != settings.flannel_namespace:
        fact = f"DaemonSet {name} is not in {settings.flannel_namespace}, the namespace that the ending deletes"
        yield Finding("cni", REFUSED, fact, f"set cilium_migration_flannel_namespace: {namespace}")
    else:
        flannels = {item["metadata"]["name"] for item in cluster.daemonsets if status.is_flannel(item)}
        inside = [pod for pods in cluster.pods_by_node.values() for pod in pods if pod["metadata"]["namespace"] == namespace]
        strangers = [pod for pod in inside if (eviction.controller(pod) or {}).get("name") not in flannels]
        if strangers:
            fact = f"the ending deletes the namespace {namespace}, and with it {', '.join(sorted(map(eviction.pod_name, strangers)))}"
            yield Finding("cni", REFUSED, fact, "move what does not belong to Flannel into another namespace first")


def kube_proxy(cluster: Cluster, pending: Sequence[Host]) -> Iterator[Finding]:
    """While a node is on Flannel, something has to serve its Services."""
    found = cluster.daemonset("kube-proxy")

    def problems() -> Iterator[Finding]:
        advice = "Services on nodes that have not moved yet need it until the ending"
        if found is None:
            yield Finding("kube_proxy", WARNING, "there is no DaemonSet kube-proxy", f"make sure that something else does its work: {advice}")
        elif few := _too_few_ready(found):
            yield Finding("kube_proxy", WARNING, f"kube-proxy is Ready on {few}", f"look at its pods first: {advice}")

    if pending:
        yield from judged("kube_proxy", problems(), "kube-proxy is Ready on every node")


def _too_few_ready(daemonset: Object) -> str:
    """On how many nodes a DaemonSet is Ready where these are not all, else nothing. Its status may not be written yet."""
    state = daemonset.get("status") or {}
    ready, desired = state.get("numberReady", 0), state.get("desiredNumberScheduled", 0)
    return f"{ready} of {counted(desired, 'node')}" if ready < desired else ""


def cidr(cluster: Cluster, settings: Settings, node_facts: Mapping[str, Object], pending: Sequence[Host]) -> Iterator[Finding]:
    """The pod networks may overlap neither each other nor the Services nor a network the nodes are on or have routes to."""
    services = service_cidrs(cluster.pods)
    flannel_cidr = status.flannel_network(cluster.flannel_config)
    networks = node_networks(node_facts)

    def problems() -> Iterator[Finding]:
        try:
            own = ipaddress.ip_network(settings.pod_cidr)
        except ValueError as error:
            yield Finding("cidr", REFUSED, f"Cilium's pod CIDR is no network: {error}", "correct cilium_migration_pod_cidr")
            return
        if not services:
            advice = "see yourself that it does not overlap the pod CIDRs"
            yield Finding("cidr", WARNING, "the service CIDR cannot be read from the API server's flags", advice)
        ciliums = {f"Cilium's pod CIDR {own}": str(own)}
        flannels = {f"Flannel's pod CIDR {flannel_cidr}": flannel_cidr} if flannel_cidr else {}
        pairs = overlaps({**ciliums, **flannels}, {**{f"the service CIDR {each}": each for each in services}, **networks})
        # Flannel may have routes to its pods by the nodes' links, and once Cilium is there, it has, too.
        pairs += [] if cluster.has_cilium else overlaps(ciliums, routed_networks(node_facts, networks.values()))
        for left, right in pairs:
            yield Finding("cidr", REFUSED, f"{left} overlaps {right}", "choose another cilium_migration_pod_cidr")

    if pending:
        seen = [f"Cilium {settings.pod_cidr}", f"Flannel {flannel_cidr}", f"Services {', '.join(services)}", *(f"nodes {each}" for each in networks.values())]
        yield from judged("cidr", problems(), f"{'; '.join(seen)}: nothing overlaps")


def service_cidrs(pods: Iterable[Object]) -> list[str]:
    """The value of ``--service-cluster-ip-range`` of the first API server pod that states it."""
    for pod in pods:
        if (pod["metadata"].get("labels") or {}).get("component") != "kube-apiserver":
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


def routed_networks(node_facts: Mapping[str, Object], known: Collection[str]) -> dict[str, str]:
    """The networks the nodes have routes to by links of their own, but for those ``known``, by a text that names the first node and link."""
    networks: dict[str, str] = {}
    for node, facts in node_facts.items():
        for route in facts["routed_networks"]:
            if not _FOREIGN_TO_NODE_NETWORK.match(route["device"]) and route["network"] not in (*known, *networks.values()):
                networks[f"the route to {route['network']} ({route['device']} of {node})"] = route["network"]
    return networks


def overlaps(pod_networks: Mapping[str, str], others: Mapping[str, str]) -> list[tuple[str, str]]:
    """The pairs of names whose networks overlap: every two pod networks, and each of these with each other network."""
    named = [(name, ipaddress.ip_network(each)) for name, each in pod_networks.items()]
    foreign = [(name, ipaddress.ip_network(each)) for name, each in others.items()]
    pairs = []
    for index, (name, network) in enumerate(named):
        for other_name, other in named[index + 1 :] + foreign:
            if network.version == other.version and network.overlaps(other):
                pairs.append((name, other_name))
    return pairs


def routing(cluster: Cluster, settings: Settings, node_facts: Mapping[str, Object], pending: Sequence[Host]) -> Iterator[Finding]:
    """Direct routes need all nodes in one network; a routing mode that changes under traffic has its price."""
    networks = {name: str(ipaddress.ip_interface(address).network) for name, _link, address in _own_links(cluster, node_facts)}

    def problems() -> Iterator[Finding]:
        if settings.routing_changes:
            yield Finding(
                "routing",
                WARNING,
                "the routing mode changes in the ending: measured, no pod reaches a pod on another node for 12 to 25 s",
                "it stays the same with cilium_migration_profile: lossless",
            )
        if settings.direct_routes:
            yield from _apart(networks)
            yield from _unseen(networks, pending)

    if pending:
        seen = ", ".join(sorted(set(networks.values()))) or "no network that was seen"
        yield from judged("routing", problems(), f"the nodes are in {seen}, and the routing mode stays the same")


def _apart(networks: Mapping[str, str]) -> Iterator[Finding]:
    first = next(iter(networks.items()), ("", ""))
    for name, network in networks.items():
        if network != first[1]:
            fact = f"the node is in the network {network} and {first[0]} in {first[1]}: there is no direct route between them"
            advice = "set routingMode: tunnel and autoDirectNodeRoutes: false in cilium_migration_values_extra"
            yield Finding("routing", REFUSED, fact, advice, name)


def _unseen(networks: Mapping[str, str], pending: Sequence[Host]) -> Iterator[Finding]:
    for host in pending:
        if host.facts is not None and host.name not in networks:
            fact = f"the node's internal address {status.internal_ip(host.node) or '(none)'} is on none of its links"
            advice = "see yourself that it shares a layer 2 network with the others, or have Cilium tunnel"
            yield Finding("routing", WARNING, fact, advice, host.name)


def mtu(cluster: Cluster, node_facts: Mapping[str, Object], pending: Sequence[Host]) -> Iterator[Finding]:
    """Packets that one node can send must not be too large for another."""
    seen: dict[int, str] = {}
    for name, link, _address in _own_links(cluster, node_facts):
        seen.setdefault(link["mtu"], f"{link['mtu']} on {link['name']} of {name}")

    def problems() -> Iterator[Finding]:
        if len(seen) > 1:
            yield Finding("mtu", WARNING, f"the nodes' MTUs differ: {'; '.join(seen.values())}", "make them equal, or large packets may vanish between nodes")

    if pending:
        yield from judged("mtu", problems(), f"the nodes' links carry {', '.join(map(str, seen)) or 'an unknown number of'} bytes")


def _own_links(cluster: Cluster, node_facts: Mapping[str, Object]) -> Iterator[tuple[str, Object, str]]:
    """Each node's name, the link that its internal address is on, and that address with its prefix length."""
    for node in cluster.nodes:
        name = status.name_of(node)
        for link in (node_facts.get(name) or {}).get("links", []):
            for address in link["addresses"]:
                if address.split("/")[0] == status.internal_ip(node):
                    yield name, link, address


def dns(cluster: Cluster, pending: Sequence[Host]) -> Iterator[Finding]:
    """Names stop resolving while the one node that cluster DNS is on is drained."""
    replicas = [pod for pod in cluster.pods if status.is_dns(pod)]
    nodes = sorted({pod["spec"].get("nodeName") or "no node yet" for pod in replicas})

    def problems() -> Iterator[Finding]:
        if not replicas:
            yield Finding("dns", WARNING, "no pod has the label k8s-app=kube-dns", "see yourself that cluster DNS has replicas on two nodes")
        elif len(replicas) == 1:
            yield Finding("dns", WARNING, "cluster DNS has one replica", "names do not resolve while it moves: scale it to two")
        elif len(nodes) == 1:
            fact = f"all {len(replicas)} replicas of cluster DNS are on {nodes[0]}"
            yield Finding("dns", WARNING, fact, "nothing needs to be done: they are spread before that node is drained")

    if pending:
        yield from judged("dns", problems(), f"cluster DNS has {counted(len(replicas), 'replica')}, on {', '.join(nodes)}")


def single_replica(cluster: Cluster, pending: Sequence[Host]) -> Iterator[Finding]:
    """An application of one replica stops while the node it is on is drained."""

    def problems() -> Iterator[Finding]:
        for deployment in cluster.deployments:
            if deployment["spec"].get("replicas", 1) == 1 and (deployment["metadata"].get("labels") or {}).get("k8s-app") != "kube-dns":
                fact = f"Deployment {eviction.pod_name(deployment)} has one replica"
                yield Finding("single_replica", WARNING, fact, "it is away while that replica moves: scale it to two if it must not be")

    if pending:
        yield from judged("single_replica", problems(), f"none of {counted(len(cluster.deployments), 'Deployment')} has a single replica")


def membership(cluster: Cluster, settings: Settings, node_facts: Mapping[str, Object], pending: Sequence[Host]) -> Iterator[Finding]:
    """Each host of the run must be a node, and in the place that its node has in the order. Nodes that no host stands for are pointed out."""
    if not pending:
        yield Finding("node", OK, "every node of the cluster has moved")
    known = {status.name_of(node) for node in cluster.nodes}
    for name in sorted(node_facts.keys() - known):
        yield Finding("node", REFUSED, f"the cluster has no node {name}", "set cilium_migration_node_name to the Node's name", name)
    for host in pending:
        if host.facts is None:
            advice = "Cilium's agent starts on it all the same: run the preflight once without --limit, and have every node in the inventory"
            problems = [] if cluster.has_cilium else [Finding("node", WARNING, "no host of this run is this node: it was not looked at", advice, host.name)]
            yield from judged("node", problems, "it does not take part in this run", host.name)
        elif settings.control_plane is not None and status.is_control_plane(host.node) and host.name not in settings.control_plane:
            fact = "it is a node of the control plane, but its host is not in the group control_plane: it would be moved with the workers"
            yield Finding("node", REFUSED, fact, "put its host into that group: such nodes are moved last, and never two at a time", host.name)
        else:
            yield from judged("node", (), f"it takes part in this run, in state {host.view.phase.value}", host.name)
