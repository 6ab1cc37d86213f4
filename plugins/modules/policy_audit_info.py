#!/usr/bin/python
# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: policy_audit_info
short_description: Watch what Cilium would drop by the network policies while it only audits them
version_added: "1.0.0"
description:
  - Needs every agent of Cilium in policy audit mode (C(policyAuditMode) of its chart), with C(bpf.events.policyVerdict.enabled), and fails where
    one is not.
  - Waits until each agent has brought all its endpoints to what the policies say. Cilium 1.17 takes 15 minutes for that where
    C(bpf-policy-map-full-reconciliation-interval) is not set in C(extraConfig).
  - For O(seconds) collects from every agent which new connections a policy forbids, by C(cilium-dbg monitor).
  - Agents do not tell of connections that were open before, but would drop their packets, too. So it also looks up in the agents' policy maps the
    TCP connections that were open all the time and carried packets.
  - Puts both together as flows between workloads. An agent that cannot be watched to the end makes the module fail, for then nothing can be
    said. Where no policy selects a pod it does not wait.
  - What does not happen in that time is not seen. Rules on layer 7 are not audited by Cilium.
  - Runs on the controller and changes nothing.
notes:
  - Rights needed in the cluster are get on daemonsets, list on pods and nodes, and create and get on pods/exec, of which the version of Kubernetes
    asks for the one or the other.
author:
  - netops.cni_migration authors (@netops)
extends_documentation_fragment:
  - netops.cni_migration.cluster
  - netops.cni_migration.reading
options:
  pod_cidr:
    description: Cilium's pod CIDR. An address in it that no pod has is that of a pod that is gone.
    type: str
    required: true
  seconds:
    description: How long to watch, at least V(1).
    type: int
    default: 60
  namespace:
    description: The namespace of the DaemonSet C(cilium).
    type: str
    default: kube-system
  agent_timeout:
    description: How long to wait for the answer of an agent, in seconds.
    type: float
    default: 30
  timeout:
    description: How long to wait for the agents to be in audit mode, and for an API server that is away, in seconds.
    type: float
    default: 300
seealso:
  - module: netops.cni_migration.network_policies_info
  - module: netops.cni_migration.cilium_agents_info
"""

EXAMPLES = r"""
- name: See what the network policies would drop
  netops.cni_migration.policy_audit_info:
    pod_cidr: 10.245.0.0/16
    seconds: 120
  delegate_to: localhost
  run_once: true
  register: audit

- name: Stop when it is anything
  ansible.builtin.assert:
    that: audit.flows | length == 0
    fail_msg: "{{ audit.flows | map(attribute='text') | join('; ') }}"
"""

RETURN = r"""
flows:
  description: What would have been dropped, the most frequent first.
  returned: always
  type: list
  elements: dict
  contains:
    source:
      description: The workload as namespace and name, the node, or the address that the connections come from.
      type: str
    destination:
      description: The same of where they go to.
      type: str
    protocol:
      description: The protocol.
      type: str
    port:
      description: The destination's port, 0 where the protocol has none.
      type: int
    direction:
      description: Whose policies forbid it, those of the destination, V(ingress), or of the source, V(egress).
      type: str
    new:
      description: The number of connections that were opened.
      type: int
    used:
      description: The number of connections that were open before and carried packets.
      type: int
    nodes:
      description: The nodes whose agents would have dropped it.
      type: list
      elements: str
    text:
      description: All of this for people.
      type: str
  sample:
    - source: shop/web
      destination: shop/database
      protocol: tcp
      port: 5432
      direction: ingress
      new: 12
      used: 2
      nodes: [k8s-w1]
      text: "shop/web -> shop/database 5432/tcp: 12 new and 2 open, by the ingress policies of shop/database, on k8s-w1"
pods:
  description: The number of pods that policies select.
  returned: always
  type: int
lost:
  description: The number of events that agents could not hand over. There may have been verdicts among them.
  returned: always
  type: int
seconds:
  description: How long it was watched, 0 where no policy selects a pod.
  returned: always
  type: int
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable, TypeVar

from ansible_collections.netops.cni_migration.plugins.module_utils import cilium_agents, policy_audit, policy_connections
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_exec import Answer, CommandFailed, ExecCluster
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_module import cluster_module, failures_told
from ansible_collections.netops.cni_migration.plugins.module_utils.policy_connections import Endpoint
from ansible_collections.netops.cni_migration.plugins.module_utils.waiting import Clock, NotYet, SystemClock, TimedOut, wait_for

T = TypeVar("T")

ADVICE = "Nothing can be said of what the policies would drop. Look at Cilium's pods (kubectl -n kube-system get pods -l k8s-app=cilium), then run again."


class AuditFailed(Exception):
    """An agent could not be watched; the message names its node and says why."""


