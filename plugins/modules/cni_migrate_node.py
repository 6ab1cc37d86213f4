#!/usr/bin/python
# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module netops.cni_migration.cni_migrate_node."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: cni_migrate_node
short_description: Move one Kubernetes node from Flannel to Cilium, or back
version_added: "1.0.0"
author:
  - netops.cni_migration authors (@netops)
description:
  - Moves one node along the road V(flannel), V(drained), V(switched), V(verified), V(migrated), talking to the API server only.
    It cordons, evicts, sets the label C(io.cilium.migration/cilium-default), restarts the node's Cilium agent, proves the reboot by the
    node's boot ID, proves the network by a pod, and uncordons.
  - Everything that has to be remembered is recorded on the Node, in the label C(cni-migration.netops/state) and in annotations under
    C(cni-migration.netops/). A run that was stopped anywhere goes on when the module is called again.
  - The module does not reboot the node. Between O(state=switched) and O(state=verified), and in the middle of a roll-back, the caller
    reboots it when RV(reboot_required) says so.
  - Towards Cilium it only goes forward. Asking for a state that the node has reached or passed changes nothing; nothing is drained twice.
  - A node that was cordoned before the migration came to it is cordoned afterwards.
notes:
  - Runs on the controller. In a play that targets nodes, delegate it to C(localhost).
  - Rights needed in the cluster are get, list and patch on nodes; get, list, create and delete on pods; create on pods/eviction; get on
    pods/log; list on poddisruptionbudgets, endpointslices and events; patch on pods/status. Without events an error tells less.
  - Pods of DaemonSets and static pods are never evicted, finished pods always are. A pod that tolerates cordoned nodes and is scheduled
    back onto the node is not evicted again.
  - In check mode the plan is made from what the cluster shows, the pods to be evicted and the budgets that would refuse included, and nothing is written.
extends_documentation_fragment:
  - netops.cni_migration.cluster
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying the cluster.
    support: full
  diff_mode:
    description: Returns what changes on the Node, and the pods on it when they were looked at.
    support: full
options:
  node:
    description: Name of the Node.
    type: str
    required: true
  state:
    description:
      - The state the node is wanted in.
      - V(drained) means cordoned, and no pod left that has to leave.
      - V(switched) means that no pod is left that has to leave, that Cilium was told to be the node's CNI and that its agent was replaced and is
        Ready. The boot ID is recorded. From another state than V(drained) the agent is restarted as soon as every eviction was accepted, while the
        evicted pods still end, except with O(switch=in_place).
      - V(verified) means that the node was rebooted since, or with O(switch=in_place) has no pod left with an address of Flannel's,
        that it is Ready with a Ready agent, and that a pod on it got an address
        in O(pod_cidr) and was answered C(ok) by the API server's C(/healthz) through the Service.
      - V(migrated) means uncordoned and every annotation of the migration removed. The label C(cni-migration.netops/state=migrated) stays.
      - V(flannel) is the way back, from any state. A node that was not told to use Cilium yet is only uncordoned.
        Any other takes two calls. The first cordons, drains, removes the label, restarts the agent and returns RV(reboot_required=true). The caller
        then removes C(05-cilium.conflist) on the node, restores the C(*.cilium_bak) files beside it, reboots the node and calls again with
        O(rebooted=true). The second call proves the reboot and a pod in O(flannel_pod_cidr), and uncordons.
    type: str
    required: true
    choices: [flannel, drained, switched, verified, migrated]
  rebooted:
    description:
      - Matters for O(state=flannel) only. Says that the reboot asked for by an earlier call was done, so that the module waits until the API
        shows it (up to O(timeouts.reboot)) instead of returning RV(reboot_required=true) again.
    type: bool
    default: false
  switch:
    description:
      - How the pods that a drain leaves, those of DaemonSets, come to Cilium's network.
      - V(reboot) asks for a reboot by RV(reboot_required).
      - V(in_place) deletes them, so that their DaemonSets create them again. The node's other pods, which are on the host's network, go on.
      - The way back always takes a reboot.
    type: str
    choices: [reboot, in_place]
    default: reboot
  pod_cidr:
    description: The addresses Cilium gives to pods.
    type: str
    default: 10.245.0.0/16
  flannel_pod_cidr:
    description: The addresses Flannel gives to pods.
    type: str
    default: 10.244.0.0/16
  namespace:
    description: Namespace of the Cilium agents. The verification pod runs there too.
    type: str
    default: kube-system
  verify_image:
    description: Image of the verification pod. It must contain C(curl) and is used as an unprivileged user.
    type: str
    default: ghcr.io/nicolaka/netshoot:v0.8
  verify_image_pull_secrets:
    description: Names of the Secrets in O(namespace) by which O(verify_image) is pulled.
    type: list
    elements: str
    default: []
  evict:
    description: What may be lost by evictions. What is not accepted is refused, with the pods named, before anything is changed.
    type: dict
    suboptions:
      delete_emptydir_data:
        description: Evict pods that keep data in emptyDir volumes.
        type: bool
        default: false
      unmanaged_pods:
        description: Evict pods without a controller. Nothing creates them again; RV(unmanaged_pods) lists them.
        type: bool
        default: false
  timeouts:
    description: How long to wait, in seconds.
    type: dict
    suboptions:
      api:
        description: For an API server that is away, in requests that wait for nothing else.
        type: float
        default: 120
      drain:
        description: For evictions to be accepted and pods to be gone.
        type: float
        default: 300
      agent:
        description: For the new Cilium agent to be Ready.
        type: float
        default: 300
      reboot:
        description: For the node to report a new boot ID, be Ready, and have a Ready agent.
        type: float
        default: 600
      verify:
        description: For the verification pod to succeed. It is started anew as long as there is time.
        type: float
        default: 180
