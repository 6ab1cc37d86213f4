# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the preflight that concern the blocks of the pod CIDR, of which Cilium's operator gives each node one. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ansible_collections.netops.cni_migration.plugins.module_utils.preflight_model import (
    REFUSED,
    WARNING,
    Cluster,
    Finding,
    Host,
    Settings,
    counted,
    judged,
)

CLUSTER_POOL = "cluster-pool"
"""The mode in which Cilium's operator cuts the pod CIDR up by itself."""

NOT_FOR_PODS = 4
"""Addresses of a block that no pod gets: its first and its last, and those of ``cilium_host`` and of the health check (Cilium 1.17)."""

SPARE_SHARE = 10
"""Which part of the blocks should be left for nodes that are to come: a tenth."""

_RESIZE = "choose a larger cilium_migration_pod_cidr, or smaller blocks: ipam.operator.clusterPoolIPv4MaskSize in cilium_migration_values_extra"


@dataclass(frozen=True)
class Pool:
    """What the operator cuts blocks from, as Cilium's chart says: the networks, and the prefix length of a block."""

    networks: Sequence[ipaddress.IPv4Network]
    prefix: int

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return sum(1 << self.prefix - each.prefixlen for each in self.networks if each.prefixlen <= self.prefix)

    @property
    def pods(self) -> int:
        """How many pods get an address of one block."""
        return max(0, (1 << ipaddress.IPV4LENGTH - self.prefix) - NOT_FOR_PODS)

    def __str__(self) -> str:
        return f"{counted(self.blocks, 'block')} /{self.prefix} of {', '.join(map(str, self.networks))}"


def pool(settings: Settings) -> Pool | None:
    """The pool by the chart's ConfigMap, None where there is no such or it cannot be understood."""
    data = settings.cilium_config
    if data.get("ipam") != CLUSTER_POOL:
        return None
    try:
        networks = [ipaddress.IPv4Network(each) for each in data["cluster-pool-ipv4-cidr"].split()]
        prefix = int(data["cluster-pool-ipv4-mask-size"])
    except (KeyError, ValueError):
        return None  # the check of CIDRs, or the operator, tells of it
    return Pool(networks, prefix) if 0 <= prefix <= ipaddress.IPV4LENGTH else None


def blocks(cluster: Cluster, settings: Settings, pending: Sequence[Host]) -> Iterator[Finding]:
    """Every node needs a block: without one its agent does not become ready."""
    found = pool(settings)
    if not pending or found is None:
        return
    nodes = counted(len(cluster.nodes), "node")

    def problems() -> Iterator[Finding]:
        left = found.blocks - len(cluster.nodes)
        if left < 0:
            yield Finding("blocks", REFUSED, f"there are {found}, and {nodes}, each of which needs one", _RESIZE)
        elif left * SPARE_SHARE < found.blocks:
            yield Finding("blocks", WARNING, f"{nodes} take nearly all of the {found}: {left} left for nodes that are to come", _RESIZE)

    yield from judged("blocks", problems(), f"{nodes} take {len(cluster.nodes)} of the {found}")


def block(host: Host, cluster: Cluster, settings: Settings) -> Iterator[Finding]:
    """A block should have an address for every pod that the kubelet would start."""
    found = pool(settings)
    if found is None:
        return
    here = sum(not pod["spec"].get("hostNetwork") for pod in cluster.pods_by_node.get(host.name, []))
    most = int(((host.node.get("status") or {}).get("capacity") or {}).get("pods", here))
    told = f"its kubelet starts up to {counted(most, 'pod')} ({here} now with an address of their own), and a block /{found.prefix} has {found.pods} for them"

    def problems() -> Iterator[Finding]:
        if max(most, here) > found.pods:
            advice = "pods beyond that wait for an address: choose a smaller ipam.operator.clusterPoolIPv4MaskSize, or a smaller maxPods of the kubelet"
            yield Finding("blocks", WARNING, told, advice, host.name)

    yield from judged("blocks", problems(), told, host.name)
