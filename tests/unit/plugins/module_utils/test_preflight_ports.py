# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from preflight_objects import CILIUM, FLANNEL, KUBE_PROXY, SETTINGS, all_facts, cluster, container, daemonset, facts, lines, manifests

from ansible_collections.netops.cni_migration.plugins.module_utils.preflight_ports import needed

AGENT, OPERATOR = "Cilium's agent", "Cilium's operator"
WITHOUT_CONFIG = [each for each in manifests() if each["kind"] != "ConfigMap"]


def listener(port: int, process: str = "node_exporter (812)") -> dict[str, Any]:
    return {"port": port, "process": process}


def of_w1(*listeners: dict[str, Any], seen: Any = None, settings: Any = SETTINGS) -> list[tuple[str, str]]:
    """The lines about k8s-w1, on which only these listen."""
    found = lines(seen, settings, all_facts(k8s_w1=facts("k8s-w1", tcp_listeners=list(listeners))), "ports")
    return [(level, fact) for level, name, fact in found if name == "k8s-w1"]


def test_a_port_in_use_is_refused_naming_who_uses_it_and_who_needs_it() -> None:
    assert of_w1(listener(22, "sshd (612)"), listener(9879), listener(9891, ""), listener(9470)) == [
        ("refused", "TCP port 9879 is in use by node_exporter (812), and Cilium's agent needs it"),
        ("refused", "TCP port 9891 is in use by the kernel, and Cilium's operator needs it"),
        ("refused", "TCP port 9470 is in use by node_exporter (812), and the disruption monitor needs it"),
    ]
    assert of_w1() == [("ok", "nothing listens on the TCP ports 4240, 9234, 9470, 9879, 9890, 9891, 9963")]


def test_what_is_there_already_has_its_ports() -> None:
    begun = cluster(daemonsets=[FLANNEL, KUBE_PROXY, CILIUM, daemonset("probe-host", "cni-migration-monitor")])
    assert of_w1(listener(9879, "cilium-agent (99)"), listener(9470, "python3 (98)"), seen=begun) == [("ok", "whatever needs a TCP port has it already")]
    with_cilium = cluster(daemonsets=[FLANNEL, KUBE_PROXY, CILIUM])
    assert of_w1(listener(9879), listener(9470), seen=with_cilium)[0][0] == "refused"
    assert of_w1(listener(9879), seen=with_cilium) == [("ok", "nothing listens on the TCP ports 9470")]


def test_ports_are_those_of_pods_on_the_hosts_network() -> None:
    envoy = {
        "kind": "DaemonSet",
        "metadata": {"name": "cilium-envoy"},
        "spec": {
            "template": {
                "spec": {
                    "hostNetwork": True,
                    "containers": [
                        {
                            **container("envoy"),
                            "ports": [{"hostPort": 9964, "containerPort": 9964, "protocol": "TCP"}, {"hostPort": 53, "protocol": "UDP"}, {"containerPort": 7}],
                            "startupProbe": {"httpGet": {"port": 9878}},
                            "livenessProbe": {"exec": {"command": ["true"]}},
                            "readinessProbe": {"httpGet": {"port": "named"}},
                        }
                    ],
                }
            }
        },
    }
    relay = {"kind": "Deployment", "metadata": {"name": "hubble-relay"}, "spec": {"template": {"spec": {"containers": [container("relay")]}}}}
    relay["spec"]["template"]["spec"]["containers"][0]["ports"] = [{"hostPort": 4245}]
    settings = replace(SETTINGS, manifests=[envoy, relay], monitor_port=0)
    assert needed(cluster(), settings) == {9964: "Cilium's Envoy", 9878: "Cilium's Envoy"}


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({}, {4240: AGENT}),
        ({"enable_hubble": "true", "hubble_listen_address": ":4244"}, {4240: AGENT, 4244: AGENT}),
        ({"enable_hubble": "false", "hubble_listen_address": ":4244"}, {4240: AGENT}),
        ({"enable_hubble": "true"}, {4240: AGENT}),
        ({"cluster_health_port": "4241"}, {4241: AGENT}),
        ({"enable_health_checking": "false"}, {}),
    ],
)
def test_ports_that_only_the_configuration_tells_of(config: dict[str, str], found: dict[int, str]) -> None:
    whole = needed(cluster(), replace(SETTINGS, manifests=manifests(**config), monitor_port=0))
    without = needed(cluster(), replace(SETTINGS, manifests=WITHOUT_CONFIG, monitor_port=0))
    assert without == {9879: AGENT, 9890: AGENT, 9234: OPERATOR, 9891: OPERATOR, 9963: OPERATOR}
    assert whole == {**without, **found}


def test_without_chart_and_monitor_no_port_is_needed() -> None:
    assert needed(cluster(), replace(SETTINGS, manifests=[], monitor_port=0)) == {}
