# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules as real systems wrote them, loaded into a namespace and purged. ``recorded/README.md`` says how they were made."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

if os.geteuid() != 0:
    pytest.skip("needs root", allow_module_level=True)

from namespace import Namespace

RECORDED = Path(__file__).resolve().parent / "recorded"
BACKENDS = ("nft", "legacy")
FAMILIES = ("ipv4", "ipv6")
KUBELETS = ("KUBE-FIREWALL", "KUBE-KUBELET-CANARY", "KUBE-IPTABLES-HINT")
ALL_OWNERS = ["kube_proxy", "kubelet", "flannel", "cni_plugins"]
FOREIGN = ("docker", "ufw", "firewalld", "fail2ban")
OWNED = {
    "kube-proxy": "kube_proxy",
    "kube-proxy-ipvs": "kube_proxy",
    "flannel": "flannel",
    "cni-plugins-1.1": "cni_plugins",
    "cni-plugins-1.6": "cni_plugins",
}


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """An empty network namespace."""
    with Namespace() as made:
        yield made


def load(namespace: Namespace, backend: str, systems: Iterable[str], *, native: bool = False) -> None:
    """Load what was recorded of each system on top of what is there; with ``native``, also its own nftables tables."""
    for system in systems:
        if (RECORDED / f"{system}.ipset").exists():
            namespace.run("ipset", "restore", stdin=(RECORDED / f"{system}.ipset").read_text())
        for family in FAMILIES:
            namespace.restore(backend, family, (RECORDED / f"{system}-{family}.rules").read_text(), "--noflush")
        if native and (RECORDED / f"{system}.nft").exists():
            namespace.run("nft", "-f", str(RECORDED / f"{system}.nft"))


def saved(namespace: Namespace, backend: str) -> list[str]:
    """All there is: both families with counters, table by table in a fixed order, the native tables, the ipsets."""
    rules = ["".join(sorted(namespace.save(backend, family).split("COMMIT\n"))) for family in FAMILIES]
    tables = namespace.run("nft", "list", "tables").stdout.splitlines()
    native = [table for table in tables if not re.fullmatch(r"table (ip6?|bridge|arp) (raw|mangle|nat|filter|security)", table)]
    return [*rules, *(namespace.run("nft", "-s", "list", *table.split()).stdout for table in native), namespace.run("ipset", "save").stdout]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("system", FOREIGN)
def test_of_other_systems_everything_stays(namespace: Namespace, tmp_path: Path, backend: str, system: str) -> None:
    load(namespace, backend, [system], native=True)
    before = saved(namespace, backend)
    result = namespace.module("iptables_purge", owners=ALL_OWNERS, backup_dir=str(tmp_path))
    assert not result["failed"] and not result["changed"] and result["removed"] == {} and saved(namespace, backend) == before, result
    assert {owner for tables in result["kept"][backend].values() for owners in tables.values() for owner in owners} == {"foreign"}
    rules = sum(owners["foreign"]["rules"] for tables in result["kept"][backend].values() for owners in tables.values())
    assert rules == "".join(before[:2]).count(" -A "), "each of them was read"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("system", OWNED)
def test_of_the_old_network_nothing_stays(namespace: Namespace, tmp_path: Path, backend: str, system: str) -> None:
    load(namespace, backend, [system])
    before = "".join(saved(namespace, backend)[:2])
    result = namespace.module("iptables_purge", owners=ALL_OWNERS, backup_dir=str(tmp_path))
    assert not result["failed"] and result["changed"], result
    left = "".join(saved(namespace, backend))
    assert " -A " not in left and " - [" not in left and "create" not in left
    counts = [count for tables in result["removed"][backend].values() for owners in tables.values() for count in owners.items()]
    # kube-proxy in iptables mode writes the kubelet's KUBE-FIREWALL as well, in the very same words.
    assert {owner for owner, _count in counts} == {OWNED[system], *(["kubelet"] if system == "kube-proxy" else [])}
    assert sum(count["rules"] for _owner, count in counts) == before.count(" -A ")
    assert sum(count["chains"] for _owner, count in counts) == before.count(" - [")


def test_native_tables_go_and_those_of_others_stay(namespace: Namespace, tmp_path: Path) -> None:
    for system in ("firewalld", "fail2ban"):
        namespace.run("nft", "-f", str(RECORDED / f"{system}.nft"))
    before = namespace.run("nft", "list", "ruleset").stdout
    for system in ("kube-proxy", "flannel", "cni-plugins-1.6"):
        namespace.run("nft", "-f", str(RECORDED / f"{system}.nft"))
    result = namespace.module("iptables_purge", backup_dir=str(tmp_path))
    assert not result["failed"], result
    assert namespace.run("nft", "list", "ruleset").stdout == before
    removed = result["removed"]["nft"]
    assert {family: {table: list(owners) for table, owners in tables.items()} for family, tables in removed.items()} == {
        "ipv4": {"kube-proxy": ["kube_proxy"], "flannel-ipv4": ["flannel"], "cni_hostport": ["cni_plugins"]},
        "ipv6": {"kube-proxy": ["kube_proxy"], "flannel-ipv6": ["flannel"], "cni_hostport": ["cni_plugins"]},
        "inet": {"cni_plugins_masquerade": ["cni_plugins"]},
    }
    listed = (RECORDED / "kube-proxy.nft").read_text()
    assert sum(removed[family]["kube-proxy"]["kube_proxy"]["chains"] for family in FAMILIES) == listed.count("\tchain ")


@pytest.mark.parametrize("backend", BACKENDS)
def test_on_a_node_with_all_of_them_what_others_have_stays(namespace: Namespace, tmp_path: Path, backend: str) -> None:
    with Namespace() as without:
        load(without, backend, FOREIGN, native=True)
        expected = saved(without, backend)
    # What belongs to others stands before, between and behind what goes.
    for system in ("docker", "kube-proxy", "ufw", "flannel", "cni-plugins-1.6", "firewalld", "kube-proxy-ipvs", "fail2ban"):
        load(namespace, backend, [system], native=True)
    assert namespace.module("iptables_purge", owners=ALL_OWNERS, backup_dir=str(tmp_path))["changed"]
    assert saved(namespace, backend) == expected


@pytest.mark.parametrize("backend", BACKENDS)
def test_of_a_worker_the_rules_of_the_kubelet_and_of_cilium_stay(namespace: Namespace, tmp_path: Path, backend: str) -> None:
    load(namespace, backend, ["cilium-beside-flannel"])
    before = {family: namespace.save(backend, family).splitlines() for family in FAMILIES}
    result = namespace.module("iptables_purge", backup_dir=str(tmp_path))
    assert not result["failed"], result
    for family, lines in before.items():
        kept = [line for line in lines if not any(word in line for word in ("KUBE-", "FLANNEL-")) or any(name in line for name in KUBELETS)]
        assert namespace.save(backend, family).splitlines() == kept
        others = [line for line in kept if " -A " in line and not any(name in line for name in KUBELETS)]
        assert all("CILIUM_" in line for line in others), "every rule of a fresh node is somebody's we know"
        counted = list(result["kept"][backend].get(family, {}).values())
        assert sum(owners["cilium"]["rules"] for owners in counted if "cilium" in owners) == len(others)
        assert not any(owners.get("foreign", {}).get("rules") for owners in counted)


@pytest.mark.parametrize("backend", BACKENDS)
def test_of_a_worker_that_was_rolled_back_only_ciliums_rules_go(namespace: Namespace, tmp_path: Path, backend: str) -> None:
    load(namespace, backend, ["cilium-beside-flannel"])
    before = {family: namespace.save(backend, family).splitlines() for family in FAMILIES}
    result = namespace.module("iptables_purge", owners=["cilium"], backup_dir=str(tmp_path))
    assert not result["failed"] and result["changed"], result
    for family, lines in before.items():
        assert namespace.save(backend, family).splitlines() == [line for line in lines if "CILIUM_" not in line]
    assert {owner for tables in result["removed"][backend].values() for owners in tables.values() for owner in owners} == {"cilium"}
    assert not namespace.module("iptables_purge", owners=["cilium"], backup_dir=str(tmp_path))["changed"]
