# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Walks a node along its plan, over an injected cluster and clock.

Every step does its work first and then records what it reached in one patch, so a run killed anywhere is taken up again
by the next one: the work is repeated or found done, never skipped. See :mod:`node_state` for the records.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, TypeVar

from ansible_collections.netops.cni_migration.plugins.module_utils import eviction, move_times, node_state, verification_pod
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster import Cluster, ClusterError, Conflict, NotFound
from ansible_collections.netops.cni_migration.plugins.module_utils.drain import Drain, Refused
from ansible_collections.netops.cni_migration.plugins.module_utils.migration_plan import (
    Plan,
    Snapshot,
    Step,
    describe,
    goes_on_while_pods_leave,
    make_plan,
    records_drained,
    route,
)
from ansible_collections.netops.cni_migration.plugins.module_utils.node_state import NodeView, Patch, Phase, StateError, rank
from ansible_collections.netops.cni_migration.plugins.module_utils.pod_trouble import PodWatch, last_warning
from ansible_collections.netops.cni_migration.plugins.module_utils.waiting import Clock, Hopeless, NotYet, TimedOut, wait_for

AGENT_SELECTOR = "k8s-app=cilium"

T = TypeVar("T")

ADVICE = {
    Step.CORDON: "Nothing was changed; run again.",
    Step.DRAIN: "The node stays cordoned and the drain goes on when this is run again; state=flannel gives it back.",
    Step.LABEL: "Run again to go on; state=flannel gives the node back.",
    Step.UNLABEL: "Run again to go on.",
    Step.RESTART_AGENT: "Look at the agent (kubectl -n {namespace} describe pod -l " + AGENT_SELECTOR + "), then run again; it goes on from here.",
    Step.PROVE_REBOOT: "If the node was not rebooted, reboot it; if it was, look at its kubelet. Then run again; it goes on from here.",
    Step.RECREATE_PODS: "The node stays cordoned. Look at these pods, then run again; it goes on from here. A reboot ends them, too.",
    Step.VERIFY: "The node stays cordoned. Look at its agent and its CNI configuration in /etc/cni/net.d, then run again; it goes on from here.",
    Step.UNCORDON: "Run again to go on.",
}


@dataclass(frozen=True)
class Timeouts:
    """How long each kind of waiting may take, in seconds. ``api`` is for requests that wait for nothing but an answer."""

    api: float = 120
    drain: float = 300
    agent: float = 300
    reboot: float = 600
    verify: float = 180


@dataclass(frozen=True)
class Settings:
    """What a run was asked to do, and by what means."""

    node: str
    wanted: Phase
    pod_cidr: str
    flannel_pod_cidr: str
    namespace: str
    verify_image: str
    verify_image_pull_secrets: Sequence[str] = ()
    policy: eviction.EvictionPolicy = field(default_factory=eviction.EvictionPolicy)
    timeouts: Timeouts = field(default_factory=Timeouts)
    rebooted: bool = False
    in_place: bool = False


@dataclass
class Outcome:
    """What a run found and did; complete after success, and as far as it came after a failure."""

    before: NodeView | None = None
    after: NodeView | None = None
    steps: list[dict[str, Any]] = field(default_factory=list)
    blocked_by: list[dict[str, Any]] = field(default_factory=list)
    evicted: list[str] = field(default_factory=list)
    unmanaged: list[str] = field(default_factory=list)
    pods_before: list[str] | None = None
    pods_after: list[str] | None = None


@dataclass
class Attempts:
    """The verification pods of one step: those it created, and why the last one that ended proved nothing."""

    uids: set[str] = field(default_factory=set)
    last_failure: str = ""


class MigrationError(Exception):
    """A run that could not go on; the message names the node, the step, the reason and what to do next."""


class Migration:
    """One run for one node. :attr:`outcome` can be read at any time, after a failure too."""

    def __init__(self, cluster: Cluster, clock: Clock, settings: Settings) -> None:
        self.outcome = Outcome()
        self._cluster = cluster
        self._clock = clock
        self._settings = settings
        self._back = settings.wanted is Phase.FLANNEL
        self._means = {"rebooted": settings.rebooted, "in_place": settings.in_place}
        self._figures: dict[str, float | None] = {}
        self._watch = PodWatch()
        self._leaving: Drain | None = None

    def plan(self) -> None:
        """Read the cluster and say what :meth:`run` would do; changes nothing."""
        with self._explained("plan", "Nothing was changed."):
            snapshot = self._look(with_budgets=True)
            plan = make_plan(snapshot, self._settings.wanted, self._settings.policy, **self._means)
            self._refuse(plan)
        outcome = self.outcome
        outcome.after, outcome.blocked_by = plan.after, plan.blocked_by
        outcome.evicted, outcome.unmanaged = eviction.pod_names(plan.sorting.leaving), eviction.pod_names(plan.sorting.unmanaged)
        if outcome.pods_before is not None:
            outcome.pods_after = sorted(set(outcome.pods_before) - set(outcome.evicted))
        outcome.steps = [_report(planned.step, 0.0, planned.detail, planned.changed) for planned in plan.steps]

    def run(self) -> None:
        """Bring the node to the wanted state. Raises :class:`MigrationError`."""
        started = self._clock.monotonic()
        with self._explained("plan", "Nothing was changed."):
            snapshot = self._look(with_budgets=False)
            plan = make_plan(snapshot, self._settings.wanted, self._settings.policy, **self._means)
            self._refuse(plan)
        for planned in plan.steps:
            # The look is part of the first step: an API server that is on the rebooting node answers when it is back.
            self._take(planned.step, started)
            started = self._clock.monotonic()
        if plan.steps:
            self._confirm(plan)

    def _look(self, *, with_budgets: bool) -> Snapshot:
        node = self._read_node()
        self.outcome.before = node
        if Step.DRAIN not in route(node, self._settings.wanted, **self._means):
            return Snapshot(node)
        pods = self._api(lambda: self._cluster.list_pods(node=node.name))
        self.outcome.pods_before = eviction.pod_names(pods)
        return Snapshot(node, pods, self._api(self._cluster.list_budgets) if with_budgets else ())

    def _refuse(self, plan: Plan) -> None:
        """Stop before the first change when a pod is in the way that may not be evicted."""
        if plan.sorting.refused:
            self.outcome.unmanaged = eviction.pod_names(pod for pod, _reason in plan.sorting.refused if eviction.controller(pod) is None)
            raise Refused(eviction.refusal_text(plan.sorting.refused))

    def _since(self, started: float) -> float:
        return round(self._clock.monotonic() - started, 2)

    def _take(self, step: Step, started: float) -> None:
        action: Callable[[], tuple[bool, str]] = getattr(self, f"_{step.value}")
        with self._explained(step.value, ADVICE[step].format(namespace=self._settings.namespace)):
            changed, detail = action()
        self.outcome.steps.append(_report(step, self._since(started), detail, changed))

    @contextlib.contextmanager
    def _explained(self, step: str, advice: str) -> Iterator[None]:
        try:
            yield
        except (ClusterError, Hopeless, TimedOut, Refused, StateError) as exc:
            raise MigrationError(f"node {self._settings.node}, step {step}: {exc}. {advice}") from exc

    def _confirm(self, plan: Plan) -> None:
        """Read again, and compare with what the plan promised."""
        with self._explained("confirm", "Run again to go on."):
            node = self._read_node()
            if self.outcome.pods_before is not None:
                self.outcome.pods_after = eviction.pod_names(self._api(lambda: self._cluster.list_pods(node=node.name)))
        if (node.phase, node.unschedulable) != (plan.after.phase, plan.after.unschedulable):
            raise MigrationError(
                f"node {node.name}: every step was done, but the node is {node.phase.value} and "
                f"{'cordoned' if node.unschedulable else 'schedulable'} instead of {plan.after.phase.value} and "
                f"{'cordoned' if plan.after.unschedulable else 'schedulable'}: somebody else changed it. Run again to go on."
            )

    # -- what the steps are made of

    def _api(self, call: Callable[[], T]) -> T:
        return wait_for(self._clock, self._settings.timeouts.api, call)

    def _seen(self, node: dict[str, Any]) -> NodeView:
        view = NodeView.from_api(node)
        self.outcome.after = view
        return view

    def _read_node(self) -> NodeView:
        return self._seen(self._api(lambda: self._cluster.get_node(self._settings.node)))

    def _patch(self, patch: Patch) -> NodeView:
        return self._seen(self._api(lambda: self._cluster.patch_node(self._settings.node, patch)))

    def _noted(self, patch: Patch, node: NodeView, times: Mapping[str, Any] | None = None) -> Patch:
        """The patch, which also records ``times`` and what was measured since the last such patch."""
        figures = {**self._figures, **(times or {})}
        self._figures.clear()
        return move_times.noted(patch, node, figures)

    def _agents(self) -> list[dict[str, Any]]:
        pods = self._cluster.list_pods(node=self._settings.node, namespace=self._settings.namespace, selector=AGENT_SELECTOR)
        return [pod for pod in pods if not eviction.is_terminating(pod)]

    def _give_up_on(self, *pods: eviction.Pod) -> None:
        """Raise Hopeless when waiting for one of the pods is pointless."""
        reason = self._watch.hopeless(pods, self._clock.monotonic())
        if reason:
            raise Hopeless(reason)

    # -- the steps; each returns whether it changed anything, and what it did in words

    def _cordon(self) -> tuple[bool, str]:
        detail = ""

        def cordon() -> None:
            nonlocal detail
            node = self._seen(self._cluster.get_node(self._settings.node))
            detail = self._describe(Step.CORDON, node)
            try:
                patch = node_state.cordon_patch(node, back=self._back)
                self._seen(self._cluster.patch_node(node.name, move_times.begun(patch, node, self._clock.wall())))
            except Conflict as exc:
                raise NotYet(str(exc)) from exc

        self._api(cordon)
        return True, detail

    def _drain(self) -> tuple[bool, str]:
        node = self._read_node()
        drain = self._make_drain(node)
        with self._told(drain):
            if goes_on_while_pods_leave(self._settings.wanted, in_place=self._settings.in_place):
                self._leaving = drain
                drain.ask(self._settings.timeouts.drain)
            else:
                drain.run(self._settings.timeouts.drain)
        recorded = records_drained(node, self._settings.wanted, in_place=self._settings.in_place)
        if recorded or self._back:
            self._figures["drain_s"] = drain.seconds
        if recorded:
            self._patch(self._noted(node_state.drained_patch(), node))
        return recorded or bool(drain.evicted), f"evicted {', '.join(drain.evicted)}" if drain.evicted else "no pod had to leave"

    def _make_drain(self, node: NodeView) -> Drain:
        return Drain(self._cluster, self._clock, node.name, self._settings.policy, keep_tolerant=not self._back and rank(node.phase) >= rank(Phase.DRAINED))

    @contextlib.contextmanager
    def _told(self, drain: Drain) -> Iterator[None]:
        """The outcome tells of the drain, however it ends."""
        try:
            yield
        finally:
            self.outcome.evicted, self.outcome.unmanaged, self.outcome.blocked_by = drain.evicted, drain.unmanaged, drain.blocked_by

    def _label(self) -> tuple[bool, str]:
        node, patch = self._read_node(), node_state.switch_patch(on=True)
        # In place the new agent takes over what passes through the node; else it leaves when it reboots.
        times = move_times.departure(node, self._clock.wall()) if self._settings.in_place else {}
        return True, self._describe(Step.LABEL, self._patch(self._noted(patch, node, times)))

    def _unlabel(self) -> tuple[bool, str]:
        # The new agent lets go of what passes through the node, the reboot follows.
        node, patch = self._read_node(), node_state.switch_patch(on=False)
        return True, self._describe(Step.UNLABEL, self._patch(self._noted(patch, node, move_times.departure(node, self._clock.wall()))))

    def _restart_agent(self) -> tuple[bool, str]:
        timeout = self._settings.timeouts.agent
        old = node_state.agent_uid(self._read_node().recorded_agent or self._name_agent_to_replace(timeout))
        leaving = self._leaving
        if leaving is None and goes_on_while_pods_leave(self._settings.wanted, in_place=self._settings.in_place):
            leaving = self._make_drain(self._read_node())  # an earlier run was stopped while they left

        def replaced() -> str:
            left = leaving.look() if leaving else ""
            agents = self._agents()
            for agent in agents:
                if agent["metadata"]["uid"] == old:
                    self._delete(agent)
                elif node_state.is_ready(agent):
                    return node_state.agent_instance(agent)
                else:
                    self._give_up_on(agent)
            missing = [verification_pod.complaint(agent) for agent in agents] or ["no new pod of the Cilium agent was created on the node"]
            raise NotYet("; ".join([left, *missing] if left else missing))

        new = wait_for(self._clock, timeout, replaced)
        if leaving:
            self._see_out(leaving)
        node = self._read_node()
        patch = node_state.reboot_due_patch(Phase.RESTORED if self._back else Phase.SWITCHED, node.boot_id, new)
        self._patch(self._noted(patch, node))
        return True, f"agent pod {old} was replaced by {node_state.agent_uid(new)}, which is Ready; boot {node.boot_id} must end"

    def _see_out(self, drain: Drain) -> None:
        """Wait until every pod that had to leave is gone."""
        with self._explained(Step.DRAIN.value, ADVICE[Step.DRAIN]), self._told(drain):
            drain.run(self._settings.timeouts.drain)
        # Of one that an earlier run began, nobody knows how long it took.
        if drain is self._leaving:
            self._figures["drain_s"] = drain.seconds

    def _name_agent_to_replace(self, timeout: float) -> str:
        def present() -> str:
            for agent in self._agents():
                return agent["metadata"]["uid"]
            raise NotYet(f"no pod with {AGENT_SELECTOR} in namespace {self._settings.namespace} is on the node: is Cilium installed?")

        uid = wait_for(self._clock, timeout, present)
        return self._patch(node_state.agent_patch(uid)).recorded_agent

    def _prove_reboot(self) -> tuple[bool, str]:
        recorded = self._read_node().recorded_boot_id

        def booted() -> NodeView:
            node = self._seen(self._cluster.get_node(self._settings.node))
            if node.boot_id == recorded:
                raise NotYet(f"the node still reports boot ID {recorded}: it was not rebooted, or its kubelet is not back")
            # The kubelet sends boot ID and conditions in one update, so Ready beside a new boot ID speaks of the new boot.
            if not node.ready:
                raise NotYet(f"the node was rebooted (boot ID {node.boot_id}) but is not Ready")
            agents = self._agents()
            if not any(node_state.is_ready(agent) and node_state.agent_instance(agent) != node.recorded_agent for agent in agents):
                self._give_up_on(*agents)
                raise NotYet("; ".join(verification_pod.complaint(agent) for agent in agents) or "no Cilium agent is on the node since its reboot")
            return node

        node = wait_for(self._clock, self._settings.timeouts.reboot, booted)
        self._figures.update(move_times.reboot_seconds(node, self._clock.wall()))
        return False, f"boot {recorded} was followed by {node.boot_id}"

    def _recreate_pods(self) -> tuple[bool, str]:
        deleted: set[str] = set()

        def renewed() -> None:
            left = eviction.outside_network(self._cluster.list_pods(node=self._settings.node), self._settings.pod_cidr)
            for pod in left:
                if not eviction.is_terminating(pod):
                    self._delete(pod)
                    deleted.add(eviction.pod_name(pod))
            if left:
                raise NotYet(f"still outside {self._settings.pod_cidr}: {', '.join(eviction.pod_names(left))}")

        wait_for(self._clock, self._settings.timeouts.drain, renewed)
        return bool(deleted), f"deleted {', '.join(sorted(deleted))}" if deleted else "no pod had an address of Flannel's"

    def _verify(self) -> tuple[bool, str]:
        started = self._clock.monotonic()
        cidr = self._settings.flannel_pod_cidr if self._back else self._settings.pod_cidr
        attempts = Attempts()
        try:
            address = wait_for(self._clock, self._settings.timeouts.verify, lambda: self._proof(cidr, attempts))
        except BaseException as exc:
            with contextlib.suppress(ClusterError):  # the failure itself matters more, and the next run removes a leftover
                self._remove_verifier()
            if isinstance(exc, TimedOut):
                raise TimedOut(f"{exc}{self._words_of_kubelet(attempts)}") from exc
            raise
        self._api(self._remove_verifier)
        self._figures["verify_s"] = self._since(started)
        if not self._back:
            self._patch(self._noted(node_state.verified_patch(), self._read_node()))
        return True, f"a pod got {address} in {cidr} and the API server answered it ok"

    def _proof(self, cidr: str, attempts: Attempts) -> str:
        """One look at the verification pod: create it, wait for its end, judge it; start over with a new one when it failed.

        Just after a boot a pod can fail for reasons that pass, so only the deadline makes a failure final.
        """
        namespace, name = self._settings.namespace, verification_pod.name_for(self._settings.node)
        try:
            pod = self._cluster.get_pod(namespace, name)
        except NotFound:
            manifest = verification_pod.manifest(self._settings.node, namespace, self._settings.verify_image, self._settings.verify_image_pull_secrets)
            with contextlib.suppress(Conflict):  # made by a request whose answer was lost: the next look finds and removes it
                attempts.uids.add(self._cluster.create_pod(namespace, manifest)["metadata"]["uid"])
            raise NotYet(attempts.last_failure or f"pod {name} was created") from None
        if pod["metadata"]["uid"] not in attempts.uids:
            self._delete(pod, grace_seconds=0)
            raise NotYet(f"a leftover of pod {name} is being removed")
        if not eviction.is_finished(pod):
            self._give_up_on(pod)
            raise NotYet(attempts.last_failure or verification_pod.complaint(pod))
        try:
            if pod["status"]["phase"] == "Failed":
                raise NotYet(verification_pod.complaint(pod))
            return verification_pod.judge(pod, self._cluster.pod_log(namespace, name), cidr)
        except (NotYet, NotFound, verification_pod.Unproven) as exc:
            attempts.last_failure = str(exc)
            self._delete(pod, grace_seconds=0)
            raise NotYet(str(exc)) from exc

    def _words_of_kubelet(self, attempts: Attempts) -> str:
        """What the kubelet said last of the verification pods, to end a sentence with; empty when nothing is known."""
        name = verification_pod.name_for(self._settings.node)
        with contextlib.suppress(ClusterError):  # a service to the reader, and nothing that a run needs
            warning = last_warning(self._cluster.list_events(self._settings.namespace, f"involvedObject.kind=Pod,involvedObject.name={name}"), attempts.uids)
            return f"; its kubelet says: {warning}" if warning else ""
        return ""

    def _remove_verifier(self) -> None:
        try:
            pod = self._cluster.get_pod(self._settings.namespace, verification_pod.name_for(self._settings.node))
        except NotFound:
            return
        self._delete(pod, grace_seconds=0)

    def _uncordon(self) -> tuple[bool, str]:
        node = self._read_node()
        detail = self._describe(Step.UNCORDON, node)
        patch = node_state.release_patch(node, self._settings.wanted)
        self._patch(self._noted(patch, node, move_times.arrival(node, self._clock.wall())))
        return True, detail

    def _delete(self, pod: eviction.Pod, grace_seconds: int | None = None) -> None:
        """Delete exactly this pod; one that is gone already is as good."""
        metadata = pod["metadata"]
        with contextlib.suppress(NotFound, Conflict):
            self._cluster.delete_pod(metadata["namespace"], metadata["name"], metadata["uid"], grace_seconds)

    def _describe(self, step: Step, node: NodeView) -> str:
        return describe(step, node, self._settings.wanted, eviction.Sorting((), ()))


def _report(step: Step, seconds: float, detail: str, changed: bool) -> dict[str, Any]:
    return {"name": step.value, "seconds": round(seconds, 2), "detail": detail, "changed": changed}
