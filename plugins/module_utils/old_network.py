# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ending of a migration deletes from the cluster, remembered in the cluster, so that it can be created again as it was. Pure.

The memory is one Secret, since Helm's records of a release, which are part of it, are Secrets themselves. It is written at once, before
anything is deleted, and holds a gzipped JSON list of objects, each without what the API server keeps for itself.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import ipaddress
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils.migration_status import FLANNEL_CONFIG_MAP, flannel_network, name_of

Object = Mapping[str, Any]
Key = tuple[str, str, str]

NAMESPACE, NAME = "kube-system", "cni-migration-old-network"
_CONTENT = "objects"

MOST_BYTES = 1 << 20
"""What the API server takes as the data of a Secret (``MaxSecretSize`` in pkg/apis/core/types.go of kubernetes)."""

CREATED_IN = ("Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "ConfigMap", "Secret", "DaemonSet")
"""The kinds that can be remembered, in the order in which they come back: what another one needs first."""

INSIDE = ("ServiceAccount", "ConfigMap", "Secret", "DaemonSet")
"""The kinds of a remembered namespace that are remembered with it."""

# Kept by the API server, or true of the old object only.
_SERVERS_OWN = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generation",
        "managedFields",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)

_MADE_BY_ITSELF = {("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")}


class OldNetworkError(ValueError):
    """The memory cannot be written or read; the message says what to do."""


def key(item: Object) -> Key:
    """Kind, namespace (empty for what is in none) and name of an object."""
    return item["kind"], item["metadata"].get("namespace", ""), name_of(item)


def label(item: Object) -> str:
    """An object in words, such as ``DaemonSet kube-system/kube-proxy``."""
    kind, namespace, name = key(item)
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def stripped(item: Object) -> dict[str, Any]:
    """The object as it could have been created: without its status and what the API server adds."""
    metadata = {name: value for name, value in item["metadata"].items() if name not in _SERVERS_OWN}
    return {**{name: value for name, value in item.items() if name != "status"}, "metadata": metadata}


def is_being_deleted(item: Object) -> bool:
    """Whether the API server is about to remove the object."""
    return "deletionTimestamp" in item["metadata"]


def is_leaving(item: Object) -> bool:
    """Whether the object is on its way out: deleted, or Helm's record of a release that was being uninstalled when Helm was killed."""
    labels = item["metadata"].get("labels") or {}
    return is_being_deleted(item) or (item.get("type") == "helm.sh/release.v1" and labels.get("status") == "uninstalling")


def is_made_by_itself(item: Object) -> bool:
    """Whether the control plane makes such an object in every namespace."""
    return (item["kind"], name_of(item)) in _MADE_BY_ITSELF or item.get("type") == "kubernetes.io/service-account-token"


def to_remember(remembered: Sequence[Object], found: Iterable[Object]) -> list[dict[str, Any]]:
    """What the memory has to hold, in the order of creation: what was ``found``, unless something ``remembered`` is missing there.

    An ending that was killed has deleted some of it: then it stays as it is remembered.
    """
    now = in_order(stripped(item) for item in found if not is_leaving(item) and not is_made_by_itself(item))
    missing = {key(item) for item in remembered} - {key(item) for item in now}
    return [dict(item) for item in remembered] if missing else now


def in_order(objects: Iterable[Object]) -> list[dict[str, Any]]:
    """The objects, of kinds in ``CREATED_IN``, in the order in which they can be created."""
    return sorted((dict(item) for item in objects), key=lambda item: (CREATED_IN.index(item["kind"]), key(item)))


def secret(objects: Sequence[Object]) -> dict[str, Any]:
    """The Secret that remembers ``objects``. Raises :class:`OldNetworkError` when they are too many."""
    packed = gzip.compress(json.dumps(objects, sort_keys=True).encode(), mtime=0)
    if len(packed) > MOST_BYTES:
        raise OldNetworkError(
            f"kube-proxy's and Flannel's {len(objects)} objects have {len(packed)} bytes when compressed, and a Secret takes {MOST_BYTES}, so "
            "nothing was deleted. Delete what does not belong into Flannel's namespace, or old revisions of its Helm release"
        )
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": NAMESPACE, "name": NAME},
        "type": "Opaque",
        "data": {_CONTENT: base64.b64encode(packed).decode()},
    }


def remembered(found: Object | None) -> list[dict[str, Any]]:
    """The objects that the Secret remembers, none without one. Raises :class:`OldNetworkError` for one that cannot be read."""
    if found is None:
        return []
    try:
        return json.loads(gzip.decompress(base64.b64decode(found["data"][_CONTENT], validate=True)))
    except (binascii.Error, EOFError, KeyError, OSError, TypeError, ValueError) as exc:
        raise OldNetworkError(f"Secret {NAMESPACE}/{NAME} does not hold the old network as this collection writes it: {exc!r}") from exc


def without_range(objects: Iterable[Object], nodes: Iterable[Object]) -> list[str]:
    """The names of ``nodes`` that have no pod range inside Flannel's network, by its ConfigMap among ``objects``; none where that is not there.

    Flannel runs only on a node that has one, and it is the control plane's to give.
    """
    network = next((flannel_network(item) for item in objects if item["kind"] == "ConfigMap" and name_of(item) == FLANNEL_CONFIG_MAP), "")
    if not network:
        return []
    whole = ipaddress.ip_network(network)
    return [name_of(node) for node in nodes if not _inside(node.get("spec", {}).get("podCIDR"), whole)]


def _inside(text: str | None, whole: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    part = ipaddress.ip_network(text) if text else None
    return part is not None and part.version == whole.version and part.subnet_of(whole)  # type: ignore[arg-type]
