# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The road from where a node is to where it is wanted, as a list of steps. Pure.

Check mode reports exactly this plan; a real run walks it. Each step can be repeated, and the plan is made anew from
the Node in each call, so a run that was killed anywhere goes on with the steps that are left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import eviction, node_state
from ansible_collections.netops.cni_migration.plugins.module_utils.node_state import NodeView, Phase, rank

WANTED = (Phase.FLANNEL, Phase.DRAINED, Phase.SWITCHED, Phase.VERIFIED, Phase.MIGRATED)
UNKNOWN_YET = "(known when the new agent is Ready)"


class Step(str, Enum):
    """One step of a migration; the value is the name that results carry."""

    CORDON = "cordon"
    DRAIN = "drain"
    LABEL = "label"
    UNLABEL = "unlabel"
    RESTART_AGENT = "restart_agent"
    PROVE_REBOOT = "prove_reboot"
    RECREATE_PODS = "recreate_pods"
    VERIFY = "verify"
    UNCORDON = "uncordon"


def route(node: NodeView, wanted: Phase, *, rebooted: bool = False, in_place: bool = False) -> tuple[Step, ...]:
    """The steps that are left. Empty when the node is already in ``wanted`` or beyond it.

    ``rebooted`` matters on the way back only: it says that the reboot has been done, so that the API is waited for
    instead of the reboot being asked for. ``in_place`` matters on the way to Cilium only: instead of being rebooted, the node
    has the pods recreated that a drain leaves.
    """
    if wanted is Phase.FLANNEL:
        return _back(node, rebooted)
    return _forward(node, wanted, Step.RECREATE_PODS if in_place else Step.PROVE_REBOOT)


def _forward(node: NodeView, wanted: Phase, renewal: Step) -> tuple[Step, ...]:
    phase = node.phase
    reached = rank(phase)
    undrained = reached <= rank(Phase.DRAINED)
    steps: list[Step] = []
    if undrained:
        # Looked at again even when "drained" is recorded: a pod may have been put on the node by name since.
        steps.append(Step.DRAIN)
        if rank(wanted) >= rank(Phase.SWITCHED):
            steps.append(Step.LABEL)
    if reached < rank(Phase.SWITCHED) <= rank(wanted):
        steps.append(Step.RESTART_AGENT)
    if reached < rank(Phase.VERIFIED) <= rank(wanted):
        steps += [renewal, Step.VERIFY]
    if steps and (phase is Phase.FLANNEL or not node.unschedulable):
        steps.insert(0, Step.CORDON)
    if reached < rank(Phase.MIGRATED) <= rank(wanted):
        steps.append(Step.UNCORDON)
    return tuple(steps)


def _back(node: NodeView, rebooted: bool) -> tuple[Step, ...]:
    phase = node.phase
    if not node.switched_on and phase is Phase.FLANNEL:
        return ()
    if not node.switched_on and phase in (Phase.DRAINING, Phase.DRAINED):
        # Cilium was never told to take this node: letting it go is all that is needed.
        return (Step.UNCORDON,)
    if phase is Phase.RESTORED:
        if node.awaits_reboot and not rebooted:
            return ()
        steps = [Step.PROVE_REBOOT, Step.VERIFY, Step.UNCORDON]
    elif phase is Phase.RESTORING:
        steps = [Step.RESTART_AGENT]
    else:
        steps = [Step.DRAIN, Step.UNLABEL, Step.RESTART_AGENT]
    if not phase.going_back or not node.unschedulable:
        steps.insert(0, Step.CORDON)
    return tuple(steps)


@dataclass(frozen=True)
class Snapshot:
    """What a plan is made of. ``pods`` are those of the node; they and ``budgets`` are empty when no step asks for them."""

    node: NodeView
    pods: Sequence[eviction.Pod] = ()
    budgets: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True)
class PlannedStep:
    """One step, what it does in words, and whether it changes anything."""

    step: Step
    detail: str
    changed: bool


@dataclass(frozen=True)
class Plan:
    """What would be done to a node, and the node as it would be afterwards (``after``)."""

    steps: tuple[PlannedStep, ...]
    sorting: eviction.Sorting
    blocked_by: list[dict[str, Any]]
    after: NodeView


