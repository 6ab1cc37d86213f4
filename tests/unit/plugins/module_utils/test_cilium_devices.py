# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils.cilium_devices import devices

ROUTES = ["default via 10.0.2.2 dev eth0", "192.168.10.0/24 dev eth1 proto kernel scope link src 192.168.10.101"]


def link(name: str, *addresses: str, kind: str = "", flags: tuple[str, ...] = ("BROADCAST", "UP", "LOWER_UP"), **more: Any) -> dict[str, Any]:
    """An entry of what ip prints."""
    return {
        "ifname": name,
        "flags": list(flags),
        "mtu": 1500,
        "address": "0a:00:27:00:00:01",
        "addr_info": [{"local": address, "prefixlen": 24} for address in addresses],
        **({"linkinfo": {"info_kind": kind}} if kind else {}),
        **more,
    }


NODE = [
    link("lo", "127.0.0.1", "::1", flags=("LOOPBACK", "UP", "LOWER_UP")),
    link("eth0", "10.0.2.15"),
    link("eth1", "192.168.10.101", "fe80::a00:27ff:fe3c:1"),
    link("flannel.1", "10.244.1.0", kind="vxlan"),
    link("cni0", "10.244.1.1", kind="bridge"),
    link("veth9c1", "fe80::1", kind="veth", master="cni0"),
]


def of(*links: dict[str, Any], routes: list[str] | None = None, kernel: str = "6.1.0-37-amd64") -> list[str]:
    return devices(json.dumps(links), ROUTES if routes is None else routes, kernel)


def test_the_links_of_a_node_on_flannel_but_for_flannels() -> None:
    assert of(*NODE) == ["eth0", "eth1"]
    assert of(*NODE, link("flannel-v6.1", "fd00::1", kind="vxlan"), link("cilium_host", "10.245.1.1"), link("docker0", "172.17.0.1")) == ["eth0", "eth1"]
    assert devices("", ROUTES, "6.1") == of({}) == []


@pytest.mark.parametrize(
    "left_out",
    [
        link("eth2"),
        link("eth2", "fe80::1", "169.254.20.10"),
        link("kube-ipvs0", "10.96.0.1", kind="dummy", flags=("BROADCAST", "NOARP")),
        link("eth2", "192.0.2.1", flags=("BROADCAST", "SLAVE", "UP")),
        link("eth2", "192.0.2.1", master="vrf-blue"),
        link("br0", "192.0.2.1", kind="bridge"),
        link("ovs0", "192.0.2.1", kind="openvswitch"),
        link("veth0", "192.0.2.1", kind="veth"),
    ],
    ids=lambda each: f"{each['ifname']} {each.get('master', '')}",
)
def test_what_cilium_does_not_choose_either(left_out: dict[str, Any]) -> None:
    assert of(*NODE, left_out) == ["eth0", "eth1"]


def test_bonds_and_vlans_are_taken_and_their_members_are_not() -> None:
    bonded = [link("eno1", flags=("SLAVE", "UP"), master="bond0"), link("bond0", "192.0.2.1", kind="bond"), link("bond0.7", "198.51.100.1", kind="vlan")]
    assert of(*bonded) == ["bond0", "bond0.7"]


def test_a_veth_is_taken_where_the_default_route_leads_out_of_it() -> None:
    assert of(link("eth0", "192.0.2.1", kind="veth"), routes=["default via 192.0.2.254 dev eth0"]) == ["eth0"]


@pytest.mark.parametrize(("kernel", "taken"), [("5.4.0-150-generic", []), ("5.8.0", ["wg0"]), ("6.1.0-37-amd64", ["wg0"]), ("unknown", [])])
def test_a_link_without_a_mac_needs_a_newer_kernel(kernel: str, taken: list[str]) -> None:
    tunnel = link("wg0", "192.0.2.1", kind="wireguard")
    del tunnel["address"]
    assert of(tunnel, kernel=kernel) == taken
