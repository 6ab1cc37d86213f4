#!/usr/bin/python
# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module netops.cni_migration.cni_withdraw_endpoints."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: cni_withdraw_endpoints
short_description: Take a node's remaining pods out of their Services before the node goes away
version_added: "1.0.0"
author:
  - netops.cni_migration authors (@netops)
description:
  - A drain leaves the pods of DaemonSets on the node, and they stay endpoints of their Services until the control plane has missed the
    node for 40 seconds. Until then a part of the new connections to those Services fails.
  - Marks these pods as not ready, as the control plane would do then, and waits until no Service sends them anything.
  - Records on the Node when it left, if M(netops.cni_migration.cni_migrate_node) is moving it, for nobody can expect an answer from it any more.
notes:
  - Stop the node's kubelet first, otherwise it marks the pods as ready again. The pods run on, and become ready by themselves when the kubelet is back.
  - Runs on the controller. In a play that targets nodes, delegate it to C(localhost).
  - Rights needed in the cluster are list on services and endpointslices, get and patch on nodes, and patch on pods/status.
extends_documentation_fragment:
  - netops.cni_migration.cluster
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying the cluster.
    support: full
  diff_mode:
    description: Lists the pods that serve before and after.
    support: full
options:
  node:
    description: Name of the Node.
    type: str
    required: true
  timeout:
    description: How long to wait for the API server and for the endpoints to be gone, in seconds.
    type: float
    default: 120
  settle:
    description:
      - How long to wait afterwards, in seconds, for every node to carry it out. Nothing in the API tells when that is the case.
      - kube-proxy writes its rules at most once a second unless C(iptables.minSyncPeriod) says otherwise.
    type: float
    default: 3
seealso:
  - module: netops.cni_migration.cni_migrate_node
  - module: ansible.builtin.reboot
"""

EXAMPLES = r"""
- name: Stop the kubelet, so that it does not contradict
  ansible.builtin.service:
    name: kubelet
    state: stopped
  become: true

- name: Take what is left on the node out of its Services
  netops.cni_migration.cni_withdraw_endpoints:
    node: "{{ inventory_hostname }}"
  delegate_to: localhost
  become: false

- name: Reboot the node
  ansible.builtin.reboot:
  become: true
"""

RETURN = r"""
withdrawn:
  description: The pods (C(namespace/name)) that were taken out; in check mode, those that would be.
  returned: always
  type: list
  elements: str
  sample: [logging/collector-x7k2p]
"""

import time
from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.netops.cni_migration.plugins.module_utils import cluster, move_times, withdrawal
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_module import cluster_module
from ansible_collections.netops.cni_migration.plugins.module_utils.node_state import NodeView, StateError
from ansible_collections.netops.cni_migration.plugins.module_utils.waiting import NotYet, SystemClock, TimedOut, wait_for


def serving(api: cluster.KubernetesCluster, node: str) -> list[withdrawal.PodName]:
    """The pods on ``node`` that get traffic now; two requests."""
    return withdrawal.serving_pods(api.list_endpoint_slices(), api.list_services(), node)


def withdraw(api: cluster.KubernetesCluster, node: str, pods: list[withdrawal.PodName], timeout: float) -> None:
    """Mark ``pods`` as not ready, and wait until none of the node's pods serves. Raises ClusterError or TimedOut."""
    clock = SystemClock()
    patch = withdrawal.withdrawal_patch(move_times.stamp(clock.wall()))
    for namespace, name in pods:
        try:
            wait_for(clock, timeout, partial(api.patch_pod_status, namespace, name, patch))
        except cluster.NotFound:
            continue  # gone by itself, and with it its endpoints

    def withdrawn() -> None:
        left = serving(api, node)
        if left:
            raise NotYet(f"still an endpoint: {', '.join(map('/'.join, left))}")

    wait_for(clock, timeout, withdrawn)


def record_departure(api: cluster.KubernetesCluster, node: str, check_mode: bool) -> bool:
    """Record on the Node that it leaves now, unless that is recorded or it is not being moved; whether there was something to record."""
    view = NodeView.from_api(api.get_node(node))
    figures = move_times.departure(view, time.time())
    if figures and not check_mode:
        api.patch_node(node, move_times.noted({"metadata": {}}, view, figures))
    return bool(figures)


def run(module: AnsibleModule, api: cluster.KubernetesCluster) -> dict[str, Any]:
    """Do it, unless in check mode, and return what the module returns."""
    node, timeout = module.params["node"], module.params["timeout"]
    recorded = wait_for(SystemClock(), timeout, lambda: record_departure(api, node, module.check_mode))
    pods = wait_for(SystemClock(), timeout, lambda: serving(api, node))
    names = ["/".join(pod) for pod in pods]
    if pods and not module.check_mode:
        withdraw(api, node, pods, timeout)
        time.sleep(module.params["settle"])
    return {"changed": bool(pods) or recorded, "withdrawn": names, "diff": {"before": {"serving": names}, "after": {"serving": []}}}


def main() -> None:
    """Run the module."""
    module = cluster_module(
        {
            "node": {"type": "str", "required": True},
            "timeout": {"type": "float", "default": 120},
            "settle": {"type": "float", "default": 3},
        }
    )
    try:
        module.exit_json(**run(module, cluster.KubernetesCluster(module.params["kubeconfig"])))
    except (cluster.ClusterError, StateError, TimedOut) as exc:
        module.fail_json(msg=f"node {module.params['node']}, step withdraw: {exc}. Start its kubelet to bring its pods back, or run again to go on.")


if __name__ == "__main__":
    main()
