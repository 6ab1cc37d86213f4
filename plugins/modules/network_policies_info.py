#!/usr/bin/python
# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: network_policies_info
short_description: List the network policies of a cluster and what enforces them in each phase of the migration
version_added: "1.0.0"
description:
  - Reads every policy of the kinds NetworkPolicy, CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy, AdminNetworkPolicy and
    BaselineAdminNetworkPolicy, as far as the API server knows them.
  - Looks for what enforces them beside Flannel, which does not, by the names of DaemonSets and their images. What is known by neither is
    not found.
  - Says for each phase and each kind of node who enforces which kind of policy, and which kinds nobody enforces.
  - Runs on the controller and changes nothing.
notes:
  - Rights needed in the cluster are list on daemonsets and on each of these kinds, whether it is defined or not.
author:
  - netops.cni_migration authors (@netops)
extends_documentation_fragment:
  - netops.cni_migration.cluster
  - netops.cni_migration.reading
options:
  policies_enforced_in:
    description: With which of its values Cilium enforces network policies.
    type: list
    elements: str
    choices: [initial, final]
    default: [final]
  timeout:
    description: How long to wait for an API server that is away, in seconds.
    type: float
    default: 120
seealso:
  - module: netops.cni_migration.cni_preflight_info
  - module: netops.cni_migration.policy_audit_info
"""

EXAMPLES = r"""
- name: List the network policies
  netops.cni_migration.network_policies_info:
  delegate_to: localhost
  run_once: true
  register: policies

- name: Name the windows in which policies are not enforced
  ansible.builtin.debug:
    msg: "{{ policies.phases | selectattr('unprotected') }}"
"""

RETURN = r"""
policies:
  description: By kind, the names of the policies, with their namespace where they have one.
  returned: always
  type: dict
  sample:
    NetworkPolicy: [shop/database]
    CiliumNetworkPolicy: []
    CiliumClusterwideNetworkPolicy: []
    AdminNetworkPolicy: []
    BaselineAdminNetworkPolicy: []
enforceable:
  description: How many of them are of a kind that Cilium enforces.
  returned: always
  type: int
enforcers:
  description: What enforces policies beside Cilium.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: What it is.
      type: str
    daemonset:
      description: The namespace and name of its DaemonSet.
      type: str
  sample:
    - name: kube-router
      daemonset: kube-system/kube-router
phases:
  description: The phases of the migration in order. Empty without policies, and where Flannel is gone.
  returned: always
  type: list
  elements: dict
  contains:
    phase:
      description: V(flannel), V(mixed), V(ending) up to the end of the audit, or V(migrated).
      type: str
    nodes:
      description: The network of the nodes that this is about, V(flannel) or V(cilium).
      type: str
    enforcer:
      description: By kind of policy, who enforces it there. Empty for nobody.
      type: dict
    unprotected:
      description: The kinds of policy that nobody enforces there.
      type: list
      elements: str
  sample:
    - phase: mixed
      nodes: cilium
      enforcer: {NetworkPolicy: ""}
      unprotected: [NetworkPolicy]
"""

from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import network_policies
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_module import cluster_module, failures_told
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_reader import ClusterReader
from ansible_collections.netops.cni_migration.plugins.module_utils.policy_reader import read_policies
from ansible_collections.netops.cni_migration.plugins.module_utils.waiting import SystemClock, TimedOut, wait_for


def main() -> None:
    module = cluster_module(
        {
            "policies_enforced_in": network_policies.ENFORCED_IN,
            "timeout": {"type": "float", "default": 120},
        }
    )
    options = module.params
    with failures_told(module, TimedOut):
        api = ClusterReader(options["kubeconfig"])

        def look() -> dict[str, Any]:
            return network_policies.overview(read_policies(api), api.list_daemonsets(), options["policies_enforced_in"])

        module.exit_json(changed=False, **wait_for(SystemClock(), options["timeout"], look))


if __name__ == "__main__":
    main()
