# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who owns what."""

from __future__ import annotations

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils import ownership
from ansible_collections.netops.cni_migration.plugins.module_utils.ruleset import Rule


def rule(chain: str, target: str, comment: str = "", conditions: tuple[str, ...] = (), jumps: bool = True) -> Rule:
    """A rule with the parts ownership looks at."""
    return Rule(chain, 1, target, jumps, comment, frozenset(conditions), (), 0, 0, b"")


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("KUBE-SERVICES", "kube_proxy"),
        ("KUBE-SVC-CNZCPOCNCNOROALA", "kube_proxy"),
        ("KUBE-SEP-PQBQBGZJJ5FKN3TB", "kube_proxy"),
        ("KUBE-EXT-CNZCPOCNCNOROALA", "kube_proxy"),
        ("KUBE-FW-CNZCPOCNCNOROALA", "kube_proxy"),
        ("KUBE-XLB-GNZBNJ2PO5MGZ6GT", "kube_proxy"),
        ("KUBE-NODE-PORT", "kube_proxy"),
        ("KUBE-IPVS-OUT-FILTER", "kube_proxy"),
        ("KUBE-FIREWALL", "kubelet"),
        ("KUBE-KUBELET-CANARY", "kubelet"),
        ("KUBE-IPTABLES-HINT", "kubelet"),
        ("KUBE-MARK-DROP", "kubelet"),
        ("FLANNEL-POSTRTG", "flannel"),
        ("FLANNEL-FWD", "flannel"),
        ("CNI-1b4cd5d2d8c8a6f1b2c3d4e5", "cni_plugins"),
        ("CNI-DN-0123456789abcdef01234", "cni_plugins"),
        ("CNI-SN-0123456789abcdef01234", "cni_plugins"),
        ("CNI-HOSTPORT-DNAT", "cni_plugins"),
        ("CNI-FORWARD", "cni_plugins"),
        ("KUBERA", None),
        ("KUBE", None),
        ("KUBE-SERVICES-MINE", None),
        ("MY-KUBE-SVC-1", None),
        ("KUBE-ROUTER-INPUT", None),
        ("FLANNEL-MINE", None),
        ("CNI-mine", None),
        ("CNI-1B4CD5D2D8C8A6F1B2C3D4E5", None),
        ("CNI-1b4cd5d2d8c8a6f1b2c3d4e5a", None),
        ("CILIUM_FORWARD", "cilium"),
        ("CILIUM_POST_nat", "cilium"),
        ("OLD_CILIUM_PRE_mangle", "cilium"),
        ("CILIUM_MINE", None),
        ("OLD_CILIUM", None),
        ("DOCKER", None),
        ("INPUT", None),
        ("kube-services", None),
    ],
)
def test_chains(name: str, owner: str | None) -> None:
    assert ownership.chain_owner(name) == owner


@pytest.mark.parametrize(
    ("table", "written"),
    [
        ("nat", rule("PREROUTING", "KUBE-SERVICES", "kubernetes service portals")),
        ("nat", rule("PREROUTING", "KUBE-SERVICES")),
        ("filter", rule("FORWARD", "KUBE-SERVICES", "kubernetes service portals", ("conntrack",))),
        ("filter", rule("OUTPUT", "KUBE-FIREWALL")),
        ("nat", rule("POSTROUTING", "FLANNEL-POSTRTG", "flanneld masq")),
        ("nat", rule("OUTPUT", "CNI-HOSTPORT-DNAT", "", ("addrtype",))),
        ("nat", rule("POSTROUTING", "CNI-1b4cd5d2d8c8a6f1b2c3d4e5", 'name: "cbr0" id: "12"', ("src",))),
        ("raw", rule("PREROUTING", "CILIUM_PRE_raw", "cilium-feeder: CILIUM_PRE_raw")),
        ("filter", rule("FORWARD", "CILIUM_FORWARD", "cilium-feeder: CILIUM_FORWARD")),
        ("filter", rule("FORWARD", "OLD_CILIUM_FORWARD", "cilium-feeder: CILIUM_FORWARD")),
    ],
)
def test_hooks(table: str, written: Rule) -> None:
    assert ownership.is_hook(table, written)


@pytest.mark.parametrize(
    ("table", "written"),
    [
        ("nat", rule("PREROUTING", "KUBE-SERVICES", "my own way in")),
        ("nat", rule("PREROUTING", "KUBE-SERVICES", "kubernetes service portals", ("src",))),
        ("nat", rule("PREROUTING", "KUBE-MARK-MASQ", "kubernetes service portals")),
        ("filter", rule("PREROUTING", "KUBE-SERVICES", "kubernetes service portals")),
        ("nat", rule("MYAPP", "KUBE-SERVICES", "kubernetes service portals")),
        ("nat", rule("POSTROUTING", "CNI-1b4cd5d2d8c8a6f1b2c3d4e5", "", ("src",))),
        ("nat", rule("OUTPUT", "CNI-HOSTPORT-DNAT", "")),
        ("filter", rule("INPUT", "CILIUM_FORWARD", "cilium-feeder: CILIUM_FORWARD")),
        ("filter", rule("FORWARD", "CILIUM_FORWARD", "by hand")),
    ],
)
def test_jumps_of_somebody_else(table: str, written: Rule) -> None:
    assert not ownership.is_hook(table, written)


def test_rules_flannel_wrote_without_chains() -> None:
    masquerade = rule("POSTROUTING", "MASQUERADE", "flanneld masq", ("src", "dst"), jumps=False)
    assert ownership.stray_owner("nat", masquerade) == "flannel"
    assert ownership.stray_owner("filter", rule("FORWARD", "ACCEPT", "flanneld forward", ("src",), jumps=False)) == "flannel"
    for other in (
        masquerade._replace(comment="like flanneld masq"),
        masquerade._replace(chain="MYAPP"),
        masquerade._replace(target="DNAT"),
        masquerade._replace(conditions=frozenset({"src", "iface"})),
    ):
        assert ownership.stray_owner("nat", other) is None
    assert ownership.stray_owner("mangle", masquerade) is None


def test_ipsets_and_tables() -> None:
    assert "KUBE-CLUSTER-IP" in ownership.IPSETS and "KUBE-6-CLUSTER-IP" in ownership.IPSETS
    assert "KUBE-6-LOAD-BALANCER-SOURCE-CID" in ownership.IPSETS, "the kernel allows 31 characters, and so kube-proxy cuts the name"
    assert "KUBE-OF-MINE" not in ownership.IPSETS
    assert (ownership.IPSETS["KUBE-CLUSTER-IP"], ownership.IPSETS["cilium_node_set_v4"]) == ("kube_proxy", "cilium")
    assert ownership.NATIVE_TABLES == {
        ("ipv4", "kube-proxy"): "kube_proxy",
        ("ipv6", "kube-proxy"): "kube_proxy",
        ("ipv4", "flannel-ipv4"): "flannel",
        ("ipv6", "flannel-ipv6"): "flannel",
        ("ipv4", "cni_hostport"): "cni_plugins",
        ("ipv6", "cni_hostport"): "cni_plugins",
        ("inet", "cni_plugins_masquerade"): "cni_plugins",
    }
