# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recognising what the old network left."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.netops.cni_migration.plugins.module_utils import residue
from ansible_collections.netops.cni_migration.plugins.module_utils.residue import Item

ALL = ("kube_proxy", "flannel", "cni_plugins")
FLANNEL = Item("link", "flannel.1", "flannel", "vxlan")
CHART = {"name": "cbr0", "cniVersion": "0.3.1", "plugins": [{"type": "flannel", "delegate": {"hairpinMode": True}}, {"type": "portmap"}]}


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("flannel.1", "flannel"),
        ("flannel.4096", "flannel"),
        ("flannel-v6.1", "flannel"),
        ("flannel.ipip", "flannel"),
        ("flannel-wg", "flannel"),
        ("flannel0", "flannel"),
        ("cni0", "cni_plugins"),
        ("kube-ipvs0", "kube_proxy"),
        ("cni1", None),
        ("flannel.mine", None),
        ("flannels", None),
        ("cilium_host", "cilium"),
        ("cilium_net", "cilium"),
        ("cilium_vxlan", "cilium"),
        ("lxc_health", "cilium"),
        ("lxc0e5f1a2b3c4d", "cilium"),
        ("lxcbr0", None),
        ("lxc0", None),
        ("ciliumX", None),
        ("nodelocaldns", None),
        ("docker0", None),
        ("eth1", None),
    ],
)
def test_links_by_name(name: str, owner: str | None) -> None:
    assert residue.link_owner(name) == owner


def test_links() -> None:
    listed = [
        {"ifname": "eth1"},
        {"ifname": "flannel.1", "linkinfo": {"info_kind": "vxlan"}},
        {"ifname": "cni0", "linkinfo": {"info_kind": "bridge"}},
        {"ifname": "veth1", "master": "cni0"},
        {"ifname": "veth2", "master": "cni0"},
    ]
    assert residue.links(listed, ALL) == [FLANNEL, Item("link", "cni0", "cni_plugins", "bridge, 2 ports")]
    assert residue.links(listed, ["kube_proxy"]) == []


def test_routes_leave_out_the_links_own() -> None:
    listed = [
        {"dst": "10.244.1.0/24", "gateway": "10.244.1.0", "dev": "flannel.1", "flags": ["onlink"]},
        {"dst": "fe80::/64", "protocol": "kernel", "dev": "flannel.1"},
    ]
    assert residue.routes(listed, FLANNEL) == [Item("route", "10.244.1.0/24", "flannel", "via 10.244.1.0 dev flannel.1")]


def test_neighbours_and_forwarding_entries() -> None:
    assert residue.neighbours(
        [{"dst": "10.244.1.0", "lladdr": "02:00:00:00:00:01", "state": ["PERMANENT"]}, {"dst": "10.244.2.0", "state": ["STALE"]}], FLANNEL
    ) == [Item("neighbour", "10.244.1.0", "flannel", "lladdr 02:00:00:00:00:01 dev flannel.1")]
    assert residue.forwarding_entries([{"mac": "02:00:00:00:00:01", "dst": "192.168.10.101"}, {"mac": "33:33:00:00:00:01"}], FLANNEL) == [
        Item("fdb", "02:00:00:00:00:01", "flannel", "dst 192.168.10.101 dev flannel.1")
    ]


def test_rules() -> None:
    counts = {"nft": {"ipv4": {"nat": {"flannel": {"chains": 1, "rules": 7}, "kube_proxy": {"chains": 90000, "rules": None}}}}}
    assert residue.rules(counts) == [
        Item("rules", "nft ipv4 nat", "flannel", "1 chains, 7 rules"),
        Item("rules", "nft ipv4 nat", "kube_proxy", "90000 chains, uncounted rules"),
    ]


