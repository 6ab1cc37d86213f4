#!/usr/bin/python
# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module netops.cni_migration.cni_spread_dns."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: cni_spread_dns
short_description: Replace the replicas of cluster DNS before a node is drained, where a query would be lost otherwise
version_added: "1.0.0"
author:
  - netops.cni_migration authors (@netops)
description:
  - When every replica of cluster DNS is on the node that is about to be drained, no name would resolve until new ones are ready elsewhere.
  - A replica of CoreDNS whose readiness alone is probed can be ready up to a tenth of a second before it listens, and refuses what it is asked then. The
    drain makes new replicas.
  - In these cases restarts the Deployments of cluster DNS replica by replica, by the annotation C(cni-migration.netops/spread-for) of
    their pod template, and waits until they are rolled out. A container that needs it gets a startup probe of the port that it serves, and keeps it.
    Otherwise does nothing.
  - Meanwhile marks each old replica that terminates as not ready, provided others serve. kube-proxy goes on sending it the queries
    of sockets that it has sent there before, until it no longer serves, and would let go of them only when it is gone already.
  - A restart for this node that an earlier call began is not begun anew, but waited for.
notes:
  - Runs on the controller. In a play that targets nodes, delegate it to C(localhost).
  - Rights needed in the cluster are list on nodes, pods, deployments and endpointslices, and patch on deployments and pods/status.
  - Cluster DNS is what has the label C(k8s-app=kube-dns) in the namespace C(kube-system).
extends_documentation_fragment:
  - netops.cni_migration.cluster
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying the cluster.
    support: full
  diff_mode:
    description: Returns the annotation of each Deployment before and after, and the startup probes that it gets.
    support: full
options:
  node:
    description: Name of the Node that is about to be drained.
    type: str
    required: true
  timeout:
    description: How long to wait for the API server and for the new replicas, in seconds.
    type: float
    default: 600
seealso:
  - module: netops.cni_migration.cni_migrate_node
  - module: netops.cni_migration.cni_withdraw_endpoints
"""

EXAMPLES = r"""
- name: Let names resolve while the node is drained
  netops.cni_migration.cni_spread_dns:
    node: "{{ inventory_hostname }}"
  delegate_to: localhost
  become: false

- name: Drain the node
  netops.cni_migration.cni_migrate_node:
    node: "{{ inventory_hostname }}"
    state: drained
  delegate_to: localhost
  become: false
"""

RETURN = r"""
spread:
  description: Whether cluster DNS was restarted, by this call or an earlier one; in check mode, whether it would be.
  returned: always
  type: bool
moved:
  description: The names of the replicas that were replaced; in check mode, those that would be.
  returned: always
  type: list
  elements: str
  sample: [coredns-674b8bbfcf-4xz8m, coredns-674b8bbfcf-x7k2p]
"""

from functools import partial
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import dns_spread
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster import ClusterError
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_module import cluster_module
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_reader import ClusterReader
from ansible_collections.netops.cni_migration.plugins.module_utils.dismissal import Dismissal
from ansible_collections.netops.cni_migration.plugins.module_utils.waiting import Clock, NotYet, SystemClock, TimedOut, wait_for

ADVICE = "Look at cluster DNS (kubectl -n kube-system describe pod -l k8s-app=kube-dns), then run again; it goes on from here."


def look(api: ClusterReader, node: str) -> tuple[list[str], list[dict[str, Any]]]:
    """The replicas to be replaced and the Deployments they are of; both are empty where nothing is to be done."""
    deployments = api.list_deployments(dns_spread.NAMESPACE, dns_spread.SELECTOR)
    pods = api.list_pods(namespace=dns_spread.NAMESPACE, selector=dns_spread.SELECTOR)
    replicas = dns_spread.replicas_to_replace(node, pods, api.list_nodes(), deployments)
    return (replicas, deployments) if replicas and deployments else ([], [])


def spread(api: ClusterReader, clock: Clock, patches: dict[str, dict[str, Any]], timeout: float) -> None:
    """Restart these Deployments by their patches, and wait until no old replica answers. Raises ClusterError or TimedOut."""
    for name, patch in patches.items():
        wait_for(clock, timeout, partial(api.patch_deployment, dns_spread.NAMESPACE, name, patch))

    dismissal = Dismissal(api, clock)

    def spread_out() -> None:
        deployments = api.list_deployments(dns_spread.NAMESPACE, dns_spread.SELECTOR)
        pods = api.list_pods(namespace=dns_spread.NAMESPACE, selector=dns_spread.SELECTOR)
        dismissal.look(pods)
        left = dns_spread.what_is_left(deployments, pods)
        if left:
            raise NotYet(left)

    wait_for(clock, timeout, spread_out)


def run(api: ClusterReader, clock: Clock, node: str, timeout: float, *, check_mode: bool) -> dict[str, Any]:
    """Do it, unless in check mode, and return what the module returns. Raises ClusterError or TimedOut."""
    replicas, deployments = wait_for(clock, timeout, lambda: look(api, node))
    before = {each["metadata"]["name"]: dns_spread.present_mark(each) for each in deployments}
    after = {each["metadata"]["name"]: dns_spread.mark(node, each) for each in deployments}
    probes = {each["metadata"]["name"]: dns_spread.startup_probes(each) for each in deployments}
    if replicas and not check_mode:
        patches = {name: dns_spread.spread_patch(text, probes[name]) for name, text in after.items() if text != before[name]}
        spread(api, clock, patches, timeout)
    return {
        "changed": before != after,
        "spread": bool(replicas),
        "moved": replicas,
        "diff": {
            "before": {name: {dns_spread.SPREAD_FOR: text} for name, text in before.items()},
            "after": {name: {dns_spread.SPREAD_FOR: text, **({"startupProbe": probes[name]} if probes[name] else {})} for name, text in after.items()},
        },
    }


def main() -> None:
    """Run the module."""
    module = cluster_module(
        {
            "node": {"type": "str", "required": True},
            "timeout": {"type": "float", "default": 600},
        }
    )
    options = module.params
    try:
        api = ClusterReader(options["kubeconfig"])
        module.exit_json(**run(api, SystemClock(), options["node"], options["timeout"], check_mode=module.check_mode))
    except (ClusterError, TimedOut) as exc:
        module.fail_json(msg=f"node {options['node']}, step spread_dns: {exc}. {ADVICE}")


if __name__ == "__main__":
    main()
