#!/usr/bin/python
# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module netops.cni_migration.cni_old_network."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: cni_old_network
short_description: Remember in the cluster the objects of the old network, and create them again
version_added: "1.0.0"
author:
  - netops.cni_migration authors (@netops)
description:
  - Before the ending of a migration deletes kube-proxy and Flannel, O(state=remembered) keeps their objects in the Secret
    C(kube-system/cni-migration-old-network), without status and without what the API server adds to an object. They come to a few kilobytes.
  - O(state=restored) creates those that are missing, each kind after the ones it needs. What is there is left as it is, and what is being deleted
    is waited for first. Helm's records of Flannel's release come back, too, so that the release is one again.
  - A memory that is complete is never replaced by one that is not. When something that is remembered is missing in the cluster, as after an ending
    that was killed, the memory stays as it is.
notes:
  - Runs on the controller. In a play that targets nodes, delegate it to C(localhost).
  - Rights needed in the cluster are get, list and create on namespaces, serviceaccounts, configmaps, secrets, daemonsets, clusterroles and
    clusterrolebindings, update and delete on secrets, and list on nodes. To create a ClusterRole one must have the rights it gives, or the right to escalate.
extends_documentation_fragment:
  - netops.cni_migration.cluster
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying the cluster.
    support: full
  diff_mode:
    description: Returns the names of the objects that are remembered, or that are there, before and after.
    support: full
