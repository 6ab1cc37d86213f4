# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules as real systems wrote them, loaded into a namespace and purged.

``recorded/flannel-kube-proxy-*``: a worker of the lab with kubelet and kube-proxy v1.33.2 and Flannel v0.26.7, without the matches on nfacct
counters, which cannot be loaded where these counters do not exist.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

if os.geteuid() != 0:
    pytest.skip("needs root", allow_module_level=True)

from namespace import Namespace

RECORDED = Path(__file__).resolve().parent / "recorded"
KUBELETS = ("KUBE-FIREWALL", "KUBE-KUBELET-CANARY", "KUBE-IPTABLES-HINT")


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """An empty network namespace."""
    with Namespace() as made:
        yield made


@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_of_a_worker_only_the_kubelets_rules_stay(namespace: Namespace, tmp_path: Path, backend: str) -> None:
    before = {}
    for family in ("ipv4", "ipv6"):
        namespace.restore(backend, family, (RECORDED / f"flannel-kube-proxy-{family}.rules").read_text())
        before[family] = namespace.save(backend, family).splitlines()
    result = namespace.module("iptables_purge", backup_dir=str(tmp_path))
    assert not result["failed"], result
    for family, lines in before.items():
        kept = [line for line in lines if not any(word in line for word in ("KUBE-", "FLANNEL-")) or any(name in line for name in KUBELETS)]
        assert namespace.save(backend, family).splitlines() == kept
    foreign = [owners.get("foreign", {"rules": 0})["rules"] for family in result["kept"][backend].values() for owners in family.values()]
    assert not any(foreign), "every rule of a fresh node is somebody's we know"
