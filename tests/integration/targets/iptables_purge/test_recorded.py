# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules as real systems wrote them, loaded into a namespace and purged.

``recorded/cilium-beside-flannel-*``: a worker of the lab in the middle of its migration, with kubelet and kube-proxy v1.33.2, Flannel v0.26.7 and
Cilium v1.17.6; without the matches on nfacct counters, which cannot be loaded where these counters do not exist.
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
def test_of_a_worker_the_rules_of_the_kubelet_and_of_cilium_stay(namespace: Namespace, tmp_path: Path, backend: str) -> None:
    before = {}
    for family in ("ipv4", "ipv6"):
        namespace.restore(backend, family, (RECORDED / f"cilium-beside-flannel-{family}.rules").read_text())
        before[family] = namespace.save(backend, family).splitlines()
    result = namespace.module("iptables_purge", backup_dir=str(tmp_path))
    assert not result["failed"], result
    for family, lines in before.items():
        kept = [line for line in lines if not any(word in line for word in ("KUBE-", "FLANNEL-")) or any(name in line for name in KUBELETS)]
        assert namespace.save(backend, family).splitlines() == kept
        foreign = [line for line in kept if " -A " in line and not any(name in line for name in KUBELETS)]
        assert all("CILIUM_" in line for line in foreign), "every rule of a fresh node is somebody's we know"
        kept_rules = [owners["foreign"]["rules"] for owners in result["kept"][backend].get(family, {}).values() if "foreign" in owners]
        assert sum(kept_rules) == len(foreign)
