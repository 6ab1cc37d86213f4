# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pod that proves a node's network: what it runs, and what its result means. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils.eviction import OWN_LABEL

LONGEST_NAME = 253


class Unproven(Exception):
    """The pod ran, and what it found is not what was wanted."""


def name_for(node: str) -> str:
    """The pod's name: one for each node, so that a leftover is found again and two nodes never share one."""
    return f"cni-verify-{node}"[:LONGEST_NAME].rstrip("-.")


def manifest(node: str, namespace: str, image: str, pull_secrets: Sequence[str] = ()) -> dict[str, Any]:
    """A pod bound to ``node``, past scheduler, cordon and taints, without token and without privileges.

    It asks the API server for ``/healthz`` as a pod sees it, through the Service, and has curl append the address it spoke
    from. The kubelet itself expands ``$(NAME)`` in arguments, so no shell is needed. The server's certificate is not
    checked, since the authority that signed it comes with the token that the pod does not get. ``pull_secrets`` name Secrets of the namespace.
    """
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name_for(node), "namespace": namespace, "labels": {OWN_LABEL: "true"}},
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "tolerations": [{"operator": "Exists"}],
            **({"imagePullSecrets": [{"name": name} for name in pull_secrets]} if pull_secrets else {}),
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "runAsGroup": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "verify",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["curl"],
                    "args": [
                        "--silent",
                        "--show-error",
                        "--insecure",
                        "--max-time",
                        "5",
                        "--write-out",
                        " %{local_ip}",
                        "https://$(KUBERNETES_SERVICE_HOST):$(KUBERNETES_SERVICE_PORT)/healthz",
                    ],
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True},
                }
            ],
        },
    }


def judge(pod: Mapping[str, Any], log: str, cidr: str) -> str:
    """The address of a pod that succeeded, when it lies in ``cidr`` and ``/healthz`` said ``ok``; else :class:`Unproven`.

    The address is the one in the log, which the pod had for certain; one in its status must agree, but a pod that ends
    quickly may never get one there.
    """
    answer, _sep, address = log.strip().rpartition(" ")
    if answer != "ok":
        raise Unproven(f"the API server's /healthz answered {log.strip()[:200]!r} to a pod on the node, not 'ok'")
    shown = (pod.get("status") or {}).get("podIP") or address
    for ip in (address, shown):
        if not _is_inside(ip, cidr):
            raise Unproven(f"a new pod on the node got the address {ip}, which is not in {cidr}")
    return address


def _is_inside(address: str, cidr: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(cidr)
    except ValueError:
        return False


def complaint(pod: Mapping[str, Any]) -> str:
    """Why a pod that has not succeeded has not: the words of its container, or of its conditions."""
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or []:
        for state in (container.get("state") or {}).values():
            words = [str(state[key]) for key in ("reason", "exitCode", "message") if state.get(key) not in (None, "")]
            if words:
                return f"pod {pod['metadata']['name']} is {status.get('phase')}: {' '.join(words).strip()}"
    for condition in status.get("conditions") or []:
        if condition.get("status") == "False" and condition.get("message"):
            return f"pod {pod['metadata']['name']} is {status.get('phase')}: {condition['message']}"
    return f"pod {pod['metadata']['name']} is {status.get('phase', 'not seen by its kubelet yet')} {status.get('message', '')}".strip()
