#!/usr/bin/python
# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module netops.cni_migration.cilium_rollout_info."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: cilium_rollout_info
short_description: Wait until Cilium's agents and its operator run with what they were told last
version_added: "1.0.0"
author:
  - netops.cni_migration authors (@netops)
description:
  - Waits until the DaemonSet C(cilium) has a new and ready pod on every node that is to have one, and the Deployment C(cilium-operator) has all
    its replicas, new and available.
  - Fails before its time is over when waiting is pointless. That is when a container ends for the fifth time, or when its image
    could not be pulled for 40 seconds. The error names the pod, its node and what its container said last.
  - An API server that is away is waited for, too.
notes:
  - Runs on the controller. In a play that targets nodes, delegate it to C(localhost).
  - Rights needed in the cluster are get on daemonsets, list on deployments, and list on pods.
  - That an agent is ready does not say that it does the work of kube-proxy. M(netops.cni_migration.cilium_agents_info) tells that.
extends_documentation_fragment:
  - netops.cni_migration.cluster
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying the cluster.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: none
options:
  namespace:
    description: Namespace of Cilium.
    type: str
    default: kube-system
  timeout:
    description: How long to wait, in seconds.
    type: float
    default: 600
seealso:
  - module: netops.cni_migration.cilium_agents_info
  - module: kubernetes.core.helm
"""

EXAMPLES = r"""
- name: Wait until Cilium runs with its new values
  netops.cni_migration.cilium_rollout_info:
    timeout: 300
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
agents:
  description: How many agents there are, one for each node that is to have one.
  returned: success
  type: int
  sample: 3
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 14.2
"""

from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import cilium_agents, rollout
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster import ClusterError
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_module import cluster_module
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_reader import ClusterReader
from ansible_collections.netops.cni_migration.plugins.module_utils.pod_trouble import PodWatch
from ansible_collections.netops.cni_migration.plugins.module_utils.waiting import Clock, Hopeless, NotYet, SystemClock, TimedOut, wait_for

OPERATOR_SELECTOR = "io.cilium/app=operator"
ADVICE = "Look at its pods (kubectl -n {namespace} describe pods -l app.kubernetes.io/part-of=cilium), then run again; it goes on from here."


def wait_for_rollout(api: ClusterReader, clock: Clock, namespace: str, seconds: float) -> dict[str, Any]:
    """What the module returns. Raises ClusterError, TimedOut, or Hopeless before the time is over."""
    started = clock.monotonic()
    watch = PodWatch()

    def rolled_out() -> int:
        agents = api.get_daemonset(namespace, cilium_agents.DAEMONSET)
        operators = api.list_deployments(namespace, OPERATOR_SELECTOR)
        left = list(filter(None, [rollout.daemonset_left(agents), *map(rollout.deployment_left, operators)]))
        if not left:
            return agents["status"]["desiredNumberScheduled"]
        # Pods are read after what they belong to, so that a new one is known as such.
        pods = rollout.current(agents, api.list_pods(namespace=namespace, selector=cilium_agents.SELECTOR))
        for operator in operators:
            pods += rollout.current(operator, api.list_pods(namespace=namespace, selector=OPERATOR_SELECTOR))
        reason = watch.hopeless(pods, clock.monotonic())
        if reason:
            raise Hopeless(reason)
        raise NotYet("; ".join([*left, *rollout.waited_for(pods)]))

    return {"agents": wait_for(clock, seconds, rolled_out), "seconds": round(clock.monotonic() - started, 2)}


def main() -> None:
    """Run the module."""
    module = cluster_module(
        {
            "namespace": {"type": "str", "default": "kube-system"},
            "timeout": {"type": "float", "default": 600},
        }
    )
    options = module.params
    try:
        api = ClusterReader(options["kubeconfig"])
        module.exit_json(changed=False, **wait_for_rollout(api, SystemClock(), options["namespace"], options["timeout"]))
    except (ClusterError, Hopeless, TimedOut) as exc:
        module.fail_json(msg=f"Cilium is not rolled out: {exc}. {ADVICE.format(namespace=options['namespace'])}")


if __name__ == "__main__":
    main()
