# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Cilium's agents say of themselves, and what of it is not as it has to be. Pure.

An agent's own status is the only place that tells what it does: its ConfigMap tells what it was asked for when it starts next, and its
readiness says nothing of kube-proxy. The words are those of ``cilium-dbg status`` (cilium, ``api/v1/models`` and ``pkg/client/client.go``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DAEMONSET = "cilium"
SELECTOR = "k8s-app=cilium"
CONTAINER = "cilium-agent"
COMMAND = ("cilium-dbg", "status", "-o", "json")

OK = "Ok"
MASQUERADING = {"iptables": "IPTables"}
"""The modes that the command writes differently for people and in JSON."""


@dataclass(frozen=True)
class Agent:
    """One agent. What it does not tell is empty, as is the message of one that is healthy."""

    node: str
    pod: str
    healthy: bool
    message: str
    kube_proxy_replacement: str = ""
    routing: str = ""
    host_routing: str = ""
    masquerading: str = ""


@dataclass(frozen=True)
class Required:
    """What every agent has to do; None does not matter. ``routing`` is in the words of the chart, ``native`` or ``tunnel``."""

    kube_proxy_replacement: bool | None = None
    routing: str | None = None


def placed(pods: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The node and the name of each of ``pods`` that has a node and is not about to go, by node."""
    return sorted(
        (pod["spec"]["nodeName"], pod["metadata"]["name"]) for pod in pods if pod["spec"].get("nodeName") and "deletionTimestamp" not in pod["metadata"]
    )


def silent(node: str, pod: str, reason: str) -> Agent:
    """The agent that cannot be asked."""
    return Agent(node, pod, False, f"it cannot be asked: {reason}")


def speaking(node: str, pod: str, answer: str) -> Agent:
    """The agent that wrote ``answer`` when it was asked by :data:`COMMAND`."""
    try:
        status = json.loads(answer)
    except ValueError:
        status = None
    if not isinstance(status, dict):
        return Agent(node, pod, False, f"its answer is no status: {answer[:60]!r}")
    troubles = [trouble for section in ("cilium", "kubernetes") if (trouble := _trouble(section, status.get(section) or {}))]
    routing, masquerading = status.get("routing") or {}, status.get("masquerading") or {}
    mode = masquerading.get("mode", "")
    return Agent(
        node,
        pod,
        healthy=not troubles,
        message="; ".join(troubles),
        kube_proxy_replacement=(status.get("kube-proxy-replacement") or {}).get("mode", ""),
        routing=routing.get("inter-host-routing-mode", ""),
        host_routing=routing.get("intra-host-routing-mode", ""),
        masquerading="Disabled" if masquerading.get("enabled") is False else MASQUERADING.get(mode, mode),
    )


def _trouble(section: str, state: Mapping[str, str]) -> str:
    if state.get("state") == OK:
        return ""
    message = " ".join(state.get("msg", "").split())
    return f"{section} is {state.get('state', 'unknown')}" + (f": {message}" if message else "")


def complaints(agents: Sequence[Agent], desired: int, required: Required) -> list[str]:
    """What is not as it has to be, where ``desired`` nodes are to have an agent."""
    nodes = sorted({agent.node for agent in agents})
    found = []
    if not nodes:
        found.append("no node has an agent")
    elif len(nodes) < desired:
        found.append(f"{len(nodes)} of the {desired} nodes that are to have an agent have one: {', '.join(nodes)}")
    return found + [f"the agent on {agent.node} {complaint}" for agent in agents for complaint in _complaints(agent, required)]


def _complaints(agent: Agent, required: Required) -> Iterator[str]:
    if not agent.healthy:
        yield f"is not healthy: {agent.message}"
    replaces = agent.kube_proxy_replacement
    if required.kube_proxy_replacement is not None and _differs(agent, replaces, str(required.kube_proxy_replacement)):
        yield "does not replace kube-proxy" if required.kube_proxy_replacement else "replaces kube-proxy"
    if required.routing is not None and _differs(agent, agent.routing, required.routing.title()):
        yield f"routes by {agent.routing}, not {required.routing.title()}" if agent.routing else "does not tell how it routes"


def _differs(agent: Agent, told: str, wanted: str) -> bool:
    """Whether it told something else, or nothing though it is healthy; of one that is not, its health says enough."""
    return told != wanted and bool(told or agent.healthy)
