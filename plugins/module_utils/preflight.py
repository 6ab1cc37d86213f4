# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in the way of a migration, decided from facts alone.

Every check is a pure function from API objects (as the API gives them) and node facts (as ``cni_node_info`` gives them, and under ``etcd`` what
``etcd_health_info`` gives of a node of the control plane) to findings: at least one for the cluster or for each node it is about, also where all is
well. Nothing here asks the cluster or a node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict

from ansible_collections.netops.cni_migration.plugins.module_utils import network_policies as on_policies
from ansible_collections.netops.cni_migration.plugins.module_utils import preflight_api as on_api
from ansible_collections.netops.cni_migration.plugins.module_utils import preflight_blocks as on_blocks
from ansible_collections.netops.cni_migration.plugins.module_utils import preflight_cluster as on_cluster
from ansible_collections.netops.cni_migration.plugins.module_utils import preflight_images as on_images
from ansible_collections.netops.cni_migration.plugins.module_utils import preflight_node as on_node
from ansible_collections.netops.cni_migration.plugins.module_utils import preflight_ports as on_ports
from ansible_collections.netops.cni_migration.plugins.module_utils import preflight_values as on_values
from ansible_collections.netops.cni_migration.plugins.module_utils.preflight_model import LEVELS, Cluster, Finding, Host, Object, Settings, hosts
from ansible_collections.netops.cni_migration.plugins.module_utils.preflight_pods import pods


def findings(cluster: Cluster, settings: Settings, node_facts: Mapping[str, Object]) -> list[dict[str, str]]:
    """Every finding as a dictionary, the refusals first.

    A node that has moved is not looked at any more, nor is what only a move needs once every node has. Raises StateError for a node with an
    unknown state label.
    """
    pending = hosts(cluster, node_facts)
    found = [
        *on_cluster.membership(cluster, settings, node_facts, pending),
        *on_cluster.flannel(cluster, settings, node_facts, pending),
        *on_cluster.kube_proxy(cluster, pending),
        *on_cluster.cidr(cluster, settings, node_facts, pending),
        *on_blocks.blocks(cluster, settings, pending),
        *on_cluster.routing(cluster, settings, node_facts, pending),
        *on_cluster.mtu(cluster, node_facts, pending),
        *on_api.endpoint(cluster, settings, pending),
        *on_api.proxy(cluster, settings, pending),
        *on_cluster.dns(cluster, pending),
        *on_cluster.single_replica(cluster, pending),
        *(on_policies.findings(cluster.policies, settings.policies_enforced_in) if cluster.policies is not None and pending else ()),
        *on_values.values(cluster, settings, pending),
        *on_images.chart(cluster, settings, pending),
        *on_images.watcher(settings, pending),
        *on_images.images(cluster, settings, pending),
        *(finding for host in pending for finding in of_node(host, cluster, settings)),
    ]
    return [asdict(finding) for finding in sorted(found, key=lambda each: (LEVELS.index(each.level), each.node, each.check))]


def of_node(host: Host, cluster: Cluster, settings: Settings) -> Iterator[Finding]:
    """The lines about one node: what the API server tells of it, and, where it takes part in the run, what was read from it and its pods."""
    facts = host.facts
    yield from on_node.ready(host)
    yield from on_node.cordon(host)
    yield from on_blocks.block(host, cluster, settings)
    yield from on_images.disk(host, facts, settings)
    if facts is None:
        return
    yield from on_node.kubelet(host, facts)
    yield from on_node.etcd(host, facts)
    yield from on_node.cni(host, facts)
    yield from on_node.leftover(host, facts, has_cilium=cluster.has_cilium)
    yield from on_node.kernel(host, facts)
    yield from on_node.tunnel(host, facts, settings.tunnel_port, has_cilium=cluster.has_cilium)
    yield from on_ports.ports(host, facts, cluster, settings)
    yield from on_node.networkd(host, facts)
    yield from on_node.rp_filter(host, facts)
    yield from on_node.iptables(host, facts)
    yield from pods(host, cluster, settings)
