# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a migration stands, read from API objects alone.

The truth lives in the cluster: the label by which Cilium takes a node over, and annotations under ``cni-migration.netops/``.
All functions are pure; objects are dictionaries as the API returns them.
"""

from __future__ import annotations

import base64
import gzip
import ipaddress
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import eviction, evidence
from ansible_collections.netops.cni_migration.plugins.module_utils.node_state import NodeView, Phase

Object = Mapping[str, Any]

FLANNEL_CONFIG_MAP = "kube-flannel-cfg"
FLANNEL_LABEL = "app=flannel"
CONTROL_PLANE_LABEL = "node-role.kubernetes.io/control-plane"


def name_of(item: Object) -> str:
    """The object's name."""
    return item["metadata"]["name"]


def internal_ip(node: Object) -> str:
    """The node's first InternalIP, or an empty string."""
    addresses = node.get("status", {}).get("addresses", [])
    return next((address["address"] for address in addresses if address["type"] == "InternalIP"), "")


def is_control_plane(node: Object) -> bool:
    """Whether kubeadm has marked the node as one of the control plane."""
    return CONTROL_PLANE_LABEL in (node["metadata"].get("labels") or {})


def is_dns(pod: Object) -> bool:
    """Whether the pod is a live replica of the cluster's DNS."""
    labels = pod["metadata"].get("labels") or {}
    return labels.get("k8s-app") == "kube-dns" and not eviction.is_finished(pod) and not eviction.is_terminating(pod)


def is_flannel(daemonset: Object) -> bool:
    """Whether the DaemonSet is Flannel's: by the label that its chart and its manifest both set."""
    key, _equals, value = FLANNEL_LABEL.partition("=")
    return (daemonset["metadata"].get("labels") or {}).get(key) == value


def flannel_daemonset(daemonsets: Iterable[Object]) -> Object | None:
    """Flannel's DaemonSet."""
    return next(filter(is_flannel, daemonsets), None)


def flannel_network(config: Object | None) -> str:
    """The pod CIDR in Flannel's ``kube-flannel-cfg`` ConfigMap, or an empty string."""
    return _flannel_settings(config).get("Network", "")


def flannel_backend(config: Object | None) -> str:
    """How Flannel carries packets between nodes, such as ``vxlan``, by its ConfigMap, or an empty string."""
    return (_flannel_settings(config).get("Backend") or {}).get("Type", "")


def _flannel_settings(config: Object | None) -> dict[str, Any]:
    return json.loads(config.get("data", {}).get("net-conf.json", "{}")) if config else {}


def pods_by_network(pods: Iterable[Object], networks: Mapping[str, str]) -> dict[str, list[str]]:
    """The pods that are not on the host network, by the named network their IP is in, or under ``other``.

    ``networks`` is name to CIDR. Ended pods and pods without an address yet are left out. Values are ``namespace/name`` and the IP.
    """
    parsed = {name: ipaddress.ip_network(cidr) for name, cidr in networks.items()}
    found: dict[str, list[str]] = {name: [] for name in [*parsed, "other"]}
    for pod in pods:
        address = eviction.own_address(pod)
        if not address:
            continue
        name = next((name for name, network in parsed.items() if ipaddress.ip_address(address) in network), "other")
        found[name].append(f"{eviction.pod_name(pod)} {address}")
    return found


def cni_of(labelled: bool, on_flannel: int, on_cilium: int) -> str:
    """Which CNI a node is on: its pods say so, and where it has none, the label."""
    if on_flannel and on_cilium:
        return "mixed"
    if on_flannel or on_cilium:
        return "flannel" if on_flannel else "cilium"
    return "cilium" if labelled else "flannel"


def node_status(node: Object, pods: Iterable[Object], networks: Mapping[str, str]) -> dict[str, Any]:
    """One node's place in the migration; ``networks`` holds ``flannel`` (unless it is gone) and ``cilium``.

    Raises :class:`ValueError` for an annotation of ours that cannot be read, StateError for an unknown state label.
    """
    view = NodeView.from_api(node)
    mine = [pod for pod in pods if pod["spec"].get("nodeName") == view.name]
    by_network = pods_by_network(mine, networks)
    records = evidence.records(view)
    return {
        "name": view.name,
        "address": internal_ip(node),
        "control_plane": is_control_plane(node),
        "ready": view.ready,
        "unschedulable": view.unschedulable,
        "labelled": view.switched_on,
        "state": view.phase.value,
        "awaits_reboot": view.awaits_reboot,
        "cni": cni_of(view.switched_on, len(by_network.get("flannel", [])), len(by_network["cilium"])),
        "pods": by_network,
        "dns_pods": [name_of(pod) for pod in mine if is_dns(pod)],
        "away": evidence.away_windows(records["times"]),
        **records,
    }


def helm_release(secrets: Iterable[Object]) -> dict[str, Any]:
    """A Helm release from its revisions' Secrets: ``{installed, values, chart_version, unfinished}``.

    ``values`` and ``chart_version`` are those of the deployed revision; ``unfinished`` names the Secrets of revisions whose
    install, upgrade or uninstall failed or was killed, which make Helm refuse the next one. Format: Helm's pkg/storage/driver/util.go
    (base64 of a gzipped JSON release), below the API's own base64.
    """
    release: dict[str, Any] = {"installed": False, "values": {}, "chart_version": "", "unfinished": []}
    for secret in secrets:
        state = (secret["metadata"].get("labels") or {}).get("status", "")
        if state == "deployed":
            text = gzip.decompress(base64.b64decode(base64.b64decode(secret["data"]["release"])))
            content = json.loads(text)
            release.update(installed=True, values=content.get("config") or {}, chart_version=content["chart"]["metadata"]["version"])
        elif state in ("failed", "uninstalling") or state.startswith("pending-"):
            release["unfinished"].append(name_of(secret))
    return release


def cluster_status(
    nodes: Sequence[Object],
    pods: Sequence[Object],
    daemonsets: Sequence[Object],
    networks: Mapping[str, str],
) -> dict[str, Any]:
    """The cluster's place in the migration, with :func:`node_status` of each node."""
    statuses = [node_status(node, pods, networks) for node in nodes]
    pending = [node["name"] for node in statuses if node["state"] != Phase.MIGRATED.value]
    names = {name_of(item) for item in daemonsets}
    flannel, kube_proxy, cilium = flannel_daemonset(daemonsets) is not None, "kube-proxy" in names, "cilium" in names
    outside = [pod for node in statuses for network, found in node["pods"].items() if network != "cilium" for pod in found]
    return {
        "nodes": statuses,
        "pending": pending,
        "all_migrated": bool(statuses) and not pending,
        "flannel": flannel,
        "flannel_pod_cidr": networks.get("flannel", ""),
        "kube_proxy": kube_proxy,
        "cilium": cilium,
        "outside": outside,
        "evidence": evidence.summary(statuses, old_world=flannel or kube_proxy, outside=outside),
        "way_back": evidence.way_back(statuses, old_world=flannel and kube_proxy and not cilium),
    }
