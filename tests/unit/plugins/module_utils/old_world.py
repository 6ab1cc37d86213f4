# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of kube-proxy and Flannel as kubeadm v1.33.2 and Flannel's chart v0.26.7 have them in a cluster, shortened, and an API that serves them.

Time passes only while somebody sleeps. What is deleted in the foreground, or with its namespace, takes a while to be gone.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import cluster

HELM = {"meta.helm.sh/release-name": "flannel", "meta.helm.sh/release-namespace": "kube-flannel"}
MANAGED = {"app.kubernetes.io/managed-by": "Helm"}
NET_CONF = '{"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}'


def thing(kind: str, name: str, namespace: str = "", version: str = "v1", **content: Any) -> dict[str, Any]:
    """An object as the API server returns it; ``labels`` and ``annotations`` of ``content`` go to its metadata."""
    metadata: dict[str, Any] = {"name": name, **({"namespace": namespace} if namespace else {})}
    metadata.update({part: content.pop(part) for part in ("labels", "annotations") if part in content})
    metadata.update(uid=f"uid-{kind}-{name}", resourceVersion="812", creationTimestamp="2026-01-17T09:00:00Z", managedFields=[{"manager": "helm"}])
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}


def daemonset(name: str, namespace: str, **metadata: Any) -> dict[str, Any]:
    pods = {"metadata": {"labels": {"app": name}}, "spec": {"hostNetwork": True, "containers": [{"name": name, "image": f"{name}:v1"}]}}
    made = thing("DaemonSet", name, namespace, "apps/v1", spec={"template": pods}, status={"numberReady": 3}, **metadata)
    made["metadata"]["generation"] = 1
    return made


def release_record(status: str = "deployed") -> dict[str, Any]:
    labels = {"owner": "helm", "name": "flannel", "status": status, "version": "1", "modifiedAt": "1768640000"}
    return thing("Secret", "sh.helm.release.v1.flannel.v1", "kube-flannel", labels=labels, type="helm.sh/release.v1", data={"release": "SDRzSQ=="})


def old_world() -> list[dict[str, Any]]:
    """All of it, and what the control plane makes in a namespace."""
    rbac = "rbac.authorization.k8s.io/v1"
    flannel = {"labels": MANAGED, "annotations": HELM}
    namespace = thing("Namespace", "kube-flannel", spec={"finalizers": ["kubernetes"]}, status={"phase": "Active"})
    namespace["metadata"]["labels"] = {"pod-security.kubernetes.io/enforce": "privileged"}
    subjects = [{"kind": "ServiceAccount", "name": "flannel", "namespace": "kube-flannel"}]
    return [
        daemonset("kube-proxy", "kube-system", labels={"k8s-app": "kube-proxy"}),
        thing("ConfigMap", "kube-proxy", "kube-system", data={"config.conf": "mode: iptables"}),
        namespace,
        thing("ServiceAccount", "default", "kube-flannel"),
        thing("ServiceAccount", "flannel", "kube-flannel", **flannel),
        thing("ConfigMap", "kube-root-ca.crt", "kube-flannel", data={"ca.crt": "x"}),
        thing("ConfigMap", "kube-flannel-cfg", "kube-flannel", data={"net-conf.json": NET_CONF, "cni-conf.json": "{}"}, **flannel),
        release_record(),
        daemonset("kube-flannel-ds", "kube-flannel", labels={**MANAGED, "app": "flannel"}, annotations=HELM),
        thing("ClusterRole", "flannel", version=rbac, rules=[{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}], **flannel),
        thing("ClusterRoleBinding", "flannel", version=rbac, roleRef={"kind": "ClusterRole", "name": "flannel"}, subjects=subjects, **flannel),
    ]


def described(kind: str, name: str, namespace: str = "") -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, "namespace": namespace}}


WANTED = [
    described("ClusterRoleBinding", "flannel"),
    described("ClusterRole", "flannel"),
    described("Namespace", "kube-flannel"),
    described("DaemonSet", "kube-proxy", "kube-system"),
    described("ConfigMap", "kube-proxy", "kube-system"),
]

REMEMBERED = [
    "Namespace kube-flannel",
    "ServiceAccount kube-flannel/flannel",
    "ClusterRole flannel",
    "ClusterRoleBinding flannel",
    "ConfigMap kube-flannel/kube-flannel-cfg",
    "ConfigMap kube-system/kube-proxy",
    "Secret kube-flannel/sh.helm.release.v1.flannel.v1",
    "DaemonSet kube-flannel/kube-flannel-ds",
    "DaemonSet kube-system/kube-proxy",
]


class Killed(BaseException):
    """The controller's process dies here."""


class Api:
    """Serves ``objects``, and is the clock, too. ``kill_at`` is the number of the write at which the caller dies, after its effect."""

    def __init__(self, objects: Iterable[dict[str, Any]] = (), ranges: Iterable[str] = ("10.244.0.0/24", "10.244.1.0/24")) -> None:
        self.now = 0.0
        self.objects = {self._key(item): copy.deepcopy(item) for item in objects}
        self.nodes = [{"metadata": {"name": f"w{number}"}, "spec": {"podCIDR": each} if each else {}} for number, each in enumerate(ranges, 1)]
        self.writes: list[str] = []
        self.kill_at: int | None = None
        self.away_until = -1.0
        self._gone: list[tuple[float, tuple[str, str, str]]] = []
        self._serial = itertools.count(900)

    @staticmethod
    def _key(item: dict[str, Any]) -> tuple[str, str, str]:
        return item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for moment, key in self._gone:
            if moment <= self.now:
                self.objects.pop(key, None)
        self._gone = [each for each in self._gone if each[0] > self.now]

    # -- what the module asks

    def list_nodes(self) -> list[dict[str, Any]]:
        return self._answer(self.nodes)

    def get_object(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        return self._answer(self.objects.get((kind, namespace, name)))

    def list_objects(self, kind: str, namespace: str) -> list[dict[str, Any]]:
        return self._answer([item for key, item in sorted(self.objects.items()) if key[:2] == (kind, namespace)])

    def create_object(self, item: dict[str, Any]) -> None:
        key = self._key(item)
        if key in self.objects:
            raise cluster.Conflict(f"create {key[0]}: already exists")
        namespace = self.objects.get(("Namespace", "", key[1]))
        if key[1] not in ("", "kube-system"):
            assert namespace, f"{key} comes before its namespace"
            assert "deletionTimestamp" not in namespace["metadata"], "403: the namespace is being terminated"
        assert "resourceVersion" not in item["metadata"], "400: resourceVersion should not be set on objects to be created"
        made = copy.deepcopy(item)
        made["metadata"].update(uid=f"uid-{next(self._serial)}", resourceVersion="1", creationTimestamp="now")
        self._write("create", key, made)

    def replace_object(self, item: dict[str, Any]) -> None:
        key = self._key(item)
        self._write("replace", key, {**item, "metadata": {**self.objects[key]["metadata"], **item["metadata"]}})

    def delete_object(self, kind: str, namespace: str, name: str, uid: str) -> None:
        key = kind, namespace, name
        if key not in self.objects:
            raise cluster.NotFound(f"delete {kind}: not found")
        if self.objects[key]["metadata"]["uid"] != uid:
            raise cluster.Conflict("the uid is another one")
        self._write("delete", key, None)

    # -- what others do

    def end(self, kind: str, namespace: str, name: str, seconds: float) -> None:
        """Somebody deletes it; it is gone after a while."""
        key = kind, namespace, name
        self.objects[key]["metadata"]["deletionTimestamp"] = "now"
        self._gone.append((self.now + seconds, key))

    def lose(self, *names: str) -> None:
        """These are gone, by name."""
        self.objects = {key: item for key, item in self.objects.items() if key[2] not in names}

    def _write(self, verb: str, key: tuple[str, str, str], item: dict[str, Any] | None) -> None:
        self._answer(None)
        if item is None:
            del self.objects[key]
        else:
            self.objects[key] = item
        self.writes.append(f"{verb} {key[0]} {key[2]}")
        if len(self.writes) == self.kill_at:
            raise Killed

    def _answer(self, found: Any) -> Any:
        if self.now < self.away_until:
            raise cluster.ApiUnavailable("connection refused")
        return copy.deepcopy(found)
