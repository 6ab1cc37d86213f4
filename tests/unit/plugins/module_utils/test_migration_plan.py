# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The records on a Node: what they are read as, and that each patch leaves a record that can be read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.netops.cni_migration.plugins.module_utils import node_state
from ansible_collections.netops.cni_migration.plugins.module_utils.eviction import EvictionPolicy
from ansible_collections.netops.cni_migration.plugins.module_utils.migration_plan import WANTED, Snapshot, Step, make_plan, route
from ansible_collections.netops.cni_migration.plugins.module_utils.node_state import AGENT, BOOT_ID, CILIUM_LABEL, STATE_LABEL, WAS_CORDONED, NodeView, Phase


def node(state: str | None = None, *, labelled: bool = False, cordoned: bool = False, boot: str = "b1", **annotations: str) -> NodeView:
    labels = {"theirs": "kept"}
    if state is not None:
        labels[STATE_LABEL] = state
    if labelled:
        labels[CILIUM_LABEL] = "true"
    return NodeView("n", "7", labels, {f"cni-migration.netops/{key.replace('_', '-')}": value for key, value in annotations.items()}, cordoned, boot, True)


@pytest.mark.parametrize(
    ("seen", "phase"),
    [
        pytest.param(node(), Phase.FLANNEL, id="no record"),
        pytest.param(node("switched", labelled=True, boot_id="b1"), Phase.SWITCHED, id="as recorded"),
        pytest.param(node("switched", labelled=True), Phase.SWITCHING, id="no boot to compare with"),
        pytest.param(node("restored"), Phase.RESTORING, id="no boot to compare with, on the way back"),
        pytest.param(node("verified", boot_id="b1"), Phase.RETURNING, id="somebody took Cilium's label off"),
        pytest.param(node("restored", labelled=True, boot_id="b1"), Phase.RETURNING, id="somebody put Cilium's label back"),
        pytest.param(node("migrated"), Phase.MIGRATED, id="the label is not needed once all is done"),
    ],
)
def test_the_record_is_checked_against_the_facts(seen: NodeView, phase: Phase) -> None:
    assert seen.phase is phase


def test_a_record_nobody_wrote_is_an_error() -> None:
    with pytest.raises(node_state.StateError, match=r"node n: label cni-migration.netops/state=half is none of flannel, .*remove it if the node is on Flannel"):
        assert node("half").phase


def test_a_node_is_read_from_the_least_the_api_sends() -> None:
    seen = NodeView.from_api({"metadata": {"name": "n"}})
    assert (seen.boot_id, seen.ready, seen.unschedulable, seen.phase) == ("", False, False, Phase.FLANNEL)


def test_the_cordon_names_the_version_it_was_decided_on() -> None:
    patch = node_state.cordon_patch(node(), back=False)
    assert patch == {
        "metadata": {"labels": {STATE_LABEL: "draining"}, "annotations": {WAS_CORDONED: "false"}, "resourceVersion": "7"},
        "spec": {"unschedulable": True},
    }


def test_a_second_cordon_keeps_how_the_node_was_found() -> None:
    patch = node_state.cordon_patch(node("switched", labelled=True, boot_id="b", was_cordoned="false", cordoned=True), back=True)
    assert patch["metadata"]["annotations"] == {WAS_CORDONED: "false"} and patch["metadata"]["labels"] == {STATE_LABEL: "returning"}


def test_release_takes_only_our_annotations() -> None:
    patch = node_state.release_patch(node(was_cordoned="false"), Phase.MIGRATED)
    assert patch["metadata"]["annotations"] == {WAS_CORDONED: None, AGENT: None, BOOT_ID: None} and patch["spec"] == {"unschedulable": None}
    assert "spec" not in node_state.release_patch(node(was_cordoned="true"), Phase.MIGRATED)


def test_an_agent_that_was_restarted_in_its_pod_is_another_one() -> None:
    def agent(container: str) -> dict[str, Any]:
        return {"metadata": {"uid": "u"}, "status": {"containerStatuses": [{"containerID": container}]}}

    assert node_state.agent_instance(agent("c1")) != node_state.agent_instance(agent("c2"))
    assert node_state.agent_uid(node_state.agent_instance(agent("c1"))) == "u"


NODES = st.builds(
    node,
    st.one_of(st.none(), st.sampled_from([phase.value for phase in Phase])),
    labelled=st.booleans(),
    cordoned=st.booleans(),
    boot=st.sampled_from(["b1", "b2"]),
    boot_id=st.sampled_from(["", "b1"]),
    was_cordoned=st.sampled_from(["true", "false"]),
)


@given(NODES, st.sampled_from(WANTED), st.booleans())
def test_a_plan_leads_to_where_no_plan_is_left_or_a_reboot_is_due(start: NodeView, wanted: Phase, rebooted: bool) -> None:
    plan = make_plan(Snapshot(start), wanted, EvictionPolicy(), rebooted=rebooted)
    after = plan.after
    left = route(after, wanted)
    assert left in ((), (Step.DRAIN,)), "a drain is looked at again, but not done again"
    assert after.labels["theirs"] == "kept"
    if wanted is Phase.FLANNEL:
        assert after.phase is Phase.FLANNEL or after.awaits_reboot


@given(NODES, st.sampled_from(WANTED), st.booleans())
def test_no_plan_uncordons_a_node_that_was_found_cordoned(start: NodeView, wanted: Phase, rebooted: bool) -> None:
    after = make_plan(Snapshot(start), wanted, EvictionPolicy(), rebooted=rebooted).after
    if start.was_cordoned and start.unschedulable:
        assert after.unschedulable


@given(NODES, st.sampled_from(WANTED))
def test_cilium_takes_a_node_only_after_it_was_drained_and_proves_it_only_after_the_reboot(start: NodeView, wanted: Phase) -> None:
    steps = route(start, wanted)
    order = [Step.CORDON, Step.DRAIN, Step.LABEL, Step.UNLABEL, Step.RESTART_AGENT, Step.PROVE_REBOOT, Step.VERIFY, Step.UNCORDON]
    assert list(steps) == sorted(steps, key=order.index) and len(set(steps)) == len(steps)
    for later, earlier in ((Step.LABEL, Step.DRAIN), (Step.UNLABEL, Step.DRAIN), (Step.VERIFY, Step.PROVE_REBOOT)):
        assert later not in steps or earlier in steps
