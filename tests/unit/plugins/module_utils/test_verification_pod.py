# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verification pod: that it can do no harm, and that only the right result counts."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils import verification_pod
from ansible_collections.netops.cni_migration.plugins.module_utils.verification_pod import Unproven, complaint, judge

CIDR = "10.245.0.0/16"


def test_the_pod_has_neither_token_nor_privileges() -> None:
    spec = verification_pod.manifest("k8s-w1", "kube-system", "netshoot")["spec"]
    (container,) = spec["containers"]
    assert spec["automountServiceAccountToken"] is False and spec["nodeName"] == "k8s-w1" and spec["restartPolicy"] == "Never"
    assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] and "hostNetwork" not in spec
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}
    assert not any(spec.get(key) for key in ("volumes", "hostPID", "hostIPC", "serviceAccountName"))


def test_its_image_is_pulled_by_the_secrets_that_are_named_and_by_none_else() -> None:
    assert "imagePullSecrets" not in verification_pod.manifest("k8s-w1", "kube-system", "netshoot")["spec"]
    named = verification_pod.manifest("k8s-w1", "kube-system", "netshoot", ["regcred", "mirror"])["spec"]
    assert named["imagePullSecrets"] == [{"name": "regcred"}, {"name": "mirror"}]


def test_the_name_fits_whatever_the_node_is_called() -> None:
    assert verification_pod.name_for("k8s-w1") == "cni-verify-k8s-w1"
    assert len(verification_pod.name_for("n" * 253)) == 253
    assert not verification_pod.name_for("n" * 241 + "-" + "n" * 11).endswith("-")


@pytest.mark.parametrize("status", [{}, {"podIP": "10.245.0.7"}])
def test_the_right_result(status: dict[str, str]) -> None:
    assert judge({"status": status}, "ok 10.245.0.7\n", CIDR) == "10.245.0.7"


@pytest.mark.parametrize(
    ("log", "ip", "words"),
    [
        ("ok 10.244.1.7", "10.244.1.7", "10.244.1.7, which is not in 10.245.0.0/16"),
        ("ok 10.245.0.7", "10.244.1.7", "10.244.1.7, which is not in"),
        ("[-]etcd failed 10.245.0.7", "10.245.0.7", "answered '.*etcd failed 10.245.0.7'"),
        ("", "10.245.0.7", "answered ''"),
        ("ok nonsense", "10.245.0.7", "the address nonsense"),
    ],
)
def test_wrong_results(log: str, ip: str, words: str) -> None:
    with pytest.raises(Unproven, match=words):
        judge({"status": {"podIP": ip}}, log, CIDR)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (
            {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]},
            "pod p is Pending: ImagePullBackOff no such image",
        ),
        (
            {"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 28, "reason": "Error", "message": "curl: timed out"}}}]},
            "pod p is Failed: Error 28 curl: timed out",
        ),
        ({"phase": "Pending", "conditions": [{"type": "Initialized", "status": "False", "message": "sandbox"}]}, "pod p is Pending: sandbox"),
        ({"phase": "Failed", "message": "Node is shutting down"}, "pod p is Failed Node is shutting down"),
        ({}, "pod p is not seen by its kubelet yet"),
    ],
)
def test_a_complaint_carries_the_kubelets_words(status: dict[str, Any], words: str) -> None:
    assert complaint({"metadata": {"name": "p"}, "status": status}) == words