def test_a_configuration_is_flannels_by_its_plugin_not_its_name() -> None:
    assert residue.flannel_network("10-flannel.conflist", json.dumps(CHART)) == "cbr0"
    assert residue.flannel_network("50-renamed.conflist.cilium_bak", json.dumps({**CHART, "name": "pods"})) == "pods"
    assert residue.flannel_network("10-old.conf", '{"name": "cbr0", "type": "flannel"}') == "cbr0"
    assert residue.flannel_network("10-flannel.conflist", '{"name": "x", "plugins": [{"type": "bridge"}]}') is None
    assert residue.flannel_network("10-flannel.conflist", "half a fi") == "cbr0"
    assert residue.flannel_network("05-cilium.conflist", '{"name": "cilium", "plugins": [{"type": "cilium-cni"}]}') is None


# What iproute2 6.1.0 printed in a network namespace with such routes, rules and filters; the name of a program as tc of iproute2 prints it.
ROUTES = [
    {"dst": "10.245.0.0/24", "gateway": "10.245.0.145", "dev": "cilium_host", "protocol": "kernel", "prefsrc": "10.245.0.145", "flags": []},
    {"dst": "10.245.1.0/24", "gateway": "192.168.10.101", "dev": "eth1", "protocol": "kernel", "flags": []},
]
RULES = [
    {"priority": 9, "src": "all", "fwmark": "0x200", "fwmask": "0xf00", "table": "2004"},
    {"priority": 100, "src": "all", "table": "local"},
    {"priority": 32766, "src": "all", "table": "main"},
    {"priority": 32767, "src": "all", "table": "default"},
]
FILTER = {"protocol": "all", "pref": 1, "kind": "bpf", "chain": 0}


def test_routes_to_other_nodes_are_ciliums_over_whichever_link() -> None:
    assert residue.direct_routes(ROUTES) == [Item("route", "10.245.1.0/24", "cilium", "via 192.168.10.101 dev eth1")]
    assert residue.direct_routes([{"dst": "10.245.0.145", "dev": "eth1", "scope": "link"}]) == []


def test_routing_rules_are_told_as_ip_takes_them() -> None:
    moved = Item("routing_rule", "pref 100 table local", "cilium", "instead of pref 0")
    assert residue.routing_rules(RULES) == [Item("routing_rule", "pref 9 table 2004", "cilium", ""), moved]
    own = {"priority": 0, "src": "all", "table": "local"}
    assert residue.routing_rules([own, *RULES])[1] == moved._replace(detail=""), "the kernel's own is there, so it need not be made"
    assert residue.routing_rules([own, *RULES[2:]]) == []
    assert residue.routing_rules([{"priority": 9, "table": "7"}, {"priority": 1000, "table": "local"}]) == [], "of somebody else"


def test_filters_are_told_as_tc_takes_them_and_only_ciliums() -> None:
    def program(name: str | None) -> dict[str, object]:
        return {**FILTER, "options": {"handle": "0x1", **({"bpf_name": name} if name else {}), "direct-action": True, "not_in_hw": True}}

    found = residue.filters([FILTER, program("cil_from_netdev-eth1")], "eth1", "ingress")
    assert found == [Item("filter", "eth1 ingress protocol all pref 1 handle 0x1 bpf", "cilium", "cil_from_netdev-eth1")]
    assert residue.filters([FILTER, program("mine.o:[tc]"), program(None), {"kind": "u32", "options": "x"}], "eth1", "egress") == []


JSON = st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)).map(json.dumps)


@given(st.text() | JSON)
def test_any_content_of_a_configuration(content: str) -> None:
    assert residue.flannel_network("99-other.conflist", content) is None or "flannel" in content


def test_paths_follow_the_network() -> None:
    assert set(residue.state_paths(["pods"])) >= {"/run/flannel", "/opt/cni/bin/flannel", "/var/lib/cni/networks/pods", "/var/lib/cni/results/pods-*"}
    assert residue.state_paths([])["/etc/cni/net.d/05-cilium.conflist"] == "cilium"
