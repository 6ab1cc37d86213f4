# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Node says of its own migration, and the patches that change it. Pure: dictionaries in, dictionaries out.

The truth of a migration lives on the Node object. Each step ends in exactly one patch that records the phase it
reached together with everything that belongs to it, so a run killed between two calls leaves either the old record
or the new one, never half of it:

================================================  =========================================================================
``cni-migration.netops/state`` (label)            the phase reached, one of :class:`Phase`; absent means ``flannel``
``cni-migration.netops/was-cordoned``             ``true`` or ``false``: how the node was found; written by the patch that cordons it
``cni-migration.netops/agent``                    the Cilium agent to be replaced (its uid), then the one that replaced it (uid and container)
``cni-migration.netops/boot-id``                  ``status.nodeInfo.bootID`` from before the reboot that must follow
``io.cilium.migration/cilium-default`` (label)    Cilium's own switch, selected by the CiliumNodeConfig of its migration guide
================================================  =========================================================================
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

PREFIX = "cni-migration.netops/"
STATE_LABEL = PREFIX + "state"
WAS_CORDONED = PREFIX + "was-cordoned"
AGENT = PREFIX + "agent"
BOOT_ID = PREFIX + "boot-id"
CILIUM_LABEL = "io.cilium.migration/cilium-default"

Patch = dict[str, Any]


class StateError(ValueError):
    """The Node carries a record that no version of this collection wrote."""


class Phase(str, Enum):
    """How far a node is. The order of the first seven is the road to Cilium, the last three are the road back."""

    FLANNEL = "flannel"
    DRAINING = "draining"
    DRAINED = "drained"
    SWITCHING = "switching"
    SWITCHED = "switched"
    VERIFIED = "verified"
    MIGRATED = "migrated"
    RETURNING = "returning"
    RESTORING = "restoring"
    RESTORED = "restored"

    @property
    def going_back(self) -> bool:
        """True while the node is on its way back to Flannel."""
        return self in (Phase.RETURNING, Phase.RESTORING, Phase.RESTORED)


_FORWARD = (Phase.FLANNEL, Phase.DRAINING, Phase.DRAINED, Phase.SWITCHING, Phase.SWITCHED, Phase.VERIFIED, Phase.MIGRATED)


def rank(phase: Phase) -> int:
    """Position on the road to Cilium. A node on its way back counts as draining: its network is neither one nor the other."""
    return _FORWARD.index(Phase.DRAINING if phase.going_back else phase)


@dataclass(frozen=True)
class NodeView:
    """The parts of a Node that a migration reads. ``boot_id`` is the one the kubelet reports now."""

    name: str
    resource_version: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    unschedulable: bool
    boot_id: str
    ready: bool

    @classmethod
    def from_api(cls, node: Mapping[str, Any]) -> NodeView:
        """Read a Node as the API returns it."""
        metadata, spec, status = node["metadata"], node.get("spec") or {}, node.get("status") or {}
        return cls(
            name=metadata["name"],
            resource_version=metadata.get("resourceVersion", ""),
            labels=metadata.get("labels") or {},
            annotations=metadata.get("annotations") or {},
            unschedulable=bool(spec.get("unschedulable")),
            boot_id=(status.get("nodeInfo") or {}).get("bootID", ""),
            ready=is_ready(node),
        )

    @property
    def switched_on(self) -> bool:
        """True when Cilium is told to be this node's CNI."""
        return self.labels.get(CILIUM_LABEL) == "true"

    @property
    def recorded_boot_id(self) -> str:
        """Boot ID from before the reboot that the migration asks for; empty when none was asked for."""
        return self.annotations.get(BOOT_ID, "")

    @property
    def recorded_agent(self) -> str:
        """The agent recorded last, see :func:`agent_instance`; empty when none was."""
        return self.annotations.get(AGENT, "")

    @property
    def was_cordoned(self) -> bool:
        """True when the node was cordoned before the migration came to it."""
        if WAS_CORDONED in self.annotations:
            return self.annotations[WAS_CORDONED] == "true"
        return self.unschedulable

    @property
    def phase(self) -> Phase:
        """The phase the node is really in: its record, moved back to where the facts it rests on are still true.

        Raises :class:`StateError` for a record that is not a phase.
        """
        text = self.labels.get(STATE_LABEL, Phase.FLANNEL.value)
        try:
            phase = Phase(text)
        except ValueError:
            raise StateError(
                f"node {self.name}: label {STATE_LABEL}={text} is none of {', '.join(p.value for p in Phase)}. "
                "Set it to what the node really is, or remove it if the node is on Flannel"
            ) from None
        if phase in (Phase.SWITCHING, Phase.SWITCHED, Phase.VERIFIED) and not self.switched_on:
            return Phase.RETURNING  # somebody took the label off: its agent may or may not have let go of the node
        if phase in (Phase.RESTORING, Phase.RESTORED) and self.switched_on:
            return Phase.RETURNING  # somebody put the label back: Cilium may have taken the node again
        if phase is Phase.SWITCHED and not self.recorded_boot_id:
            return Phase.SWITCHING
        if phase is Phase.RESTORED and not self.recorded_boot_id:
            return Phase.RESTORING
        return phase

    @property
    def awaits_reboot(self) -> bool:
        """True when only a reboot takes the node further, and the API has not shown it yet."""
        return self.phase in (Phase.SWITCHED, Phase.RESTORED) and self.boot_id == self.recorded_boot_id

    def json_annotation(self, key: str) -> dict[str, Any]:
        """The object in an annotation of ours, empty when there is none. Raises :class:`StateError`."""
        text = self.annotations.get(key, "{}")
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise StateError(f"annotation {key} of node {self.name} is not a JSON object: {text[:100]}")
        return value

    def record(self) -> dict[str, Any]:
        """What a diff shows of the node: only what a migration changes."""
        return {
            "unschedulable": self.unschedulable,
            "labels": {key: self.labels[key] for key in (STATE_LABEL, CILIUM_LABEL) if key in self.labels},
            "annotations": {key: self.annotations[key] for key in (AGENT, BOOT_ID, WAS_CORDONED) if key in self.annotations},
        }


