#!/usr/bin/python
# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cni_preflight_info
short_description: Say what stands in the way of a migration from Flannel to Cilium
version_added: "1.0.0"
description:
  - Compares what the migration is about to use with what the cluster and its nodes already use, and names what the drains would
    lose or wait for.
  - Each check gives at least one line for the cluster or for each node that it is about, with the fact that decided. Nodes that have
    moved are not looked at any more.
  - Runs on the controller and changes nothing. What it finds is returned, and refusing is left to the caller.
notes:
  - Lists each kind of object once, however many nodes and pods there are.
  - Rights needed in the cluster are list on nodes, pods, poddisruptionbudgets, daemonsets and deployments, and get on the ConfigMap of Flannel.
author:
  - netops.cni_migration authors (@netops)
extends_documentation_fragment:
  - netops.cni_migration.cluster
  - netops.cni_migration.reading
options:
  pod_cidr:
    description: The pod CIDR Cilium is to use.
    type: str
    required: true
  tunnel_port:
    description: The UDP port of Cilium's tunnel.
    type: int
    required: true
  node_facts:
    description:
      - By node name, what M(netops.cni_migration.cni_node_info) returned of it.
      - Of a node of the control plane also, as C(etcd), what M(netops.cni_migration.etcd_health_info) returned of it.
    type: dict
    required: true
  evict_unmanaged_pods:
    description: Whether pods without a controller may be evicted, which makes their refusal a warning.
    type: bool
    default: false
  evict_emptydir_data:
    description: Whether pods with local data may be evicted, which makes their refusal a warning.
    type: bool
    default: false
  accept_blocking_budgets:
    description: Whether to go on although a disruption budget never lets a pod go, which makes its refusal a warning.
    type: bool
    default: false
  direct_routes:
    description: Whether Cilium is to route between the nodes directly, which needs all of them in one network.
    type: bool
    default: false
  routing_changes:
    description: Whether the ending changes Cilium's routing mode, which interrupts the traffic between nodes.
    type: bool
    default: false
  switch:
    description: How the pods that a drain leaves come to Cilium, as in M(netops.cni_migration.cni_migrate_node).
    type: str
    choices: [reboot, in_place]
    default: reboot
  images:
    description: Images that every node needs besides those of O(manifests), with the pull policy C(IfNotPresent).
    type: list
    elements: str
    default: []
  manifests:
    description: The objects that Cilium's chart becomes with the values of the start. Without them the chart and its images are not looked at.
    type: list
    elements: dict
    default: []
  chart_error:
    description: Why there are no O(manifests), in Helm's words.
    type: str
    default: ""
  api_host:
    description: Where Cilium's agents are to reach the API server, an address or a name.
    type: str
    default: ""
  control_plane:
    description:
      - Names of the nodes of this run that are moved after the others and one at a time. Each of the control plane has to be among them.
      - Without it this is not looked at.
    type: list
    elements: str
  flannel_namespace:
    description: Flannel's namespace, which the ending deletes.
    type: str
    default: kube-flannel
  monitor_port:
    description: The TCP port at which the disruption monitor listens on every node, V(0) without it.
    type: int
    default: 0
  policies_enforced_in:
    description: With which of its values Cilium enforces network policies.
    type: list
    elements: str
    choices: [initial, final]
    default: [final]
  host_ports_served:
    description: Whether the agents serve host ports on nodes that were moved, before the ending.
    type: bool
    default: false
  values_initial:
    description: The chart's values while both networks run. Without them values are not looked at.
    type: dict
    default: {}
  values_final:
    description: The chart's values in the end.
    type: dict
    default: {}
seealso:
  - module: netops.cni_migration.cni_node_info
  - module: netops.cni_migration.cni_migrate_node
  - module: netops.cni_migration.etcd_health_info
  - module: netops.cni_migration.network_policies_info
"""

EXAMPLES = r"""
- name: Say what stands in the way
  netops.cni_migration.cni_preflight_info:
    pod_cidr: 10.245.0.0/16
    tunnel_port: 8473
    node_facts: "{{ {inventory_hostname: node} }}"
  delegate_to: localhost
  register: preflight
"""

RETURN = r"""
findings:
  description: What was found, the refusals first, then the warnings, then what is ok.
  returned: always
  type: list
  elements: dict
  contains:
    check:
      description: The name of the check.
      type: str
    level:
      description: V(refused), V(warning) or V(ok).
      type: str
    node:
      description: The node it is about, empty for the cluster.
      type: str
    fact:
      description: What was seen, and so decided.
      type: str
    advice:
      description: What to do about it, empty when it is ok.
      type: str
  sample:
    - check: tunnel
      level: refused
      node: k8s-w1
      fact: link vxlan9 (VNI 9) already uses UDP port 8473
      advice: remove the link or choose another cilium_migration_tunnel_port
    - {check: kernel, level: ok, node: k8s-w1, fact: the kernel 6.1.0-37-amd64 has the bpf system call and BTF, advice: ""}