seealso:
  - module: netops.cni_migration.cni_migration_info
  - module: ansible.builtin.reboot
  - name: Migrating a cluster to Cilium
    description: Cilium's guide to migrating node by node with CiliumNodeConfig.
    link: https://docs.cilium.io/en/v1.17/installation/k8s-install-migration/
"""

EXAMPLES = r"""
- name: Empty the node
  netops.cni_migration.cni_migrate_node:
    node: "{{ inventory_hostname }}"
    state: drained
    evict:
      delete_emptydir_data: true
    timeouts:
      drain: 600
  delegate_to: localhost
  become: false

- name: Let Cilium take the node
  netops.cni_migration.cni_migrate_node:
    node: "{{ inventory_hostname }}"
    state: switched
  delegate_to: localhost
  become: false
  register: switched

- name: Reboot the node, unless that was done before
  ansible.builtin.reboot:
  become: true
  when: switched.reboot_required

- name: Prove the node's network and release it
  netops.cni_migration.cni_migrate_node:
    node: "{{ inventory_hostname }}"
    state: migrated
  delegate_to: localhost
  become: false

- name: Take the node back to Flannel, first half
  netops.cni_migration.cni_migrate_node:
    node: "{{ inventory_hostname }}"
    state: flannel
  delegate_to: localhost
  become: false
  register: rollback

# Here 05-cilium.conflist is removed from /etc/cni/net.d, and *.cilium_bak get their names back.

- name: Reboot the node
  ansible.builtin.reboot:
  become: true
  when: rollback.reboot_required

- name: Take the node back to Flannel, second half
  netops.cni_migration.cni_migrate_node:
    node: "{{ inventory_hostname }}"
    state: flannel
    rebooted: true
  delegate_to: localhost
  become: false
  when: rollback.reboot_required
"""

RETURN = r"""
state_before:
  description:
    - The state the node was found in.
    - Between the states of O(state) there are V(draining) and V(switching), and V(returning), V(restoring) and V(restored) on the way back.
      A node is found in one of them when an earlier run was stopped, or, V(restored), when it waits for its reboot.
  returned: when the Node could be read
  type: str
  sample: drained
state_after:
  description: The state the node is in now; in check mode, the one it would be in. See RV(state_before).
  returned: when the Node could be read
  type: str
  sample: switched
steps:
  description: The steps that were done, in order; in check mode, those that would be.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: One of C(cordon), C(drain), C(label), C(unlabel), C(restart_agent), C(prove_reboot), C(recreate_pods), C(verify), C(uncordon).
      type: str
    seconds:
      description: How long it took; 0 in check mode.
      type: float
    detail:
      description: What it did, in words.
      type: str
    changed:
      description: Whether it changed anything.
      type: bool
  sample:
    - name: label
      seconds: 0.01
      detail: set the label io.cilium.migration/cilium-default=true
      changed: true
blocked_by:
  description: The pods that disruption budgets did not let go before the deadline; in check mode, those they would refuse now.
  returned: always
  type: list
  elements: dict
  contains:
    namespace:
      description: Namespace of the pod and of the budgets.
      type: str
    pod:
      description: Name of the pod.
      type: str
    budgets:
      description: Names of the budgets that cover the pod.
      type: list
      elements: str
    message:
      description: The API server's answer to the eviction.
      type: str
evicted:
  description: The pods (C(namespace/name)) that were evicted; in check mode, those that would be.
  returned: always
  type: list
  elements: str
  sample: [default/webpod-697b545f57-4xz8m]
unmanaged_pods:
  description: The pods without a controller among RV(evicted), which nothing creates again. After a refusal, those that were refused.
  returned: always
  type: list
  elements: str
  sample: [default/curl-pod]