@dataclass(frozen=True)
class Agents:
    """The agents that are asked, by node the name of their pod."""

    api: ExecCluster
    namespace: str
    pods: Mapping[str, str]

    def ask(self, command: Sequence[str], seconds: float, read: Callable[[str], T]) -> dict[str, T]:
        """What ``read`` makes of the answer of each, by node. Raises AuditFailed when one gave none that can be read, and ClusterError."""
        answers = self.api.run_each(self.namespace, list(self.pods.values()), cilium_agents.CONTAINER, command, seconds)
        return {node: self._read(node, command, answers[pod], read) for node, pod in self.pods.items()}

    def _read(self, node: str, command: Sequence[str], answer: Answer, read: Callable[[str], T]) -> T:
        try:
            if isinstance(answer, CommandFailed):
                raise answer
            return read(answer)
        except (CommandFailed, ValueError) as exc:
            raise AuditFailed(f"the agent on {node} ({self.pods[node]}), {' '.join(command)[:60]}: {exc}") from exc


def look(api: ExecCluster, namespace: str, seconds: float) -> tuple[Agents, dict[str, list[Endpoint]]]:
    """The agents with an endpoint that policies select, and those endpoints by node.

    Raises NotYet while an agent is missing, cannot be asked, or has not brought each endpoint to what it is to be, AuditFailed when one does not audit.
    """
    placed = cilium_agents.placed(api.list_pods(namespace=namespace, selector=cilium_agents.SELECTOR))
    desired = api.get_daemonset(namespace, cilium_agents.DAEMONSET)["status"]["desiredNumberScheduled"]
    agents = Agents(api, namespace, dict(placed))
    if len(agents.pods) < desired:
        raise NotYet(f"{len(agents.pods)} of the {desired} nodes that are to have an agent have one")
    try:
        obstacles = agents.ask(policy_connections.CONFIGURATION, seconds, policy_connections.obstacles)
        found = agents.ask(policy_connections.ENDPOINTS, seconds, policy_connections.endpoints)
    except AuditFailed as exc:
        raise NotYet(str(exc)) from exc
    for node, endpoints in found.items():
        if obstacles[node]:
            raise AuditFailed(f"the agent on {node} does not audit: {', '.join(obstacles[node])}")
        unsettled = policy_connections.unsettled(endpoints)
        if unsettled:
            raise NotYet(f"the agent on {node} is not done with {len(unsettled)} endpoints: {unsettled[0]}")
        if any(endpoint.enforced for endpoint in endpoints):
            raise AuditFailed(f"the agent on {node} enforces policies on some of its endpoints already")
    audited = {node: [endpoint for endpoint in endpoints if endpoint.audited] for node, endpoints in found.items()}
    return Agents(api, namespace, {node: pod for node, pod in agents.pods.items() if audited[node]}), audited


def audit(api: ExecCluster, clock: Clock, options: Mapping[str, Any]) -> dict[str, Any]:
    """Watch, and return what the module returns. Raises AuditFailed, ClusterError or TimedOut."""
    patience, timeout = options["agent_timeout"], options["timeout"]
    agents, audited = wait_for(clock, timeout, lambda: look(api, options["namespace"], patience))
    result: dict[str, Any] = {"flows": [], "pods": sum(map(len, audited.values())), "lost": 0, "seconds": 0}
    if not agents.pods:
        return result

    def look_up() -> dict[str, str]:
        return policy_audit.names_by_address(api.list_pods(), api.list_nodes())

    # What ends meanwhile has a name before, and what starts meanwhile has one after.
    names = wait_for(clock, timeout, look_up)
    before = agents.ask(policy_connections.CONNECTIONS, patience, policy_connections.open_connections)
    heard = agents.ask(policy_audit.monitor_command(options["seconds"]), options["seconds"] + patience, policy_audit.heard)
    after = agents.ask(policy_connections.CONNECTIONS, patience, policy_connections.open_connections)
    maps = agents.ask(policy_connections.POLICY_MAPS, patience, policy_connections.policy_maps)
    identities = agents.ask(policy_connections.IDENTITIES, patience, policy_connections.identities)
    names.update(wait_for(clock, timeout, look_up))
    new = {node: denials for node, (denials, _lost) in heard.items()}
    used = {node: policy_connections.denials(audited[node], before[node], after[node], maps[node], identities[node]) for node in agents.pods}
    flows = policy_audit.flows(new, used, names, options["pod_cidr"])
    return {**result, "flows": flows, "lost": sum(lost for _denials, lost in heard.values()), "seconds": options["seconds"]}


def main() -> None:
    module = cluster_module(
        {
            "pod_cidr": {"type": "str", "required": True},
            "seconds": {"type": "int", "default": 60},
            "namespace": {"type": "str", "default": "kube-system"},
            "agent_timeout": {"type": "float", "default": 30},
            "timeout": {"type": "float", "default": 300},
        }
    )
    options = module.params
    if options["seconds"] < 1:
        module.fail_json(msg=f"seconds is {options['seconds']}: it takes at least one to see anything")
    with failures_told(module):
        try:
            module.exit_json(changed=False, **audit(ExecCluster(options["kubeconfig"]), SystemClock(), options))
        except (AuditFailed, TimedOut) as exc:
            module.fail_json(msg=f"{exc}. {ADVICE}")


if __name__ == "__main__":
    main()
