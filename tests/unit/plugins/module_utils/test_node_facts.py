# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils import node_facts
from ansible_collections.netops.cni_migration.plugins.module_utils.ruleset import Table, TableKey

LINKS = [
    {"ifname": "lo", "mtu": 65536, "addr_info": [{"local": "127.0.0.1", "prefixlen": 8}, {"local": "::1", "prefixlen": 128}]},
    {
        "ifname": "flannel.1",
        "mtu": 1450,
        "addr_info": [{"local": "10.244.1.0", "prefixlen": 32}],
        "linkinfo": {"info_kind": "vxlan", "info_data": {"id": 1, "port": 8472}},
    },
    {"ifname": "cilium_vxlan", "mtu": 1500, "linkinfo": {"info_kind": "vxlan", "info_data": {"external": True, "id": 0, "port": 8473}}},
    {"ifname": "gnv0", "mtu": 1400, "linkinfo": {"info_kind": "geneve", "info_data": {"id": 7, "port": 6081}}},
    {},
]

UDP = """   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  213: 00000000:2118 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 18044 2 0000000000000000 0
  213: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 18045 2 0000000000000000 0
"""
UDP6 = """  sl  local_address                         remote_address                        st tx_queue rx_queue
  213: 00000000000000000000000000000000:2119 00000000000000000000000000000000:0000 07 00000000:00000000
"""

LISTENERS = """LISTEN 0      4096       127.0.0.1:10248      0.0.0.0:*    users:(("kubelet",pid=1024,fd=9))
LISTEN 0      128          0.0.0.0:22         0.0.0.0:*    users:(("sshd",pid=612,fd=3),("systemd",pid=1,fd=51))
LISTEN 0      128             [::]:22            [::]:*    users:(("sshd",pid=612,fd=4))
LISTEN 0      64                 *:2049             *:*
LISTEN 0      64           0.0.0.0:2049       0.0.0.0:*    users:(("nfsd",pid=77,fd=4))
LISTEN 0      5    127.0.0.1%lo:111           0.0.0.0:*
"""


def test_links_carry_kind_addresses_and_the_identity_of_a_tunnel() -> None:
    assert node_facts.parse_links(json.dumps(LINKS)) == [
        {"name": "lo", "kind": "", "mtu": 65536, "addresses": ["127.0.0.1/8", "::1/128"]},
        {"name": "flannel.1", "kind": "vxlan", "mtu": 1450, "addresses": ["10.244.1.0/32"], "vni": 1, "port": 8472},
        {"name": "cilium_vxlan", "kind": "vxlan", "mtu": 1500, "addresses": [], "vni": None, "port": 8473},
        {"name": "gnv0", "kind": "geneve", "mtu": 1400, "addresses": [], "vni": 7, "port": 6081},
    ]


def test_no_output_means_no_links() -> None:
    assert node_facts.parse_links("") == []


@pytest.mark.parametrize("text", ['{"a": 1}', "1: lo: <LOOPBACK>"])
def test_other_output_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        node_facts.parse_links(text)


def test_udp_ports_of_both_families() -> None:
    assert node_facts.parse_udp_ports(UDP, UDP6, "") == [53, 8472, 8473]


@pytest.mark.parametrize(
    ("names", "active"),
    [
        (["10-flannel.conflist", "05-cilium.conflist", "00-note.txt"], "05-cilium.conflist"),
        (["10-flannel.conflist.cilium_bak"], ""),
        ([], ""),
    ],
)
def test_the_first_configuration_by_name_is_active(names: list[str], active: str) -> None:
    assert node_facts.active_cni_file(names) == active


def test_routes_are_counted_by_device() -> None:
    lines = ["default via 10.0.2.2 dev eth0", "10.244.0.0/24 via 10.244.0.0 dev flannel.1 onlink", "10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink", ""]
    assert node_facts.routes_by_device(lines) == {"eth0": 1, "flannel.1": 2}


def test_who_listens_on_each_port_is_told_once() -> None:
    assert node_facts.parse_listeners(LISTENERS) == [
        {"port": 22, "process": "sshd (612)"},
        {"port": 111, "process": ""},
        {"port": 2049, "process": "nfsd (77)"},
        {"port": 10248, "process": "kubelet (1024)"},
    ]
    assert node_facts.parse_listeners("") == []


def test_networks_that_routes_lead_to() -> None:
    lines = [
        "default via 10.0.2.2 dev eth0 proto static",
        "10.244.0.0/24 via 10.244.0.0 dev flannel.1 onlink",
        "169.254.169.254 dev eth0 scope link",
        "blackhole 10.9.0.0/16",
        "10.8.0.0/16 proto bird",
        "\tnexthop via 192.168.10.1 dev eth1 weight 1",
        "",
    ]
    assert node_facts.routed_networks(lines) == [
        {"network": "10.244.0.0/24", "device": "flannel.1"},
        {"network": "169.254.169.254/32", "device": "eth0"},
    ]


def test_tables_that_hold_rules_by_backend() -> None:
    tables = [
        Table(TableKey("nft", "ipv4", "filter"), {"INPUT": 2, "FORWARD": 1}, {"INPUT", "FORWARD"}),
        Table(TableKey("nft", "ipv4", "nat"), {"PREROUTING": 1, "KUBE-SERVICES": None}, {"PREROUTING"}),
        Table(TableKey("nft", "ipv4", "mangle"), {"PREROUTING": 0}, {"PREROUTING"}),
        Table(TableKey("nft", "ipv4", "kube-proxy"), {"services": 4}, native=True),
        Table(TableKey("legacy", "ipv6", "filter"), {"INPUT": 1}, {"INPUT"}),
    ]
    assert node_facts.rule_tables(tables) == {"nft": {"ipv4 filter": 3, "ipv4 nat": None}, "legacy": {"ipv6 filter": 1}}
    assert node_facts.rule_tables([]) == {"nft": {}, "legacy": {}}