reboot_required:
  description: Whether the node has to be rebooted now to go further. False again as soon as the API shows another boot ID.
  returned: when the Node could be read
  type: bool
boot_id:
  description: The boot ID that the Node shows.
  returned: when the Node could be read
  type: str
  sample: 6d0a5ac5-1c1f-4b0e-9d63-0a2ed2d3c1b7
boot_id_recorded:
  description: The boot ID from before the reboot, while it matters; otherwise empty.
  returned: when the Node could be read
  type: str
was_cordoned:
  description: Whether the node was cordoned before the migration came to it.
  returned: when the Node could be read
  type: bool
"""

from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import cluster, eviction
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_module import cluster_module
from ansible_collections.netops.cni_migration.plugins.module_utils.migration_plan import WANTED
from ansible_collections.netops.cni_migration.plugins.module_utils.migration_run import (
    Migration,
    MigrationError,
    Outcome,
    Settings,
    Timeouts,
)
from ansible_collections.netops.cni_migration.plugins.module_utils.node_state import Phase
from ansible_collections.netops.cni_migration.plugins.module_utils.waiting import SystemClock


def argument_spec() -> dict[str, Any]:
    """The module's own options, as AnsibleModule takes them."""
    seconds = Timeouts()
    return {
        "node": {"type": "str", "required": True},
        "state": {"type": "str", "required": True, "choices": [phase.value for phase in WANTED]},
        "rebooted": {"type": "bool", "default": False},
        "switch": {"type": "str", "choices": ["reboot", "in_place"], "default": "reboot"},
        "pod_cidr": {"type": "str", "default": "10.245.0.0/16"},
        "flannel_pod_cidr": {"type": "str", "default": "10.244.0.0/16"},
        "namespace": {"type": "str", "default": "kube-system"},
        "verify_image": {"type": "str", "default": "ghcr.io/nicolaka/netshoot:v0.8"},
        "verify_image_pull_secrets": {"type": "list", "elements": "str", "default": [], "no_log": False},
        "evict": {
            "type": "dict",
            "apply_defaults": True,
            "options": {
                "delete_emptydir_data": {"type": "bool", "default": False},
                "unmanaged_pods": {"type": "bool", "default": False},
            },
        },
        "timeouts": {
            "type": "dict",
            "apply_defaults": True,
            "options": {name: {"type": "float", "default": getattr(seconds, name)} for name in ("api", "drain", "agent", "reboot", "verify")},
        },
    }


def settings_of(params: dict[str, Any]) -> Settings:
    """The module's parameters in the planner's terms."""
    taken = ("node", "pod_cidr", "flannel_pod_cidr", "namespace", "verify_image", "verify_image_pull_secrets", "rebooted")
    return Settings(
        wanted=Phase(params["state"]),
        policy=eviction.EvictionPolicy(**params["evict"]),
        timeouts=Timeouts(**params["timeouts"]),
        in_place=params["switch"] == "in_place",
        **{name: params[name] for name in taken},
    )


def result_of(outcome: Outcome, settings: Settings) -> dict[str, Any]:
    """What the module returns, after success and failure alike."""
    result: dict[str, Any] = {
        "changed": any(step["changed"] for step in outcome.steps) or bool(outcome.evicted),
        "steps": outcome.steps,
        "blocked_by": outcome.blocked_by,
        "evicted": outcome.evicted,
        "unmanaged_pods": outcome.unmanaged,
    }
    before, after = outcome.before, outcome.after
    if before and after:
        result.update(
            state_before=before.phase.value,
            state_after=after.phase.value,
            reboot_required=after.awaits_reboot and (after.phase is Phase.RESTORED or not settings.in_place),
            boot_id=after.boot_id,
            boot_id_recorded=after.recorded_boot_id,
            was_cordoned=before.was_cordoned,
            diff={"before": _side(before.record(), outcome.pods_before), "after": _side(after.record(), outcome.pods_after)},
        )
    return result


def _side(record: dict[str, Any], pods: list[str] | None) -> dict[str, Any]:
    return record if pods is None else {**record, "pods": pods}


def main() -> None:
    """Run the module."""
    module = cluster_module(argument_spec())
    try:
        api = cluster.KubernetesCluster(module.params["kubeconfig"])
    except cluster.ClusterError as exc:
        module.fail_json(msg=f"node {module.params['node']}, step connect: {exc}. Nothing was changed.", **exc.facts)
    settings = settings_of(module.params)
    migration = Migration(api, SystemClock(), settings)
    try:
        if module.check_mode:
            migration.plan()
        else:
            migration.run()
    except MigrationError as exc:
        module.fail_json(msg=str(exc), **result_of(migration.outcome, settings))
    module.exit_json(**result_of(migration.outcome, settings))


if __name__ == "__main__":
    main()
