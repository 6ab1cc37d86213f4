# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sound kubeadm cluster on Flannel as its API server and its three nodes tell of it, cut down to what is read. Tests break it at one place."""

from __future__ import annotations

import copy
import json
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import network_policies, preflight
from ansible_collections.netops.cni_migration.plugins.module_utils.eviction import EvictionPolicy
from ansible_collections.netops.cni_migration.plugins.module_utils.preflight_model import Cluster, Settings

GIB = 1 << 30
AGENT = "quay.io/cilium/cilium:v1.17.6@sha256:544de3d4fed7acba72758413812780a4972d47c39035f2a06d6145d8644a3353"
OPERATOR = "quay.io/cilium/operator-generic:v1.17.6"
NETSHOOT = "ghcr.io/nicolaka/netshoot:v0.8"
ADDRESSES = {"k8s-ctr": "192.168.10.100", "k8s-w1": "192.168.10.101", "k8s-w2": "192.168.10.102"}


def node(name: str, state: str = "", ready: str = "True", control_plane: bool = False, **status: Any) -> dict[str, Any]:
    """A Node with the label of ``state``; ``status`` replaces parts of its status."""
    labels = {"kubernetes.io/hostname": name, **({"cni-migration.netops/state": state} if state else {})}
    labels |= {"node-role.kubernetes.io/control-plane": ""} if control_plane else {}
    labels |= {"io.cilium.migration/cilium-default": "true"} if state in ("switching", "switched", "verified", "migrated") else {}
    calm = [{"type": f"{kind}Pressure", "status": "False", "reason": f"KubeletHasSufficient{kind}"} for kind in ("Memory", "Disk", "PID")]
    message = "kubelet is posting ready status" if ready == "True" else "Kubelet stopped posting node status."
    return {
        "metadata": {"name": name, "labels": labels, "annotations": {"cni-migration.netops/boot-id": "b0"} if state == "switched" else {}},
        "spec": {"podCIDR": "10.244.1.0/24"},
        "status": {
            "conditions": [*calm, {"type": "Ready", "status": ready, "reason": "KubeletReady", "message": message}],
            "addresses": [{"type": "InternalIP", "address": ADDRESSES.get(name, "192.168.10.109")}, {"type": "Hostname", "address": name}],
            "nodeInfo": {"bootID": "b", "kernelVersion": "6.1.0-37-amd64", "containerRuntimeVersion": "containerd://1.7.27"},
            "capacity": {"cpu": "2", "pods": "110"},
            "images": [
                {"names": [AGENT.replace(":v1.17.6", "")], "sizeBytes": 247_913_472},
                {"names": ["quay.io/cilium/operator-generic@sha256:91ac3bf7", OPERATOR], "sizeBytes": 37_281_792},
                {"names": ["ghcr.io/nicolaka/netshoot@sha256:aeafd567", NETSHOOT], "sizeBytes": 148_897_792},
                {"names": ["registry.k8s.io/pause:3.10"], "sizeBytes": 320_368},
            ],
            **status,
        },
    }


def pod(name: str, on: str = "k8s-w1", owner: str = "ReplicaSet", labels: dict[str, str] | None = None, phase: str = "Running", **spec: Any) -> dict[str, Any]:
    """A pod in ``default``; without ``owner`` nothing would make it again."""
    owners = [{"apiVersion": "apps/v1", "kind": owner, "name": "o", "uid": "u", "controller": True}] if owner else None
    return {
        "metadata": {"namespace": "default", "name": name, "labels": labels or {}, **({"ownerReferences": owners} if owners else {})},
        "spec": {"nodeName": on, "containers": [{"name": "c", "image": "docker.io/traefik/whoami:latest"}], **spec},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": "True"}]},
    }


def static_pod(name: str, on: str = "k8s-ctr", **spec: Any) -> dict[str, Any]:
    """The mirror of a pod of the kubelet's manifests."""
    found = pod(f"{name}-{on}", on, owner="Node", labels={"component": name}, **spec)
    found["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "5c0b", "kubernetes.io/config.source": "file"}
    return found


def daemonset(name: str, namespace: str = "kube-system", ready: int = 3, **labels: str) -> dict[str, Any]:
    """A DaemonSet with a pod on each of three nodes, of which some are Ready."""
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "status": {"desiredNumberScheduled": 3, "currentNumberScheduled": 3, "numberReady": ready},
    }


