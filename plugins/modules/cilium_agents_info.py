#!/usr/bin/python
# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cilium_agents_info
short_description: Ask every agent of Cilium how it is and what it does
version_added: "1.0.0"
description:
  - Runs C(cilium-dbg status) in every agent, in many at the same time, and says of each whether it is healthy, whether it replaces
    kube-proxy, and how it routes. The configuration tells only what an agent is to do when it starts next.
  - Names what is not as it has to be. An agent that is missing or cannot be asked is named, too, and is no failure of the module.
  - Runs on the controller and changes nothing.
notes:
  - Rights needed in the cluster are get on daemonsets, list on pods, and create and get on pods/exec, of which the version of Kubernetes asks for
    the one or the other.
author:
  - netops.cni_migration authors (@netops)
extends_documentation_fragment:
  - netops.cni_migration.cluster
  - netops.cni_migration.reading
options:
  namespace:
    description: The namespace of the DaemonSet C(cilium).
    type: str
    default: kube-system
  require:
    description: What every agent has to do besides being healthy. What is not named does not matter.
    type: dict
    default: {}
    suboptions:
      kube_proxy_replacement:
        description: Whether it has to replace kube-proxy, or must not.
        type: bool
      routing:
        description: How it has to send packets to the pods of other nodes, in the words of C(routingMode) of Cilium's chart.
        type: str
        choices: [native, tunnel]
  agent_timeout:
    description: How long to wait for the answer of an agent, in seconds.
    type: float
    default: 15
  timeout:
    description: How long to wait for an API server that is away, in seconds.
    type: float
    default: 120
seealso:
  - module: netops.cni_migration.cni_migration_info
"""

EXAMPLES = r"""
- name: Wait until every agent does the work of kube-proxy
  netops.cni_migration.cilium_agents_info:
    require:
      kube_proxy_replacement: true
      routing: native
  delegate_to: localhost
  run_once: true
  register: agents
  until: agents is failed or agents.complaints | length == 0
  retries: 60
  delay: 1
"""

RETURN = r"""
agents:
  description: Each agent that has a node and is not about to go, by node. What it does not tell is empty.
  returned: always
  type: list
  elements: dict
  contains:
    node:
      description: The node that it is on.
      type: str
    pod:
      description: The name of its pod.
      type: str
    healthy:
      description: Whether it answers, and says that it and its connection to the API server are.
      type: bool
    message:
      description: Why it is not healthy, empty when it is.
      type: str
    kube_proxy_replacement:
      description: Whether it replaces kube-proxy, V(True) or V(False), in its own words.
      type: str
    routing:
      description: How it sends packets to the pods of other nodes, V(Native) or V(Tunnel).
      type: str
    host_routing:
      description: What takes packets from the node's links to its pods and back, V(BPF) or the network stack, V(Legacy).
      type: str
    masquerading:
      description: What hides the addresses of pods from other networks, V(BPF), V(IPTables) or V(Disabled).
      type: str
  sample:
    - node: k8s-w1
      pod: cilium-x7k2p
      healthy: true
      message: ""
      kube_proxy_replacement: "True"
      routing: Native
      host_routing: BPF
      masquerading: BPF
complaints:
  description: What is not as it has to be, each naming the node. Empty when all is well.
  returned: always
  type: list
  elements: str
  sample: [the agent on k8s-w1 does not replace kube-proxy]
"""

from dataclasses import asdict
from functools import partial
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import cilium_agents
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_exec import Answer, CommandFailed, ExecCluster
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_module import cluster_module, failures_told
from ansible_collections.netops.cni_migration.plugins.module_utils.waiting import SystemClock, TimedOut, wait_for


def collect(api: ExecCluster, namespace: str, required: cilium_agents.Required, seconds: float) -> dict[str, Any]:
    """Ask every agent, each for ``seconds``. Raises ClusterError."""
    desired = api.get_daemonset(namespace, cilium_agents.DAEMONSET)["status"]["desiredNumberScheduled"]
    placed = cilium_agents.placed(api.list_pods(namespace=namespace, selector=cilium_agents.SELECTOR))
    answers = api.run_each(namespace, [pod for _node, pod in placed], cilium_agents.CONTAINER, cilium_agents.COMMAND, seconds)
    agents = [_agent(node, pod, answers[pod]) for node, pod in placed]
    return {"agents": [asdict(agent) for agent in agents], "complaints": cilium_agents.complaints(agents, desired, required)}


def _agent(node: str, pod: str, answer: Answer) -> cilium_agents.Agent:
    if isinstance(answer, CommandFailed):
        return cilium_agents.silent(node, pod, str(answer))
    return cilium_agents.speaking(node, pod, answer)


def main() -> None:
    module = cluster_module(
        {
            "namespace": {"type": "str", "default": "kube-system"},
            "require": {
                "type": "dict",
                "default": {},
                "options": {
                    "kube_proxy_replacement": {"type": "bool"},
                    "routing": {"type": "str", "choices": ["native", "tunnel"]},
                },
            },
            "agent_timeout": {"type": "float", "default": 15},
            "timeout": {"type": "float", "default": 120},
        }
    )
    options = module.params
    required = cilium_agents.Required(**options["require"])
    with failures_told(module, TimedOut):
        api = ExecCluster(options["kubeconfig"])
        look = partial(collect, api, options["namespace"], required, options["agent_timeout"])
        module.exit_json(changed=False, **wait_for(SystemClock(), options["timeout"], look))


if __name__ == "__main__":
    main()