def make_plan(snapshot: Snapshot, wanted: Phase, policy: eviction.EvictionPolicy, *, rebooted: bool = False, in_place: bool = False) -> Plan:
    """Describe each step of :func:`route` against the snapshot and predict the Node's record."""
    node = snapshot.node
    steps = route(node, wanted, rebooted=rebooted, in_place=in_place)
    sorting = eviction.Sorting((), ())
    if Step.DRAIN in steps:
        sorting = eviction.sort_pods(snapshot.pods, policy, keep_tolerant=node.phase is Phase.DRAINED)
    planned = []
    after = node
    for step in steps:
        current, after = after, _predict(step, after, wanted, in_place=in_place)
        changed = step is not Step.PROVE_REBOOT if step is not Step.DRAIN else bool(sorting.leaving) or after != current
        planned.append(PlannedStep(step, describe(step, current, wanted, sorting), changed))
    return Plan(tuple(planned), sorting, eviction.foreseen_blocks(sorting.leaving, snapshot.budgets), after)


def describe(step: Step, node: NodeView, wanted: Phase, sorting: eviction.Sorting) -> str:
    """What ``step`` does to ``node``, in words."""
    if step is Step.CORDON:
        return "already cordoned, and stays so in the end" if node.was_cordoned else "mark the node unschedulable"
    if step is Step.DRAIN:
        return "evict " + ", ".join(eviction.pod_names(sorting.leaving)) if sorting.leaving else "no pod has to leave"
    if step is Step.LABEL:
        return f"set the label {node_state.CILIUM_LABEL}=true"
    if step is Step.UNLABEL:
        return f"remove the label {node_state.CILIUM_LABEL}"
    if step is Step.RESTART_AGENT:
        return "delete the Cilium agent's pod on the node and wait until a new one is Ready"
    if step is Step.PROVE_REBOOT:
        return f"wait for a boot ID other than {node.recorded_boot_id or node.boot_id}, a Ready node and a Ready agent"
    if step is Step.RECREATE_PODS:
        return "delete the pods that a drain leaves and that have an address of Flannel's; their controllers create them again"
    if step is Step.VERIFY:
        return f"run a pod on the node and prove its network ({'Flannel' if wanted is Phase.FLANNEL else 'Cilium'})"
    return "leave the node cordoned, as it was found" if node.was_cordoned else "mark the node schedulable"


def _predict(step: Step, node: NodeView, wanted: Phase, *, in_place: bool) -> NodeView:
    back = wanted is Phase.FLANNEL
    if step is Step.CORDON:
        return node_state.apply_patch(node, node_state.cordon_patch(node, back=back))
    if step is Step.DRAIN and records_drained(node, wanted, in_place=in_place):
        return node_state.apply_patch(node, node_state.drained_patch())
    if step in (Step.LABEL, Step.UNLABEL):
        return node_state.apply_patch(node, node_state.switch_patch(on=step is Step.LABEL))
    if step is Step.RESTART_AGENT:
        patch = node_state.reboot_due_patch(Phase.RESTORED if back else Phase.SWITCHED, node.boot_id, UNKNOWN_YET)
        return node_state.apply_patch(node, patch)
    if step is Step.VERIFY and not back:
        return node_state.apply_patch(node, node_state.verified_patch())
    if step is Step.UNCORDON:
        return node_state.apply_patch(node, node_state.release_patch(node, wanted))
    return node


def goes_on_while_pods_leave(wanted: Phase, *, in_place: bool) -> bool:
    """Whether the agent is restarted while the evicted pods end, since each takes its time.

    Only where a reboot follows, which waits for both: in place the new agent takes over what passes through the node, and nothing may pass then.
    """
    return rank(wanted) >= rank(Phase.SWITCHED) and not in_place


def records_drained(node: NodeView, wanted: Phase, *, in_place: bool) -> bool:
    """Whether a drained node is to be recorded as such: it is empty then.

    Not on the way back: "drained" says that the node can be let go without another reboot, which is no longer true there.
    """
    return node.phase is Phase.DRAINING and not goes_on_while_pods_leave(wanted, in_place=in_place)
