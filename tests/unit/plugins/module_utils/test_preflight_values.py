# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from preflight_objects import ADDRESSES, CILIUM, FINAL_VALUES, SETTINGS, VALUES, cluster, lines, node


def merged(into: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """As the role merges values."""
    both = {key: merged(into[key], value) if isinstance(value, dict) and isinstance(into.get(key), dict) else value for key, value in extra.items()}
    return {**into, **both}


def refused(extra: dict[str, Any]) -> list[str]:
    """What is refused of values that are merged into both sets."""
    settings = replace(SETTINGS, values_initial=merged(VALUES, extra), values_final=merged(FINAL_VALUES, extra))
    found = lines(settings=settings, check="values")
    assert all(level in ("refused", "ok") and not name for level, name, _fact in found)
    return [fact.partition(":")[0] for level, _name, fact in found if level == "refused"]


@pytest.mark.parametrize(
    ("extra", "facts"),
    [
        ({"kubeProxyReplacement": False}, ["kubeProxyReplacement is false in the end, and has to be true"]),
        ({"kubeProxyReplacement": "false"}, ["kubeProxyReplacement is false in the end, and has to be true"]),
        ({"kubeProxyReplacement": True}, ["kubeProxyReplacement is true while both networks run, and has to be unset or false"]),
        ({"cni": {"customConf": True}}, ["cni.customConf is true in the end, and has to be unset or false"]),
        ({"cni": {"customConf": False}}, ["cni.customConf is false while both networks run, and has to be true"]),
        ({"cni": {"uninstall": True}}, ["cni.uninstall is true while both networks run, and has to be unset or false"]),
        ({"bpf": {"hostLegacyRouting": False}}, ["bpf.hostLegacyRouting is false while both networks run, and has to be true"]),
        ({"routingMode": None}, [f"routingMode is unset {phase}, and has to be native or tunnel" for phase in ("while both networks run", "in the end")]),
        (
            {"ipam": {"mode": "kubernetes"}},
            [f"ipam.mode is kubernetes {phase}, and has to be unset or cluster-pool" for phase in ("while both networks run", "in the end")],
        ),
        (
            {"ipam": {"operator": {"clusterPoolIPv4PodCIDRList": ["10.245.0.0/17", "10.246.0.0/17"]}}},
            [
                f"ipam.operator.clusterPoolIPv4PodCIDRList is 10.245.0.0/17, 10.246.0.0/17 {phase}, and has to be 10.245.0.0/16"
                for phase in ("while both networks run", "in the end")
            ],
        ),
        ({"tunnelPort": 8472}, [f"tunnelPort is 8472 {phase}, and has to be 8473" for phase in ("while both networks run", "in the end")]),
        ({"rollOutCiliumPods": False}, [f"rollOutCiliumPods is false {phase}, and has to be true" for phase in ("while both networks run", "in the end")]),
        (
            {"operator": {"rollOutPods": False}},
            [f"operator.rollOutPods is false {phase}, and has to be true" for phase in ("while both networks run", "in the end")],
        ),
        ({"ipv4": {"enabled": False}}, [f"ipv4.enabled is false {phase}, and has to be unset or true" for phase in ("while both networks run", "in the end")]),
        ({"k8sServiceHost": ""}, ["k8sServiceHost is unset in the end"]),
        (
            {"routingMode": "tunnel"},
            [f"routingMode is tunnel {phase}, and autoDirectNodeRoutes is true" for phase in ("while both networks run", "in the end")],
        ),
        ({"cni": "none"}, ["cni.customConf is unset while both networks run, and has to be true"]),
    ],
)
def test_values_that_turn_the_plan_into_something_else_are_refused(extra: dict[str, Any], facts: list[str]) -> None:
    assert refused(extra) == facts


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"routingMode": "tunnel", "autoDirectNodeRoutes": False},
        {"tunnelPort": "8473", "rollOutCiliumPods": "true"},
        {"ipam": {"operator": {"clusterPoolIPv4MaskSize": 25}}},
        {"devices": ["ens3"], "envoy": {"enabled": False}, "hubble": {"enabled": False}, "ipv4NativeRoutingCIDR": "10.0.0.0/8"},
    ],
)
def test_other_values_are_the_sites_own(extra: dict[str, Any]) -> None:
    assert refused(extra) == []


def test_why_a_value_has_to_be_so_is_said() -> None:
    wrong = replace(SETTINGS, values_final=VALUES)
    [why] = [fact for level, _name, fact in lines(settings=wrong, check="values") if "kubeProxy" in fact]
    assert why.endswith(": kube-proxy serves until the ending, which removes it")


def test_values_are_not_looked_at_when_they_are_not_known_or_do_not_matter_any_more() -> None:
    assert lines(settings=replace(SETTINGS, values_initial={}, values_final={}), check="values") == []
    wrong, moved = replace(SETTINGS, values_final=VALUES), [node(name, state="migrated") for name in ADDRESSES]
    assert lines(cluster(nodes=moved), wrong, check="values")[0][0] == "refused", "the ending is still to come"
    assert lines(cluster(nodes=moved, daemonsets=[CILIUM], flannel_config=None), wrong, check="values") == []
