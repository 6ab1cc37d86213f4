# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of the preflight that concerns the values of Cilium's chart: those that the plan of the migration rests on. Pure.

Values that are merged into both sets can turn the plan into its opposite, and where they do, it would show in the middle of a migration or in its
ending.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import migration_status as status
from ansible_collections.netops.cni_migration.plugins.module_utils.preflight_model import REFUSED, Cluster, Finding, Host, Settings, judged

UNSET = ""
"""Stands for a value that is not set, for which the chart has its own."""

PHASES = {"initial": "while both networks run", "final": "in the end"}

_NO = (UNSET, "false")


@dataclass(frozen=True)
class Rule:
    """A value by its path, what it may be in each phase (None: anything), and why."""

    path: str
    initial: tuple[str, ...] | None
    final: tuple[str, ...] | None
    why: str


def rules(settings: Settings) -> list[Rule]:
    """What the plan rests on."""
    pool, port = (settings.pod_cidr,), (str(settings.tunnel_port),)
    modes = ("native", "tunnel")
    return [
        Rule("kubeProxyReplacement", _NO, ("true",), "kube-proxy serves until the ending, which removes it"),
        Rule("cni.customConf", ("true",), _NO, "Cilium writes a node's CNI configuration when that node moves, and every node's after the ending"),
        Rule("cni.uninstall", _NO, None, "an agent that restarts would take its node's CNI configuration away"),
        Rule("bpf.hostLegacyRouting", ("true",), None, "without the host's network stack in the path no moved node reaches a pod on Flannel"),
        Rule("rollOutCiliumPods", ("true",), ("true",), "an agent takes new values over when it restarts"),
        Rule("operator.rollOutPods", ("true",), ("true",), "the operator takes new values over when it restarts"),
        Rule("routingMode", modes, modes, "it is compared with what the agents say"),
        Rule("ipv4.enabled", (UNSET, "true"), (UNSET, "true"), "Flannel's pods have IPv4 addresses"),
        Rule("ipam.mode", (UNSET, "cluster-pool"), (UNSET, "cluster-pool"), "by its network a pod is known to be on Cilium"),
        Rule("ipam.operator.clusterPoolIPv4PodCIDRList", pool, pool, "set cilium_migration_pod_cidr instead"),
        Rule("tunnelPort", port, port, "set cilium_migration_tunnel_port instead"),
    ]


def values(cluster: Cluster, settings: Settings, pending: Sequence[Host]) -> Iterator[Finding]:
    """Both sets of values must be those of a migration."""
    given = {"initial": settings.values_initial, "final": settings.values_final}

    def problems() -> Iterator[Finding]:
        for rule in rules(settings):
            for phase, allowed in (("initial", rule.initial), ("final", rule.final)):
                found = text(at(given[phase], rule.path))
                if allowed is not None and found not in allowed:
                    wanted = " or ".join(each or "unset" for each in allowed)
                    fact = f"{rule.path} is {found or 'unset'} {PHASES[phase]}, and has to be {wanted}: {rule.why}"
                    yield Finding("values", REFUSED, fact, _ADVICE)
        if not text(at(settings.values_final, "k8sServiceHost")):
            fact = "k8sServiceHost is unset in the end: without kube-proxy the agents reach the API server by no Service"
            yield Finding("values", REFUSED, fact, "set cilium_migration_k8s_service_host")
        for phase, chosen in given.items():
            if text(at(chosen, "routingMode")) == "tunnel" and text(at(chosen, "autoDirectNodeRoutes")) == "true":
                fact = f"routingMode is tunnel {PHASES[phase]}, and autoDirectNodeRoutes is true: Cilium's agent refuses both together"
                yield Finding("values", REFUSED, fact, "set autoDirectNodeRoutes: false in cilium_migration_values_extra, too")

    # When all that is over, the release is its owner's.
    if all(given.values()) and (pending or status.flannel_daemonset(cluster.daemonsets)):
        yield from judged("values", problems(), "the values that the plan rests on are as they have to be in both phases")


_ADVICE = "look for it in cilium_migration_values_extra, which is merged into both, and in the other variables cilium_migration_values_*"


def at(chosen: Mapping[str, Any], path: str) -> Any:
    """The value at a path such as ``ipam.mode``, None where there is none."""
    found: Any = chosen
    for key in path.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def text(value: Any) -> str:
    """A value as it is compared: templates make no difference between ``true`` and ``"true"``."""
    if isinstance(value, list):
        return ", ".join(map(text, value))
    if value is None:
        return UNSET
    return str(value).lower() if isinstance(value, bool) else str(value)
