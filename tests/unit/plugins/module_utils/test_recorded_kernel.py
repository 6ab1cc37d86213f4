# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading and planning on what a real kernel said of a node with everybody's rules: see ``fixtures/record_kernel.py``."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils import (
    nft_kernel,
    nft_messages,
    ownership,
    purge_host,
    purge_plan,
    purge_report,
    xt_blob,
    xt_kernel,
)
from ansible_collections.netops.cni_migration.plugins.module_utils.ruleset import FAMILIES, TableKey

FIXTURE = Path(__file__).parent / "fixtures" / "kernel_of_a_node.txt"
RECORDED = Path(__file__).resolve().parents[3] / "integration" / "targets" / "iptables_purge" / "recorded"
OWNERS = ("kube_proxy", "flannel", "cni_plugins")
SYSTEMS = {"kube-proxy": "kube_proxy", "flannel": "flannel", "cni-plugins-1.6": "cni_plugins"}
OTHERS = ("docker", "ufw")
# kube-proxy writes the kubelet's KUBE-FIREWALL as well: two jumps in each family and, for IPv4, the rule in it.
KUBELETS = 5


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    """What the kernel said."""
    loaded: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(FIXTURE.read_text().split("\n", 1)[1])))
    return loaded


@pytest.fixture(params=["nft", "legacy"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend in turn."""
    return str(request.param)


@pytest.fixture
def node(answers: dict[str, Any], backend: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[purge_host.Node]:
    """A node that gives these answers."""

    def blob(key: TableKey) -> xt_blob.Blob:
        valid_hooks, hook_entry, underflow, number, entries = answers["legacy"][f"{key.family} {key.name}"]
        return xt_blob.Blob(key, valid_hooks, tuple(hook_entry), tuple(underflow), number, bytes.fromhex(entries))

    monkeypatch.setattr(nft_kernel, "_open", contextlib.nullcontext)
    monkeypatch.setattr(nft_kernel, "_dump", lambda _handle, request: [bytes.fromhex(body) for body in answers["nft"][request.alone().hex()]])
    monkeypatch.setattr(xt_kernel, "read_blob", blob)
    monkeypatch.setattr(xt_kernel, "table_names", lambda family: [name.split()[1] for name in answers["legacy"] if name.startswith(family)])
    monkeypatch.setattr(purge_host.ipset_host, "set_names", list)
    yield purge_host.Node(OWNERS, [backend], FAMILIES, 1000)


def written(*systems: str) -> int:
    """How many iptables rules these systems wrote, in both families."""
    return sum((RECORDED / f"{system}-{family}.rules").read_text().count(" -A ") for system in systems for family in FAMILIES)


def total(counts: purge_plan.Counts, backend: str, owner: str) -> int:
    """How many rules of iptables tables are counted for an owner."""
    tables = (table for family in FAMILIES for name, table in counts[backend].get(family, {}).items() if name in ("raw", "mangle", "nat", "filter"))
    return sum(table[owner]["rules"] or 0 for table in tables if owner in table)


def test_every_rule_is_counted_for_the_one_who_wrote_it(node: purge_host.Node, backend: str) -> None:
    plan = node.plan()
    removed, kept = purge_plan.removed(plan), purge_plan.kept(plan)
    for system, owner in SYSTEMS.items():
        assert total(removed, backend, owner) == written(system) - (KUBELETS if system == "kube-proxy" else 0)
    assert total(kept, backend, "kubelet") == KUBELETS
    assert total(kept, backend, "foreign") == written(*OTHERS)
    assert purge_report.refusals(plan, [], force=False, drop_foreign_jumps=False) == []


def test_native_tables(node: purge_host.Node, backend: str) -> None:
    dropped = {(entry.table.key.family, entry.table.key.name) for entry in node.plan().tables if entry.drop}
    ours = {("ipv4", "kube-proxy"), ("ipv6", "kube-proxy"), ("ipv4", "flannel-ipv4"), ("ipv6", "flannel-ipv6")}
    ours |= {("ipv4", "cni_hostport"), ("ipv6", "cni_hostport"), ("inet", "cni_plugins_masquerade")}
    assert dropped == (ours if backend == "nft" else set())


def test_what_goes_out_of_chains_that_stay_are_the_owners_own_jumps(node: purge_host.Node) -> None:
    plan = node.plan()
    shown = {f"{entry.table.key.name} {purge_report.rule_text(rule)}" for entry in plan.tables for rule, _owner in entry.hooks}
    assert 'nat -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES' in shown
    assert "nat -A PREROUTING [addrtype] -j CNI-HOSTPORT-DNAT" in shown
    assert 'filter -A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD' in shown
    assert not any(re.search("DOCKER|ufw|KUBE-FIREWALL", line) for line in shown)


def test_ipsets_of_kube_proxy_and_of_others() -> None:
    made = {system: re.findall(r"^create (\S+)", (RECORDED / f"{system}.ipset").read_text(), re.M) for system in ("kube-proxy-ipvs", "fail2ban")}
    assert len(made["kube-proxy-ipvs"]) == 34 and made["fail2ban"]
    assert purge_plan.owned_ipsets([*made["fail2ban"], *made["kube-proxy-ipvs"]], OWNERS) == made["kube-proxy-ipvs"]


@pytest.mark.parametrize("backend", ["legacy"])
def test_a_cut_legacy_table_holds_what_others_wrote(node: purge_host.Node) -> None:
    for entry in node.plan().tables:
        key, going = entry.table.key, {rule.position for rule, _owner in entry.hooks}
        blob = xt_kernel.read_blob(key)
        spans = xt_blob.spans(blob)
        cut = xt_blob.assemble(blob, xt_blob.kept(blob, spans, set(entry.chains), going, xt_blob.entry_counters(blob)), strict=True)
        kept = [rule for rule in entry.table.rules if rule.chain not in entry.chains and rule.position not in going]
        left = xt_blob.table(cut, set(), xt_blob.spans(cut)).rules
        assert [(rule.chain, xt_blob.content(key.family, rule)) for rule in left] == [(rule.chain, xt_blob.content(key.family, rule)) for rule in kept]


@pytest.mark.parametrize("backend", ["nft"])
def test_an_nft_transaction_speaks_of_nothing_else(node: purge_host.Node) -> None:
    for entry in node.plan().tables:
        if entry.drop:
            continue
        handles = {struct.pack(">Q", rule.position) for rule, _owner in entry.hooks}
        for message in purge_host.nft_removal(entry):
            found = dict(nft_messages.attributes(message.body[4:]))
            if message.kind == nft_messages.DELETE_RULE and 3 in found:
                assert found[3] in handles
            else:
                chain = found[2 if message.kind == nft_messages.DELETE_RULE else 3].rstrip(b"\0").decode()
                assert ownership.chain_owner(chain) in OWNERS, "every other message names an owned chain"
