#!/usr/bin/python
# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cni_migration_info
short_description: Read where a cluster stands on its way from Flannel to Cilium
version_added: "1.0.0"
description:
  - Reads from the API server what was recorded on the nodes and what is really there, such as DaemonSets, the addresses of the
    pods and the Helm release of Cilium.
  - Runs on the controller and changes nothing.
author:
  - netops.cni_migration authors (@netops)
extends_documentation_fragment:
  - netops.cni_migration.cluster
  - netops.cni_migration.reading
options:
  pod_cidr:
    description: Cilium's pod CIDR.
    type: str
    required: true
  timeout:
    description: How long to wait for an API server that is away, in seconds.
    type: float
    default: 120
seealso:
  - module: netops.cni_migration.cni_migrate_node
  - module: netops.cni_migration.cni_preflight_info
"""

EXAMPLES = r"""
- name: Read where the migration stands
  netops.cni_migration.cni_migration_info:
    pod_cidr: 10.245.0.0/16
  delegate_to: localhost
  run_once: true
  register: migration
"""

RETURN = r"""
nodes:
  description: Each node of the cluster.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The node's name.
      type: str
    address:
      description: Its first internal address.
      type: str
    control_plane:
      description: Whether it is a node of the control plane.
      type: bool
    ready:
      description: Whether it is Ready.
      type: bool
    unschedulable:
      description: Whether it is cordoned.
      type: bool
    labelled:
      description: Whether its label hands it to Cilium.
      type: bool
    state:
      description: How far it is, as C(cni_migrate_node) recorded it.
      type: str
    awaits_reboot:
      description: Whether only a reboot takes it further.
      type: bool
    cni:
      description: The CNI its pods are on, V(flannel), V(cilium) or V(mixed).
      type: str
    pods:
      description: Its pods that are not on the host network, by the network their address is in.
      type: dict
    dns_pods:
      description: The replicas of cluster DNS on it.
      type: list
      elements: str
    away:
      description:
        - The windows in which it was out of the network for its reboot, or for its agent to take over or to let go, each as two times in
          seconds since the epoch. The end is V(null) while it lasts.
      type: list
      elements: list
    before:
      description: What was recorded of it before it was touched.
      type: dict
    times:
      description: The moments and durations that were recorded of its move, there or back.
      type: dict
    cleaned:
      description: What was recorded of its rules and residue when it was cleaned.
      type: dict
    reported:
      description: Verdict and folder of the last evidence that tells of it.
      type: str
pending:
  description: The nodes that are not migrated yet.
  returned: always
  type: list
  elements: str
  sample: [k8s-ctr]
all_migrated:
  description: Whether every node of the cluster is migrated.
  returned: always
  type: bool
flannel:
  description: Whether Flannel's DaemonSet exists.
  returned: always
  type: bool
flannel_pod_cidr:
  description: Flannel's pod CIDR, empty when Flannel is not there.
  returned: always
  type: str
  sample: 10.244.0.0/16
kube_proxy:
  description: Whether kube-proxy's DaemonSet exists.
  returned: always
  type: bool
cilium:
  description: Whether Cilium's DaemonSet exists.
  returned: always
  type: bool
outside:
  description: The pods with an address outside Cilium's pod CIDR.
  returned: always
  type: list
  elements: str
  sample: [default/webpod-6f7c 10.244.1.4]
evidence:
  description: What the cluster itself can tell of the migration for C(summary.json).
  returned: always
  type: dict
  contains:
    nodes:
      description: The migrated nodes and the seconds their moves took, as far as they were measured.
      type: list
      elements: dict
    rules:
      description: By node, the number of rules before and after, and the seconds of the purge.
      type: dict
    residue:
      description: By node, what was found left over when it was cleaned.
      type: dict
    verdict:
      description: V(migrated), V(residue) or V(partial).
      type: str
    due:
      description: Whether no evidence tells this verdict of these nodes yet.
      type: bool
    last:
      description: The folder name of the last evidence, empty when there is none.
      type: str
way_back:
  description: Where the cluster stands on its way back to Flannel, and what of it C(summary.json) has still to tell.
  returned: always
  type: dict
  contains:
    pending:
      description: The nodes that are not on Flannel.
      type: list
      elements: str
    outside:
      description: The pods with an address outside Flannel's pod CIDR.
      type: list
      elements: str
    nodes:
      description: The nodes that are back and no evidence tells of, and the seconds their way took, as far as they were measured.
      type: list
      elements: dict
    verdict:
      description: V(returned) when every node and pod is on Flannel and Cilium is gone, else V(partial).
      type: str
    due:
      description: Whether there are such nodes.
      type: bool
release:
  description: The Helm release C(cilium) in C(kube-system).
  returned: always
  type: dict
  contains:
    installed:
      description: Whether a revision of it is deployed.
      type: bool
    values:
      description: The values of the deployed revision.
      type: dict
    chart_version:
      description: The chart's version of the deployed revision.
      type: str
    unfinished:
      description: The Secrets of revisions that failed or were killed.
      type: list
      elements: str
"""

from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import migration_status
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_module import cluster_module, failures_told
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_reader import ClusterReader
from ansible_collections.netops.cni_migration.plugins.module_utils.node_state import StateError
from ansible_collections.netops.cni_migration.plugins.module_utils.waiting import SystemClock, TimedOut, wait_for


def collect(api: ClusterReader, pod_cidr: str) -> dict[str, Any]:
    """Read the cluster and say where it stands. Raises ClusterError, StateError or ValueError."""
    daemonsets = api.list_daemonsets()
    networks = {"cilium": pod_cidr}
    flannel = migration_status.flannel_daemonset(daemonsets)
    if flannel is not None:
        network = migration_status.flannel_network(api.get_config_map(flannel["metadata"]["namespace"], migration_status.FLANNEL_CONFIG_MAP))
        networks.update({"flannel": network} if network else {})
    return {
        **migration_status.cluster_status(api.list_nodes(), api.list_pods(), daemonsets, networks),
        "release": migration_status.helm_release(api.list_secrets("kube-system", "owner=helm,name=cilium")),
    }


def main() -> None:
    module = cluster_module(
        {
            "pod_cidr": {"type": "str", "required": True},
            "timeout": {"type": "float", "default": 120},
        }
    )
    options = module.params
    with failures_told(module, StateError, TimedOut, ValueError):
        api = ClusterReader(options["kubeconfig"])
        module.exit_json(changed=False, **wait_for(SystemClock(), options["timeout"], lambda: collect(api, options["pod_cidr"])))


if __name__ == "__main__":
    main()