def deployment(name: str, replicas: int, **labels: str) -> dict[str, Any]:
    """A Deployment in ``default``."""
    return {"metadata": {"name": name, "namespace": "default", "labels": labels}, "spec": {"replicas": replicas}}


def budget(name: str, labels: dict[str, str], **status: int) -> dict[str, Any]:
    """A PodDisruptionBudget in ``default`` for the pods with these labels."""
    return {"metadata": {"namespace": "default", "name": name}, "spec": {"maxUnavailable": 0, "selector": {"matchLabels": labels}}, "status": status}


APISERVER = static_pod("kube-apiserver", hostNetwork=True)
APISERVER["spec"]["containers"] = [{"name": "kube-apiserver", "command": ["kube-apiserver", "--secure-port=6443", "--service-cluster-ip-range=10.96.0.0/16"]}]
DNS = [pod("coredns-a", "k8s-ctr", labels={"k8s-app": "kube-dns"}), pod("coredns-b", "k8s-w1", labels={"k8s-app": "kube-dns"})]
FLANNEL = daemonset("kube-flannel-ds", "kube-flannel", app="flannel", tier="node")
KUBE_PROXY = daemonset("kube-proxy")
CILIUM = daemonset("cilium")
FLANNEL_CONFIG = {"data": {"net-conf.json": json.dumps({"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}})}}


def cluster(*pods: dict[str, Any], **changes: Any) -> Cluster:
    """The cluster with these pods besides its own; ``changes`` replaces lists of it."""
    parts: dict[str, Any] = {
        "nodes": [node(name) for name in ADDRESSES],
        "pods": [APISERVER, *DNS, pod("webpod-a", "k8s-w1", labels={"app": "webpod"}), pod("webpod-b", "k8s-w2", labels={"app": "webpod"}), *pods],
        "daemonsets": [FLANNEL, KUBE_PROXY],
        "deployments": [deployment("coredns", 2, **{"k8s-app": "kube-dns"}), deployment("webpod", 2)],
        "flannel_config": FLANNEL_CONFIG,
        "policies": network_policies.overview({}, [FLANNEL, KUBE_PROXY], ["final"]),
        "server": ADDRESSES["k8s-ctr"],
        **changes,
    }
    return Cluster(**parts)


def container(image: str = AGENT, policy: str = "IfNotPresent") -> dict[str, Any]:
    """A container of Cilium's chart."""
    return {"name": "c", "image": image, "imagePullPolicy": policy}


def asked_on(health: int, of: dict[str, Any] | None, *ports: int) -> dict[str, Any]:
    """A container, the agent's by default, that is asked on a port whether it is well and has these others of the host."""
    probe = {"httpGet": {"host": "127.0.0.1", "path": "/healthz", "port": health}}
    return {**(of or container()), "livenessProbe": probe, "ports": [{"containerPort": port, "hostPort": port, "protocol": "TCP"} for port in ports]}


def manifests(agent: dict[str, Any] | None = None, operator: dict[str, Any] | None = None, watcher: str = "0", **config: str) -> list[dict[str, Any]]:
    """What ``helm template`` makes of Cilium's chart, as far as it is read; ``config`` replaces keys of its ConfigMap, with underscores for dashes."""
    data = {
        "unmanaged-pod-watcher-interval": watcher,
        "tunnel-port": "8473",
        "ipam": "cluster-pool",
        "cluster-pool-ipv4-cidr": "10.245.0.0/16",
        "cluster-pool-ipv4-mask-size": "24",
        **{name.replace("_", "-"): value for name, value in config.items()},
    }
    return [
        {"kind": "ConfigMap", "metadata": {"name": "cilium-config"}, "data": data},
        {"kind": "ConfigMap", "metadata": {"name": "cilium-envoy-config"}, "data": {"bootstrap-config.json": "{}"}},
        {
            "kind": "DaemonSet",
            "metadata": {"name": "cilium"},
            "spec": {"template": {"spec": {"hostNetwork": True, "initContainers": [container(), container()], "containers": [asked_on(9879, agent)]}}},
        },
        {
            "kind": "Deployment",
            "metadata": {"name": "cilium-operator"},
            "spec": {"template": {"spec": {"hostNetwork": True, "containers": [asked_on(9234, operator or container(OPERATOR), 9963)]}}},
        },
    ]


# The values of the lossless profile, as far as they are read.
VALUES: dict[str, Any] = {
    "operator": {"rollOutPods": True, "unmanagedPodWatcher": {"restart": False}},
    "rollOutCiliumPods": True,
    "routingMode": "native",
    "autoDirectNodeRoutes": True,
    "tunnelPort": 8473,
    "cni": {"customConf": True, "uninstall": False},
    "ipam": {"mode": "cluster-pool", "operator": {"clusterPoolIPv4PodCIDRList": ["10.245.0.0/16"]}},
    "bpf": {"hostLegacyRouting": True},
    "k8sServiceHost": ADDRESSES["k8s-ctr"],
}
FINAL_VALUES = {**VALUES, "cni": {"customConf": False, "uninstall": False}, "bpf": {"hostLegacyRouting": False}, "kubeProxyReplacement": True}

SETTINGS = Settings(
    pod_cidr="10.245.0.0/16",
    tunnel_port=8473,
    evict=EvictionPolicy(),
    images=[NETSHOOT],
    manifests=manifests(),
    api_host=ADDRESSES["k8s-ctr"],
    monitor_port=9470,
    values_initial=VALUES,
    values_final=FINAL_VALUES,
)


def link(name: str, kind: str = "", mtu: int = 1500, addresses: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """A network link as ``cni_node_info`` tells of it."""
    return {"name": name, "kind": kind, "mtu": mtu, "addresses": list(addresses), **more}


def facts(name: str = "k8s-w1", *links: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What ``cni_node_info`` returns of a node, with these links besides its own."""
    own = [
        link("lo", mtu=65536, addresses=("127.0.0.1/8", "::1/128")),
        link("eth0", addresses=("10.0.2.15/24",)),
        link("eth1", addresses=(f"{ADDRESSES[name]}/24", "fe80::a00:27ff:fe3c:1/64")),
        link("flannel.1", "vxlan", 1450, ("10.244.1.0/32",), vni=1, port=8472),
        link("cni0", "bridge", 1450, ("10.244.1.1/24",)),
    ]
    return {
        "kernel": "6.1.0-37-amd64",
        "kernel_lacks": [],
        "bpf": True,
        "btf": True,
        "kubelet": "active",
        "networkd_deletes": [],
        "rp_filter": 0,
        "links": [*own, *links],
        "routed_networks": [
            {"network": "192.168.10.0/24", "device": "eth1"},
            {"network": "10.244.1.0/24", "device": "cni0"},
            {"network": "10.244.0.0/24", "device": "flannel.1"},
        ],
        "udp_ports": [8472],
        "tcp_listeners": [{"port": 22, "process": "sshd (612)"}, {"port": 10250, "process": "kubelet (1024)"}],
        "iptables": {"nft": {"ipv4 filter": 21, "ipv4 nat": None, "ipv6 filter": 9}, "legacy": {}},
        "filesystems": [
            {"name": "nodefs", "path": "/var/lib/kubelet", "bytes": 40 * GIB, "bytes_free": 20 * GIB, "inodes": 2_600_000, "inodes_free": 2_300_000},
            {"name": "imagefs", "path": "/var/lib/containerd", "bytes": 40 * GIB, "bytes_free": 20 * GIB, "inodes": 2_600_000, "inodes_free": 2_300_000},
        ],
        "eviction_thresholds": {"nodefs.available": "10%", "nodefs.inodesFree": "5%", "imagefs.available": "15%", "imagefs.inodesFree": "5%"},
        "cni_files": ["10-flannel.conflist"],
        "cni_active": "10-flannel.conflist",
        "cni_plugins": ["flannel", "portmap"],
        **changes,
    }


def all_facts(**of_nodes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What is known of the three nodes; ``of_nodes`` replaces that of some, with an underscore for the dash in a name."""
    return {name: copy.deepcopy(of_nodes.get(name.replace("-", "_"), facts(name))) for name in ADDRESSES}


def lines(
    seen: Cluster | None = None, settings: Settings = SETTINGS, known: dict[str, dict[str, Any]] | None = None, check: str = ""
) -> list[tuple[str, str, str]]:
    """The lines of ``check``, or all that are not ok, as level, check or node, and fact: of a sound cluster where nothing else is given."""
    found = preflight.findings(cluster() if seen is None else seen, settings, all_facts() if known is None else known)
    if check:
        return [(each["level"], each["node"], each["fact"]) for each in found if each["check"] == check]
    return [(each["level"], each["check"], each["fact"]) for each in found if each["level"] != "ok"]