refused:
  description: Whether any finding is a refusal.
  returned: always
  type: bool
table:
  description: The same as a table for people, line by line. What is the same on several nodes is one line.
  returned: always
  type: list
  elements: str
  sample:
    - LEVEL    CHECK   WHERE    FACT
    - refused  tunnel  k8s-w1   link vxlan9 (VNI 9) already uses UDP port 8473
    - "                         -> remove the link or choose another cilium_migration_tunnel_port"
    - ok       kernel  3 nodes  the kernel 6.1.0-37-amd64 has the bpf system call and BTF
    - 1 refused, 0 warning, 3 ok
policies:
  description: The network policies and what enforces them in each phase, as M(netops.cni_migration.network_policies_info) returns it.
  returned: always
  type: dict
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.netops.cni_migration.plugins.module_utils import migration_status, network_policies, policy_reader, preflight, preflight_table
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster import ApiUnavailable, ClusterError
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_module import cluster_module, failures_told
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_reader import ClusterReader
from ansible_collections.netops.cni_migration.plugins.module_utils.eviction import EvictionPolicy
from ansible_collections.netops.cni_migration.plugins.module_utils.node_state import StateError
from ansible_collections.netops.cni_migration.plugins.module_utils.preflight_model import REFUSED, Cluster, Settings

OPTIONS = {
    "pod_cidr": {"type": "str", "required": True},
    "tunnel_port": {"type": "int", "required": True},
    "node_facts": {"type": "dict", "required": True},
    "evict_unmanaged_pods": {"type": "bool", "default": False},
    "evict_emptydir_data": {"type": "bool", "default": False},
    "accept_blocking_budgets": {"type": "bool", "default": False},
    "direct_routes": {"type": "bool", "default": False},
    "routing_changes": {"type": "bool", "default": False},
    "switch": {"type": "str", "choices": ["reboot", "in_place"], "default": "reboot"},
    "images": {"type": "list", "elements": "str", "default": []},
    "manifests": {"type": "list", "elements": "dict", "default": []},
    "chart_error": {"type": "str", "default": ""},
    "api_host": {"type": "str", "default": ""},
    "control_plane": {"type": "list", "elements": "str"},
    "flannel_namespace": {"type": "str", "default": "kube-flannel"},
    "monitor_port": {"type": "int", "default": 0},
    "policies_enforced_in": network_policies.ENFORCED_IN,
    "host_ports_served": {"type": "bool", "default": False},
    "values_initial": {"type": "dict", "default": {}},
    "values_final": {"type": "dict", "default": {}},
}


def read_cluster(api: ClusterReader, policies_enforced_in: list[str]) -> Cluster:
    """The objects the checks need. Raises ClusterError."""
    try:
        daemonsets = api.list_daemonsets()
        flannel = migration_status.flannel_daemonset(daemonsets)
        return Cluster(
            nodes=api.list_nodes(),
            pods=api.list_pods(),
            budgets=api.list_budgets(),
            daemonsets=daemonsets,
            deployments=api.list_deployments(),
            flannel_config=flannel and api.get_config_map(flannel["metadata"]["namespace"], migration_status.FLANNEL_CONFIG_MAP),
            policies=network_policies.overview(policy_reader.read_policies(api), daemonsets, policies_enforced_in),
            server=urlsplit(api.server).hostname or "",
        )
    except ApiUnavailable as error:
        raise ClusterError(
            f"The API server does not answer, so nothing was checked, and nothing was changed. {error}. "
            "See whether the kubeconfig leads to it, and on its node whether it runs (crictl ps, journalctl -u kubelet)",
            **error.facts,
        ) from error


def settings_of(options: Mapping[str, Any]) -> Settings:
    """The settings that the module was called with."""
    return Settings(
        evict=EvictionPolicy(delete_emptydir_data=options["evict_emptydir_data"], unmanaged_pods=options["evict_unmanaged_pods"]),
        in_place=options["switch"] == "in_place",
        **{
            name: options[name]
            for name in (
                "pod_cidr",
                "tunnel_port",
                "accept_blocking_budgets",
                "direct_routes",
                "routing_changes",
                "images",
                "manifests",
                "chart_error",
                "policies_enforced_in",
                "api_host",
                "control_plane",
                "flannel_namespace",
                "monitor_port",
                "host_ports_served",
                "values_initial",
                "values_final",
            )
        },
    )


def main() -> None:
    module = cluster_module(OPTIONS)
    options = module.params
    with failures_told(module, StateError, ValueError):
        cluster = read_cluster(ClusterReader(options["kubeconfig"]), options["policies_enforced_in"])
        found = preflight.findings(cluster, settings_of(options), options["node_facts"])
    refused = any(finding["level"] == REFUSED for finding in found)
    module.exit_json(changed=False, findings=found, refused=refused, table=preflight_table.table(found), policies=cluster.policies)


if __name__ == "__main__":
    main()
