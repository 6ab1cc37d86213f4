# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of the preflight that concerns the ports of the nodes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils.preflight_model import REFUSED, Cluster, Finding, Host, Object, Settings, judged

WHO = {"cilium": "Cilium's agent", "cilium-envoy": "Cilium's Envoy", "cilium-operator": "Cilium's operator"}
"""By the names that Cilium's chart gives them."""

DEBUGGERS = {"cilium": 9890, "cilium-operator": 9891}
"""Where their debuggers listen, of which the chart says nothing (cilium 1.17.6, pkg/defaults/defaults.go, ``GopsPortAgent``, ``GopsPortOperator``)."""

HEALTH_OF_NODES = "4240"
"""Where each agent answers the others, unless its configuration says otherwise (the same, ``ClusterHealthPort``)."""

MONITOR_DAEMONSET = "probe-host"

_PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def needed(cluster: Cluster, settings: Settings) -> dict[int, str]:
    """By TCP port of the nodes who is to listen there and does not yet: Cilium, by what its chart makes, and the disruption monitor."""
    found = {} if cluster.has_cilium else {**_of_pods(settings), **_of_configuration(settings)}
    if settings.monitor_port and cluster.daemonset(MONITOR_DAEMONSET) is None:
        found[settings.monitor_port] = "the disruption monitor"
    return found


def _of_pods(settings: Settings) -> dict[int, str]:
    """The ports that pods on the hosts' network have, and are asked on whether they are well."""
    found = {}
    for manifest in settings.manifests:
        pod = manifest["spec"]["template"]["spec"] if manifest["kind"] in ("DaemonSet", "Deployment") else {}
        name = manifest["metadata"]["name"]
        if pod.get("hostNetwork"):
            ports = [port for container in pod["containers"] for port in _of_container(container)]
            found.update(dict.fromkeys([*ports, *([DEBUGGERS[name]] if name in DEBUGGERS else [])], WHO.get(name, name)))
    return found


def _of_container(container: Mapping[str, Any]) -> Iterator[int]:
    for port in container.get("ports") or []:
        if "hostPort" in port and port.get("protocol", "TCP") == "TCP":
            yield port["hostPort"]
    for probe in _PROBES:
        port = (container.get(probe) or {}).get("httpGet", {}).get("port")
        if isinstance(port, int):
            yield port


def _of_configuration(settings: Settings) -> dict[int, str]:
    """The agent's ports that only its configuration tells of."""
    data = settings.cilium_config
    texts = [] if data.get("enable-health-checking", "true") == "false" else [data.get("cluster-health-port", HEALTH_OF_NODES)]
    if data.get("enable-hubble") == "true":
        texts.append(data.get("hubble-listen-address", "").rpartition(":")[2])
    return {int(text): WHO["cilium"] for text in texts if text.isdecimal()} if data else {}


def ports(host: Host, facts: Object, cluster: Cluster, settings: Settings) -> Iterator[Finding]:
    """Who finds its port in use does not start. The operator's pods, of which there are few, come to each node as the others are drained."""
    wanted = needed(cluster, settings)

    def problems() -> Iterator[Finding]:
        for listener in facts["tcp_listeners"]:
            if who := wanted.get(listener["port"]):
                by = listener["process"] or "the kernel"
                fact = f"TCP port {listener['port']} is in use by {by}, and {who} needs it"
                yield Finding("ports", REFUSED, fact, "stop what listens there, or have it listen elsewhere", host.name)

    numbers = ", ".join(map(str, sorted(wanted)))
    yield from judged("ports", problems(), f"nothing listens on the TCP ports {numbers}" if wanted else "whatever needs a TCP port has it already", host.name)
