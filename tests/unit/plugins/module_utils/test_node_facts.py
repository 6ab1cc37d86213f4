# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils import node_facts

LINKS = [
    {"ifname": "lo", "mtu": 65536, "addr_info": [{"local": "127.0.0.1", "prefixlen": 8}, {"local": "::1", "prefixlen": 128}]},
    {
        "ifname": "flannel.1",
        "mtu": 1450,
        "addr_info": [{"local": "10.244.1.0", "prefixlen": 32}],
        "linkinfo": {"info_kind": "vxlan", "info_data": {"id": 1, "port": 8472}},
    },
    {},
]

UDP = """   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  213: 00000000:2118 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 18044 2 0000000000000000 0
  213: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 18045 2 0000000000000000 0
"""
UDP6 = """  sl  local_address                         remote_address                        st tx_queue rx_queue
  213: 00000000000000000000000000000000:2119 00000000000000000000000000000000:0000 07 00000000:00000000
"""


def test_links_carry_kind_addresses_and_the_identity_of_a_tunnel() -> None:
    assert node_facts.parse_links(json.dumps(LINKS)) == [
        {"name": "lo", "kind": "", "mtu": 65536, "addresses": ["127.0.0.1/8", "::1/128"]},
        {"name": "flannel.1", "kind": "vxlan", "mtu": 1450, "addresses": ["10.244.1.0/32"], "vni": 1, "port": 8472},
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


@pytest.mark.parametrize(
    ("configs", "keeps"),
    [
        ([], False),
        (["[Network]\n#ManageForeignRoutingPolicyRules=no\n"], False),
        (["[Network]\nManageForeignRoutingPolicyRules=no\n"], True),
        (["[Network]\nManageForeignRoutingPolicyRules=no\n", "[Network]\nManageForeignRoutingPolicyRules=yes\n"], False),
    ],
)
def test_networkd_deletes_foreign_rules_unless_told_otherwise_last(configs: list[str], keeps: bool) -> None:
    assert node_facts.networkd_keeps_foreign_rules(configs) is keeps
