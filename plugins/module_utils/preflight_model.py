# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checks of the preflight look at, and what they say. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import eviction
from ansible_collections.netops.cni_migration.plugins.module_utils.node_state import NodeView, Phase

Object = Mapping[str, Any]

REFUSED = "refused"
WARNING = "warning"
OK = "ok"
LEVELS = (REFUSED, WARNING, OK)


@dataclass(frozen=True)
class Finding:
    """One line: the check, its level, the fact that decided, what to do (empty when ok), the node (empty: the cluster)."""

    check: str
    level: str
    fact: str
    advice: str = ""
    node: str = ""


@dataclass(frozen=True)
class Settings:
    """What the migration is about to use, and what its user accepts to lose or to wait for.

    ``manifests`` are the objects that Cilium's chart becomes with the values of the start, empty when they are not known; ``chart_error`` is why
    they could not be made. ``images`` are further images that every node needs. ``policies_enforced_in`` are those of Cilium's values with
    which it enforces network policies. ``api_host`` is where Cilium's agents are to reach the API server, and ``control_plane`` names the nodes that
    are moved one at a time after the others, None when that is not known. ``flannel_namespace`` is what the ending deletes.
    ``monitor_port`` is where the disruption monitor listens on every node, 0 without it. ``host_ports_served`` is whether the agents serve host ports on
    nodes that were moved, before the ending. ``values_initial`` and
    ``values_final`` are the chart's values while both networks run, and in the end; empty when they are not known.
    """

    pod_cidr: str
    tunnel_port: int
    evict: eviction.EvictionPolicy
    accept_blocking_budgets: bool = False
    direct_routes: bool = False
    routing_changes: bool = False
    in_place: bool = False
    images: Sequence[str] = ()
    manifests: Sequence[Object] = ()
    chart_error: str = ""
    policies_enforced_in: Sequence[str] = ()
    api_host: str = ""
    control_plane: Sequence[str] | None = None
    flannel_namespace: str = "kube-flannel"
    monitor_port: int = 0
    host_ports_served: bool = False
    values_initial: Object = field(default_factory=dict)
    values_final: Object = field(default_factory=dict)

    @property
    def cilium_config(self) -> Mapping[str, str]:
        """The data of the ConfigMap by which agents and operator are configured, empty when it is not known."""
        configs = (each for each in self.manifests if each["kind"] == "ConfigMap" and each["metadata"]["name"] == "cilium-config")
        return next((each.get("data") or {} for each in configs), {})


@dataclass(frozen=True)
class Host:
    """A node that is still to move: its Node object, what that says of its move, and what ``cni_node_info`` returned.

    Without ``facts`` no host of this run is the node, so that it stays where it is.
    """

    node: Object
    view: NodeView
    facts: Object | None = None

    @property
    def name(self) -> str:
        """The node's name."""
        return self.view.name

    @property
    def untouched(self) -> bool:
        """Whether the node is on Flannel and no migration has begun with it."""
        return self.view.phase is Phase.FLANNEL and not self.view.switched_on


@dataclass(frozen=True)
class Cluster:
    """The API objects the checks read: lists as the API returns them, what ``network_policies`` makes of the policies, and the host of its API server."""

    nodes: Sequence[Object]
    pods: Sequence[Object] = field(default_factory=list)
    budgets: Sequence[Object] = field(default_factory=list)
    daemonsets: Sequence[Object] = field(default_factory=list)
    deployments: Sequence[Object] = field(default_factory=list)
    flannel_config: Object | None = None
    policies: Object | None = None
    server: str = ""

    @cached_property
    def pods_by_node(self) -> Mapping[str, list[Object]]:
        """The pods that have not ended, by the node they are on."""
        found: dict[str, list[Object]] = {}
        for pod in self.pods:
            if not eviction.is_finished(pod):
                found.setdefault(pod["spec"].get("nodeName") or "", []).append(pod)
        return found

    @cached_property
    def budgets_by_namespace(self) -> Mapping[str, list[Object]]:
        """The PodDisruptionBudgets by their namespace."""
        found: dict[str, list[Object]] = {}
        for budget in self.budgets:
            found.setdefault(budget["metadata"]["namespace"], []).append(budget)
        return found

    @cached_property
    def has_cilium(self) -> bool:
        """Whether Cilium's agents are in the cluster already."""
        return self.daemonset("cilium") is not None

    def daemonset(self, name: str) -> Object | None:
        """The first DaemonSet of this name, in whichever namespace."""
        return next((item for item in self.daemonsets if item["metadata"]["name"] == name), None)


def hosts(cluster: Cluster, node_facts: Mapping[str, Object]) -> list[Host]:
    """The nodes that are still to move, in the order of the API. Raises StateError for an unknown state label."""
    views = [(node, NodeView.from_api(node)) for node in cluster.nodes]
    return [Host(node, view, node_facts.get(view.name)) for node, view in views if view.phase is not Phase.MIGRATED]


def judged(check: str, problems: Iterable[Finding], fact: str, node: str = "") -> Iterator[Finding]:
    """The ``problems``, or one line that says by which ``fact`` the check is ok."""
    found = list(problems)
    yield from found or [Finding(check, OK, fact, node=node)]


def counted(number: int, noun: str) -> str:
    """The number and the noun, ``1 pod`` or ``3 pods``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