options:
  state:
    description:
      - V(remembered) makes the memory tell of what the cluster has.
      - V(restored) makes the cluster have what the memory tells of. Without a memory nothing is done, see RV(objects).
    type: str
    required: true
    choices: [remembered, restored]
  objects:
    description:
      - What is to be remembered, by O(objects[].kind), O(objects[].metadata.name) and O(objects[].metadata.namespace). What does not exist is passed over.
      - With a namespace, its ServiceAccounts, ConfigMaps, Secrets and DaemonSets are remembered, but for those that the control plane makes in each.
    type: list
    elements: dict
    default: []
    suboptions:
      apiVersion:
        description: Is not looked at. It is here so that the same list can be given to P(kubernetes.core.k8s#module).
        type: str
      kind:
        description: The kind.
        type: str
        required: true
        choices: [Namespace, ServiceAccount, ClusterRole, ClusterRoleBinding, ConfigMap, Secret, DaemonSet]
      metadata:
        description: Name and namespace.
        type: dict
        required: true
        suboptions:
          name:
            description: The name.
            type: str
            required: true
          namespace:
            description: The namespace, for a kind that is in one.
            type: str
            default: ""
  timeout:
    description: How long to wait for the API server, and for what is being deleted to be gone, in seconds.
    type: float
    default: 120
seealso:
  - module: netops.cni_migration.cni_migration_info
"""

EXAMPLES = r"""
- name: Remember what is about to be deleted
  netops.cni_migration.cni_old_network:
    state: remembered
    objects:
      - {kind: DaemonSet, metadata: {name: kube-proxy, namespace: kube-system}}
      - {kind: ConfigMap, metadata: {name: kube-proxy, namespace: kube-system}}
      - {kind: Namespace, metadata: {name: kube-flannel}}
      - {kind: ClusterRole, metadata: {name: flannel}}
      - {kind: ClusterRoleBinding, metadata: {name: flannel}}
  delegate_to: localhost
  run_once: true

- name: Create it again
  netops.cni_migration.cni_old_network:
    state: restored
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
objects:
  description: The objects that the memory tells of, in the order in which they are created. Empty where there is no memory.
  returned: success
  type: list
  elements: str
  sample: [Namespace kube-flannel, ClusterRole flannel, ConfigMap kube-system/kube-proxy, DaemonSet kube-system/kube-proxy]
created:
  description: With O(state=restored), those that were created; in check mode, those that would be.
  returned: success
  type: list
  elements: str
  sample: [DaemonSet kube-system/kube-proxy]
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import old_network
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster import Conflict, NotFound
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_module import cluster_module, failures_told
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_objects import ClusterObjects
from ansible_collections.netops.cni_migration.plugins.module_utils.waiting import Clock, NotYet, SystemClock, TimedOut, wait_for


def gather(api: ClusterObjects, wanted: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The objects of ``wanted`` that exist, and what is in a namespace among them, unless that is being deleted: what it had was remembered before."""
    for each in wanted:
        kind, name = each["kind"], each["metadata"]["name"]
        found = api.get_object(kind, each["metadata"]["namespace"], name)
        if found is None:
            continue
        yield found
        if kind == "Namespace" and "deletionTimestamp" not in found["metadata"]:
            for inside in old_network.INSIDE:
                yield from api.list_objects(inside, name)


def read_memory(api: ClusterObjects) -> list[dict[str, Any]]:
    """The objects that are remembered. Raises ClusterError or OldNetworkError."""
    return old_network.remembered(api.get_object("Secret", old_network.NAMESPACE, old_network.NAME))


def remember(api: ClusterObjects, wanted: list[dict[str, Any]], *, check_mode: bool) -> dict[str, Any]:
    """Bring the memory up to date, in one write; the module's result."""
    before = read_memory(api)
    after = old_network.to_remember(before, gather(api, wanted))
    if after != before:
        secret = old_network.secret(after)
        if not check_mode:
            (api.replace_object if before else api.create_object)(secret)
    names = [old_network.label(item) for item in after]
    told = {"before": {"remembered": [old_network.label(item) for item in before]}, "after": {"remembered": names}}
    return {"changed": after != before, "objects": names, "created": [], "diff": told}


def restore(api: ClusterObjects, clock: Clock, timeout: float, *, check_mode: bool) -> dict[str, Any]:
    """Create what is missing of what is remembered; the module's result. Raises ClusterError, TimedOut or OldNetworkError."""
    objects, nodes = wait_for(clock, timeout, lambda: (read_memory(api), api.list_nodes()))
    homeless = old_network.without_range(objects, nodes)
    if homeless:
        raise old_network.OldNetworkError(
            f"nothing was created: Flannel needs a pod range of its network on every node, and {', '.join(homeless)} has none in spec.podCIDR. "
            "The controller manager gives it (--allocate-node-cidrs, --cluster-cidr)"
        )
    created = [old_network.label(item) for item in objects if wait_for(clock, timeout, partial(ensure, api, item, check_mode))]
    names = [old_network.label(item) for item in objects]
    told = {"before": {"there": [name for name in names if name not in created]}, "after": {"there": names}}
    return {"changed": bool(created), "objects": names, "created": created, "diff": told}


def ensure(api: ClusterObjects, item: dict[str, Any], check_mode: bool) -> bool:
    """Create the object unless it is there; whether it was, or in check mode would be, created. Raises NotYet while an old one is on its way out."""
    kind, namespace, name = old_network.key(item)
    found = api.get_object(kind, namespace, name)
    if found is not None and not old_network.is_leaving(found):
        return False
    if check_mode:
        return True
    if found is not None:
        if not old_network.is_being_deleted(found):
            with suppress(Conflict, NotFound):  # gone, or another one: the next look tells
                api.delete_object(kind, namespace, name, found["metadata"]["uid"])
        raise NotYet(f"{old_network.label(item)} is still being deleted")
    try:
        api.create_object(item)
    except Conflict as exc:
        raise NotYet(str(exc)) from exc
    return True


def main() -> None:
    """Run the module."""
    metadata = {"name": {"type": "str", "required": True}, "namespace": {"type": "str", "default": ""}}
    described = {
        "apiVersion": {"type": "str"},
        "kind": {"type": "str", "required": True, "choices": list(old_network.CREATED_IN)},
        "metadata": {"type": "dict", "required": True, "options": metadata},
    }
    module = cluster_module(
        {
            "state": {"type": "str", "required": True, "choices": ["remembered", "restored"]},
            "objects": {"type": "list", "elements": "dict", "default": [], "options": described},
            "timeout": {"type": "float", "default": 120},
        }
    )
    options, clock = module.params, SystemClock()
    with failures_told(module, old_network.OldNetworkError, TimedOut):
        api = ClusterObjects(options["kubeconfig"])
        if options["state"] == "remembered":
            done = wait_for(clock, options["timeout"], partial(remember, api, options["objects"], check_mode=module.check_mode))
        else:
            done = restore(api, clock, options["timeout"], check_mode=module.check_mode)
        module.exit_json(**done)


if __name__ == "__main__":
    main()
