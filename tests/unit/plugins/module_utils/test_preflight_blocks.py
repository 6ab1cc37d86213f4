# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from preflight_objects import SETTINGS, cluster, facts, lines, manifests, node, pod


def cut(cidr: str, prefix: int, nodes: int = 3, **status: Any) -> list[tuple[str, str, str]]:
    """The lines of the check, for so many nodes and blocks of this prefix length out of ``cidr``."""
    settings = replace(SETTINGS, manifests=manifests(cluster_pool_ipv4_cidr=cidr, cluster_pool_ipv4_mask_size=str(prefix)))
    names = [f"n{number}" for number in range(nodes)]
    return lines(cluster(nodes=[node(name, **status) for name in names]), settings, {name: facts() for name in names}, check="blocks")


def of_cluster(found: list[tuple[str, str, str]]) -> list[tuple[str, str]]:
    return [(level, fact) for level, name, fact in found if not name]


@pytest.mark.parametrize(
    ("cidr", "prefix", "nodes", "level", "fact"),
    [
        ("10.245.0.0/16", 24, 3, "ok", "3 nodes take 3 of the 256 blocks /24 of 10.245.0.0/16"),
        ("10.245.0.0/20", 24, 14, "ok", "14 nodes take 14 of the 16 blocks /24 of 10.245.0.0/20"),
        ("10.245.0.0/20", 24, 15, "warning", "15 nodes take nearly all of the 16 blocks /24 of 10.245.0.0/20: 1 left for nodes that are to come"),
        ("10.245.0.0/20", 24, 16, "warning", "16 nodes take nearly all of the 16 blocks /24 of 10.245.0.0/20: 0 left for nodes that are to come"),
        ("10.245.0.0/20", 24, 17, "refused", "there are 16 blocks /24 of 10.245.0.0/20, and 17 nodes, each of which needs one"),
        ("10.245.0.0/25", 24, 2, "refused", "there are 0 blocks /24 of 10.245.0.0/25, and 2 nodes, each of which needs one"),
        ("10.245.0.0/24 10.246.0.0/24", 25, 3, "ok", "3 nodes take 3 of the 4 blocks /25 of 10.245.0.0/24, 10.246.0.0/24"),
    ],
)
def test_each_node_takes_a_block(cidr: str, prefix: int, nodes: int, level: str, fact: str) -> None:
    assert of_cluster(cut(cidr, prefix, nodes)) == [(level, fact)]


@pytest.mark.parametrize(
    ("prefix", "most", "level"),
    [(24, "110", "ok"), (24, "252", "ok"), (24, "253", "warning"), (25, "110", "ok"), (26, "110", "warning"), (32, "1", "warning")],
)
def test_a_block_should_have_an_address_for_every_pod_that_a_kubelet_starts(prefix: int, most: str, level: str) -> None:
    found = [each for each in cut("10.245.0.0/16", prefix, capacity={"pods": most}) if each[1]]
    assert {each[0] for each in found} == {level}
    assert len(found) == 3


def test_what_a_block_has_and_a_node_needs_is_told() -> None:
    told = "its kubelet starts up to 110 pods (2 now with an address of their own), and a block /26 has 60 for them"
    settings = replace(SETTINGS, manifests=manifests(cluster_pool_ipv4_mask_size="26"))
    seen = cluster(pod("exporter", hostNetwork=True), pod("job", phase="Succeeded"))
    assert ("warning", "k8s-w1", told) in lines(seen, settings, check="blocks")


def test_pods_that_are_there_count_where_a_kubelet_tells_no_limit() -> None:
    settings = replace(SETTINGS, manifests=manifests(cluster_pool_ipv4_mask_size="29"))
    pods = [pod(f"p{number}") for number in range(3)]
    seen = cluster(*pods, nodes=[node(name, capacity={}) for name in ("k8s-ctr", "k8s-w1", "k8s-w2")])
    assert [(level, name) for level, name, _fact in lines(seen, settings, check="blocks")] == [
        ("warning", "k8s-w1"),
        ("ok", ""),
        ("ok", "k8s-ctr"),
        ("ok", "k8s-w2"),
    ]


@pytest.mark.parametrize(
    "config", [{"ipam": "kubernetes"}, {"cluster_pool_ipv4_cidr": "ten"}, {"cluster_pool_ipv4_mask_size": ""}, {"cluster_pool_ipv4_mask_size": "33"}]
)
def test_where_no_pool_is_known_nothing_is_said(config: dict[str, str]) -> None:
    assert lines(settings=replace(SETTINGS, manifests=manifests(**config)), check="blocks") == []
    assert lines(settings=replace(SETTINGS, manifests=[]), check="blocks") == []