def is_ready(obj: Mapping[str, Any]) -> bool:
    """True when a Node or a Pod has the condition Ready=True."""
    conditions = (obj.get("status") or {}).get("conditions") or []
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def agent_instance(pod: Mapping[str, Any]) -> str:
    """Identity of an agent *process*: the pod's uid and the ids of its containers.

    A reboot keeps the pod and its uid but starts its containers anew, so this differs without comparing any clocks.
    """
    containers = (pod.get("status") or {}).get("containerStatuses") or []
    return " ".join([pod["metadata"]["uid"], *sorted(c.get("containerID") or "" for c in containers)])


def agent_uid(instance: str) -> str:
    """The pod uid in an identity from :func:`agent_instance`."""
    return instance.split(" ", 1)[0]


def _patch(
    phase: Phase | None = None,
    labels: Mapping[str, str | None] | None = None,
    annotations: Mapping[str, str | None] | None = None,
    unschedulable: bool | None = None,
) -> Patch:
    marks = dict(labels or {})
    if phase is not None:
        marks[STATE_LABEL] = None if phase is Phase.FLANNEL else phase.value
    patch: Patch = {"metadata": {}}
    if marks:
        patch["metadata"]["labels"] = marks
    if annotations:
        patch["metadata"]["annotations"] = dict(annotations)
    if unschedulable is not None:
        patch["spec"] = {"unschedulable": True if unschedulable else None}
    return patch


def cordon_patch(node: NodeView, *, back: bool) -> Patch:
    """Cordon the node and, in the same write, record how it was found and the direction it takes.

    Carries the resourceVersion that was read: if anybody cordons the node in between, the API answers 409 instead of
    recording a wrong ``was-cordoned``.
    """
    phase = node.phase
    if back:
        phase = phase if phase.going_back else Phase.RETURNING
    elif phase is Phase.FLANNEL:
        phase = Phase.DRAINING
    patch = _patch(phase, annotations={WAS_CORDONED: "true" if node.was_cordoned else "false"}, unschedulable=True)
    patch["metadata"]["resourceVersion"] = node.resource_version
    return patch


def drained_patch() -> Patch:
    """Record that nothing that had to leave is left."""
    return _patch(Phase.DRAINED)


def switch_patch(*, on: bool) -> Patch:
    """Tell Cilium to be the node's CNI, or not to be; forget the agent and boot recorded for an earlier direction."""
    return _patch(
        Phase.SWITCHING if on else Phase.RESTORING,
        labels={CILIUM_LABEL: "true" if on else None},
        annotations={AGENT: None, BOOT_ID: None},
    )


def agent_patch(instance: str) -> Patch:
    """Name the agent that must be replaced. Written after the label, so that whichever agent comes later has seen it."""
    return _patch(annotations={AGENT: instance})


def reboot_due_patch(phase: Phase, boot_id: str, instance: str) -> Patch:
    """Record that the new agent is Ready and that boot ``boot_id`` must end before ``phase`` can be left."""
    return _patch(phase, annotations={BOOT_ID: boot_id, AGENT: instance})


def verified_patch() -> Patch:
    """Record that a pod on the node was proven to be on Cilium."""
    return _patch(Phase.VERIFIED)


def release_patch(node: NodeView, phase: Phase) -> Patch:
    """End the migration in ``phase``: as schedulable as the node was found, every annotation of ours gone."""
    return _patch(
        phase,
        annotations={WAS_CORDONED: None, AGENT: None, BOOT_ID: None},
        unschedulable=None if node.was_cordoned else False,
    )


def apply_patch(node: NodeView, patch: Patch) -> NodeView:
    """The node as the API server would return it after ``patch``; serves the prediction of check mode."""
    metadata = patch["metadata"]
    return NodeView(
        name=node.name,
        resource_version=node.resource_version,
        labels=_merged(node.labels, metadata.get("labels")),
        annotations=_merged(node.annotations, metadata.get("annotations")),
        unschedulable=bool(patch["spec"]["unschedulable"]) if "spec" in patch else node.unschedulable,
        boot_id=node.boot_id,
        ready=node.ready,
    )


def _merged(old: Mapping[str, str], changes: Mapping[str, str | None] | None) -> dict[str, str]:
    merged = dict(old)
    for key, value in (changes or {}).items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged
