# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from preflight_objects import APISERVER, DNS, SETTINGS, cluster, lines, node

from ansible_collections.netops.cni_migration.plugins.module_utils.preflight_model import Cluster

FRONT = "192.168.10.99"
BY_FRONT = replace(SETTINGS, api_host=FRONT)


def several(server: str = FRONT) -> Cluster:
    return cluster(nodes=[node("k8s-ctr", control_plane=True), node("k8s-w1", control_plane=True), node("k8s-w2")], server=server)


def proxied(**environment: str) -> Cluster:
    """The cluster whose API server has these variables."""
    pod = copy.deepcopy(APISERVER)
    pod["spec"]["containers"][0]["env"] = [{"name": name, "value": value} for name, value in environment.items()]
    return cluster(pods=[pod, *DNS])


def test_an_address_in_front_of_all_is_fine() -> None:
    fact = f"Cilium's agents are to reach the API server at {FRONT}, the kubeconfig leads to {FRONT}"
    assert lines(several(), BY_FRONT, check="endpoint") == [("ok", "", fact)]


@pytest.mark.parametrize("one", ["192.168.10.101", "k8s-w1"])
def test_the_address_of_one_of_several_is_said(one: str) -> None:
    fact = f"Cilium's agents are to reach the API server at {one}, which is k8s-w1 alone"
    assert lines(several(), replace(SETTINGS, api_host=one), check="endpoint") == [("warning", "", fact)]
    assert lines(several(server=one), BY_FRONT, check="endpoint") == [("warning", "", f"the kubeconfig leads to {one}, which is k8s-w1 alone")]


def test_with_one_node_of_the_control_plane_there_is_no_other_address() -> None:
    seen = cluster(nodes=[node("k8s-ctr", control_plane=True), node("k8s-w1"), node("k8s-w2")], server="192.168.10.100")
    assert [level for level, *_rest in lines(seen, replace(SETTINGS, api_host="192.168.10.100"), check="endpoint")] == ["ok"]


def test_a_moved_cluster_is_not_looked_at() -> None:
    moved = cluster(nodes=[node("k8s-ctr", "migrated"), node("k8s-w1", "migrated"), node("k8s-w2", "migrated")])
    assert lines(moved, check="endpoint") == lines(moved, check="proxy") == []


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"no_proxy": "10.0.0.0/8"},
        {"HTTPS_PROXY": "", "HTTP_PROXY": ""},
        {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "localhost,.svc,10.244.0.0/15"},
        {"https_proxy": "http://proxy:3128", "no_proxy": "10.1.2.3, 10.245.3.4/16"},
        {"http_proxy": "http://proxy:3128", "no_proxy": "*"},
    ],
)
def test_no_proxy_stands_before_the_new_network(environment: dict[str, str]) -> None:
    assert lines(proxied(**environment), check="proxy") == [("ok", "", "nothing that the control plane sends to pods goes by a proxy")]


@pytest.mark.parametrize("without", ["", "localhost,.svc,10.96.0.0/16,10.244.0.0/16", "10.245.0.0/17", "fd00::/8"])
def test_a_proxy_before_the_new_network_is_said_without_its_password(without: str) -> None:
    [(level, where, fact)] = lines(proxied(HTTPS_PROXY="http://user:secret@proxy:3128", NO_PROXY=without), check="proxy")
    assert (level, where) == ("warning", "k8s-ctr")
    assert fact == "kube-apiserver uses a proxy for all but its NO_PROXY, which does not name 10.245.0.0/16"


def test_a_pod_cidr_that_is_none_is_left_to_its_own_check() -> None:
    seen: Any = proxied(HTTPS_PROXY="http://proxy:3128", NO_PROXY="10.0.0.0/8")
    assert {level for level, _where, _fact in lines(seen, replace(SETTINGS, pod_cidr="ten"), check="proxy")} == {"warning"}
