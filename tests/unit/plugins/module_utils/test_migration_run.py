# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole migrations against a cluster in memory: the roads there and back, kills at every request, an API that is away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import pytest
from fake_cluster import DAEMON_SET, EPOCH, NODE, REPLICA_SET, FakeClock, FakeCluster, Killed, pod
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.netops.cni_migration.plugins.module_utils import move_times
from ansible_collections.netops.cni_migration.plugins.module_utils.eviction import EvictionPolicy
from ansible_collections.netops.cni_migration.plugins.module_utils.migration_run import Migration, MigrationError, Settings, Timeouts
from ansible_collections.netops.cni_migration.plugins.module_utils.node_state import CILIUM_LABEL, STATE_LABEL, NodeView, Phase
from ansible_collections.netops.cni_migration.plugins.module_utils.pod_trouble import PULL_SECONDS

LEAVING = (pod("web", owners=REPLICA_SET), pod("cache", owners=REPLICA_SET), pod("proxy", namespace="kube-system", owners=DAEMON_SET))


def make(*, cordoned: bool = False, pods: tuple[dict[str, Any], ...] = LEAVING) -> FakeCluster:
    return FakeCluster(FakeClock(), cordoned=cordoned, pods=pods)


def with_everything(*, cordoned: bool) -> FakeCluster:
    """A node with a pod of each kind that a run treats in its own way."""
    containers = [{"name": "dns", "ports": [{"containerPort": 53, "protocol": "UDP"}]}]
    cluster = make(cordoned=cordoned, pods=(pod("dns", owners=REPLICA_SET, containers=containers), *LEAVING))
    for found in cluster.pods.values():
        if found["metadata"]["name"] == "proxy":
            found["status"]["podIP"] = "10.244.1.9"
    targets = [({"ready": False, "serving": True}, "dns"), ({"ready": True}, "elsewhere")]
    endpoints = [{"conditions": conditions, "targetRef": {"kind": "Pod", "namespace": "default", "name": name}} for conditions, name in targets]
    cluster.slices = [
        {"metadata": {"namespace": "default", "labels": {"kubernetes.io/service-name": "dns"}}, "ports": [{"protocol": "UDP"}], "endpoints": endpoints}
    ]
    return cluster


def migration(cluster: FakeCluster, state: str, **changes: Any) -> Migration:
    chosen = {"rebooted": False, "policy": EvictionPolicy(), "timeouts": Timeouts(), **changes}
    return Migration(
        cluster,
        cluster.clock,
        Settings(
            node=NODE,
            wanted=Phase(state),
            pod_cidr="10.245.0.0/16",
            flannel_pod_cidr="10.244.0.0/16",
            namespace="kube-system",
            verify_image="netshoot",
            **chosen,
        ),
    )


def go(cluster: FakeCluster, state: str, **changes: Any) -> Migration:
    walked = migration(cluster, state, **changes)
    walked.run()
    return walked


def names(walked: Migration) -> list[str]:
    return [step["name"] for step in walked.outcome.steps]


def migrate(cluster: FakeCluster, api_away: float = 0) -> None:
    """What the role does."""
    go(cluster, "drained")
    switched = go(cluster, "switched").outcome.after
    assert switched is not None
    if switched.awaits_reboot:
        cluster.reboot(api_away=api_away)
    go(cluster, "verified")
    go(cluster, "migrated")


def roll_back(cluster: FakeCluster) -> None:
    """What the role does on the way back."""
    first = go(cluster, "flannel").outcome.after
    assert first is not None
    if first.awaits_reboot:
        cluster.conflist = "flannel"
        cluster.reboot()
        go(cluster, "flannel", rebooted=True)


def test_the_road_to_cilium() -> None:
    cluster = make()
    drained = go(cluster, "drained")
    assert names(drained) == ["cordon", "drain"]
    assert drained.outcome.evicted == ["default/web", "default/cache"]
    assert drained.outcome.pods_after == ["kube-system/cilium-1", "kube-system/proxy"]
    first_agent = cluster.agent()["metadata"]["uid"]
    switched = go(cluster, "switched")
    assert names(switched) == ["drain", "label", "restart_agent"]
    assert cluster.agent()["metadata"]["uid"] != first_agent
    assert switched.outcome.after is not None and switched.outcome.after.awaits_reboot
    cluster.reboot()
    assert names(go(cluster, "verified")) == ["prove_reboot", "verify"]
    assert cluster.node["spec"] == {"unschedulable": True}
    assert names(go(cluster, "migrated")) == ["uncordon"]
    assert cluster.marks() == {
        "labels": {"kubernetes.io/hostname": NODE, CILIUM_LABEL: "true", STATE_LABEL: "migrated"},
        "annotations": {"theirs": "kept", move_times.TIMES: ["cordoned", "drain_s", "finished", "started", "verify_s"]},
        "spec": {},
        "pods": ["proxy"],
    }


def test_the_times_of_a_move_are_on_the_node() -> None:
    cluster = make()
    go(cluster, "switched")
    view = NodeView.from_api(cluster.node)
    cluster.patch_node(NODE, move_times.noted({"metadata": {}}, view, move_times.departure(view, cluster.clock.wall())))
    left = cluster.clock.now
    cluster.reboot()
    go(cluster, "migrated")
    times = move_times.of(NodeView.from_api(cluster.node))
    assert times["started"] == times["cordoned"] == move_times.stamp(EPOCH)
    assert times["finished"] == move_times.stamp(cluster.clock.wall())
    assert times["drain_s"] > 0 and times["verify_s"] > 0
    assert times["reboot_s"] + times["verify_s"] == pytest.approx(cluster.clock.now - left, abs=1)


def test_the_road_without_a_reboot() -> None:
    cluster = make()
    for found in cluster.pods.values():
        if found["metadata"]["name"] == "proxy":
            found["status"]["podIP"] = "10.244.1.9"
    go(cluster, "drained", in_place=True)
    go(cluster, "switched", in_place=True)
    walked = go(cluster, "verified", in_place=True)
    assert names(walked) == ["recreate_pods", "verify"] and cluster.boots == 1
    assert walked.outcome.steps[0]["detail"] == "deleted kube-system/proxy"
    assert [p["status"]["podIP"] for p in cluster.pods.values() if p["metadata"]["name"] == "proxy"] == ["10.245.0.7"]
    assert names(go(cluster, "migrated", in_place=True)) == ["uncordon"]


def test_a_pod_that_stays_on_flannel_keeps_the_node_from_being_verified() -> None:
    static = pod("static", owners=[])
    static["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    static["status"]["podIP"] = "10.244.1.9"
    cluster = make(pods=(static,))
    cluster.delete_pod = lambda *_args, **_kwargs: None  # type: ignore[method-assign]  # the kubelet shows it again at once
    go(cluster, "drained", in_place=True)
    cluster.__dict__.pop("delete_pod")
    go(cluster, "switched", in_place=True)
    cluster.delete_pod = lambda *_args, **_kwargs: None  # type: ignore[method-assign]
    with pytest.raises(MigrationError, match=r"step recreate_pods: still outside 10.245.0.0/16: default/static .*A reboot ends them"):
        go(cluster, "verified", in_place=True)


@pytest.mark.parametrize("state", ["drained", "switched", "verified", "migrated"])
def test_a_migrated_node_costs_one_request(state: str) -> None:
    cluster = make()
    migrate(cluster)
    cluster.calls.clear()
    walked = go(cluster, state)
    assert cluster.calls == ["get_node"] and not walked.outcome.steps


def test_there_and_back_leaves_the_node_as_it_was() -> None:
    cluster = make()
    before = cluster.marks()
    before["pods"] = ["proxy"]
    before["annotations"][move_times.TIMES] = ["cordoned", "drain_s", "finished", "left", "reboot_s", "started", "verify_s"]  # until somebody tells of it
    migrate(cluster)
    roll_back(cluster)
    assert cluster.marks() == before and cluster.cni == "flannel"


def test_the_times_of_the_way_back_are_on_the_node_and_the_move_there_is_not_forgotten() -> None:
    cluster = make()
    go(cluster, "switched")
    view = NodeView.from_api(cluster.node)
    cluster.patch_node(NODE, move_times.noted({"metadata": {}}, view, move_times.departure(view, cluster.clock.wall())))
    cluster.reboot()
    go(cluster, "migrated")
    there = move_times.of(NodeView.from_api(cluster.node))
    began = cluster.clock.now
    go(cluster, "flannel")
    on_its_way = move_times.of(NodeView.from_api(cluster.node))
    assert on_its_way["earlier"] == [[there["left"], there["finished"]]]
    assert move_times.epoch(on_its_way["left"]) < EPOCH + cluster.clock.now - 3, "it leaves before its agent is restarted, which lets go of what passes"
    cluster.conflist = "flannel"
    cluster.reboot()
    go(cluster, "flannel", rebooted=True)
    back = move_times.of(NodeView.from_api(cluster.node))
    assert back["started"] == back["cordoned"] == move_times.stamp(EPOCH + began) and back["finished"] == move_times.stamp(cluster.clock.wall())
    assert back["drain_s"] == on_its_way["drain_s"] >= 0 and back["verify_s"] > 0
    assert back["reboot_s"] == pytest.approx(move_times.epoch(back["finished"]) - move_times.epoch(back["left"]) - back["verify_s"], abs=2)


def test_a_node_that_goes_forward_again_begins_a_record_of_its_own() -> None:
    cluster = make()
    migrate(cluster)
    roll_back(cluster)
    back = move_times.of(NodeView.from_api(cluster.node))
    cluster.clock.sleep(60)
    go(cluster, "drained")
    again = move_times.of(NodeView.from_api(cluster.node))
    assert again["earlier"] == [[back["left"], back["finished"]]] and again["started"] > back["finished"] and "left" not in again


@pytest.mark.parametrize("state", ["drained", "switched", "verified", "migrated"])
def test_back_from_every_state(state: str) -> None:
    cluster = make()
    go(cluster, "drained")
    if state != "drained":
        go(cluster, "switched")
    if state in ("verified", "migrated"):
        cluster.reboot()
        go(cluster, state)
    boots = cluster.boots
    roll_back(cluster)
    assert cluster.cni == "flannel" and cluster.node["spec"] == {} and STATE_LABEL not in cluster.node["metadata"]["labels"]
    assert (cluster.boots == boots) == (state == "drained"), "a node that Cilium was never told to take needs no reboot"


def test_forward_again_in_the_middle_of_the_way_back() -> None:
    cluster = make()
    migrate(cluster)
    assert go(cluster, "flannel").outcome.after.phase is Phase.RESTORED  # type: ignore[union-attr]
    assert go(cluster, "drained").outcome.after.phase is Phase.RESTORED, "drained would promise that it can be let go"  # type: ignore[union-attr]
    migrate(cluster)
    assert cluster.cni == "cilium" and cluster.node["metadata"]["labels"][STATE_LABEL] == "migrated"


def test_the_way_back_asks_for_the_reboot_until_it_is_told_of_it() -> None:
    cluster = make()
    migrate(cluster)
    for _attempt in range(2):
        after = go(cluster, "flannel").outcome.after
        assert after is not None and after.awaits_reboot
    with pytest.raises(MigrationError, match="still reports boot ID boot-2"):
        go(cluster, "flannel", rebooted=True, timeouts=Timeouts(reboot=5))


def test_a_cordoned_node_stays_cordoned() -> None:
    cluster = make(cordoned=True)
    migrate(cluster)
    assert cluster.node["spec"] == {"unschedulable": True}
    roll_back(cluster)
    assert cluster.node["spec"] == {"unschedulable": True}
    assert set(cluster.node["metadata"]["annotations"]) == {"theirs", move_times.TIMES}


def test_somebody_who_cordons_just_before_is_noticed() -> None:
    cluster = make()
    patch = cluster.patch_node
    raced = []

    def race(name: str, body: dict[str, Any]) -> dict[str, Any]:
        if not raced:
            raced.append(True)
            cluster.node["spec"] = {"unschedulable": True}
            cluster._touch()
        return patch(name, body)

    cluster.patch_node = race  # type: ignore[method-assign]
    go(cluster, "drained")
    assert cluster.node["metadata"]["annotations"]["cni-migration.netops/was-cordoned"] == "true"


def test_a_node_uncordoned_midway_is_cordoned_again() -> None:
    cluster = make()
    go(cluster, "switched")
    cluster.node["spec"] = {}
    cluster.reboot()
    assert names(go(cluster, "verified")) == ["cordon", "prove_reboot", "verify"]
    assert cluster.node["spec"] == {"unschedulable": True}
    go(cluster, "migrated")
    assert cluster.node["spec"] == {}


def test_a_missing_reboot_is_not_taken_for_one() -> None:
    cluster = make()
    go(cluster, "switched")
    with pytest.raises(MigrationError, match=r"node k8s-w1, step prove_reboot: the node still reports boot ID boot-1.*reboot it"):
        go(cluster, "verified", timeouts=Timeouts(reboot=20))


def test_a_control_plane_that_reboots_takes_the_api_with_it() -> None:
    cluster = make()
    migrate(cluster, api_away=45)
    assert cluster.cni == "cilium"


def test_waiting_for_the_api_server_before_the_first_step_is_part_of_it() -> None:
    cluster = make()
    go(cluster, "switched")
    cluster.reboot(api_away=45)
    began = cluster.clock.now
    steps = go(cluster, "verified").outcome.steps
    assert steps[0]["name"] == "prove_reboot" and steps[0]["seconds"] >= 45
    assert sum(step["seconds"] for step in steps) == pytest.approx(cluster.clock.now - began)


def test_an_api_that_stays_away_is_an_error() -> None:
    cluster = make()
    cluster.away_until = 1e9
    with pytest.raises(MigrationError, match=r"step plan: the API server does not answer: connection refused \(waited 30 s\). Nothing was changed"):
        go(cluster, "drained", timeouts=Timeouts(api=30))


def test_a_budget_that_opens_late_is_waited_for() -> None:
    cluster = make()
    cluster.blocked.add("web")
    cluster.clock.later(60, cluster.blocked.clear)
    walked = go(cluster, "drained")
    assert walked.outcome.evicted == ["default/cache", "default/web"] and walked.outcome.blocked_by == []
    assert 60 <= walked.outcome.steps[1]["seconds"] < 70


def test_a_budget_that_stays_closed_is_named_and_the_node_can_go_on() -> None:
    cluster = make()
    cluster.blocked.add("web")
    cluster.budgets.append({"metadata": {"name": "web-pdb", "namespace": "default"}, "spec": {"selector": {"matchLabels": {"app": "web"}}}})
    walked = migration(cluster, "drained", timeouts=Timeouts(drain=30))
    with pytest.raises(MigrationError, match=r"step drain: evictions refused \(default/web: Cannot evict pod"):
        walked.run()
    assert walked.outcome.blocked_by == [
        {
            "namespace": "default",
            "pod": "web",
            "budgets": ["web-pdb"],
            "message": "Cannot evict pod as it would violate the pod's disruption budget.",
        }
    ]
    assert walked.outcome.after is not None and walked.outcome.after.phase is Phase.DRAINING
    cluster.blocked.clear()
    migrate(cluster)
    assert cluster.cni == "cilium"


def test_refused_pods_are_named_before_anything_is_changed() -> None:
    cluster = make(pods=(pod("curl-pod"), pod("cache", owners=REPLICA_SET, volumes=[{"name": "data", "emptyDir": {}}])))
    before = cluster.marks()
    walked = migration(cluster, "drained")
    with pytest.raises(MigrationError, match=r"default/curl-pod has no controller.*default/cache would lose the data of its emptyDir volumes data"):
        walked.run()
    assert cluster.marks() == before and walked.outcome.unmanaged == ["default/curl-pod"]
    accepted = go(cluster, "drained", policy=EvictionPolicy(delete_emptydir_data=True, unmanaged_pods=True))
    assert accepted.outcome.unmanaged == ["default/curl-pod"] and accepted.outcome.evicted == ["default/curl-pod", "default/cache"]


def test_a_pod_that_comes_back_by_design_is_evicted_once() -> None:
    operator = pod("operator", owners=REPLICA_SET, tolerations=[{"operator": "Exists"}])
    cluster = make(pods=(operator,))
    returned = {**operator, "metadata": {**operator["metadata"], "name": "operator-2", "uid": "uid-2"}}
    cluster.clock.later(1, lambda: cluster.pods.update({"uid-2": returned}))
    assert go(cluster, "drained").outcome.evicted == ["default/operator"]
    again = go(cluster, "drained")
    assert again.outcome.evicted == [] and not any(step["changed"] for step in again.outcome.steps)


def test_the_agent_is_restarted_while_the_evicted_pods_end() -> None:
    cluster = make()
    cluster.grace = 60
    first = cluster.agent()["metadata"]["uid"]
    walked = migration(cluster, "switched")
    cluster.clock.later(30, lambda: observed.update(agent=cluster.agent()["metadata"]["uid"], state=cluster.node["metadata"]["labels"][STATE_LABEL]))
    observed: dict[str, str] = {}
    walked.run()
    assert observed["agent"] != first and observed["state"] == "switching", "it is not switched before the last pod is gone"
    assert names(walked) == ["cordon", "drain", "label", "restart_agent"]
    assert 60 <= cluster.clock.now < 65
    assert walked.outcome.pods_after == [f"kube-system/{cluster.agent()['metadata']['name']}", "kube-system/proxy"]
    assert 60 <= move_times.of(NodeView.from_api(cluster.node))["drain_s"] < 62


def test_pods_that_end_before_the_agent_is_ready_are_not_drained_for_as_long_as_it_takes() -> None:
    cluster = make()
    cluster.grace = 2
    go(cluster, "switched")
    assert cluster.clock.now >= 7, "the old agent takes 3 s to end, and the new one 4 to be Ready"
    assert 2 <= move_times.of(NodeView.from_api(cluster.node))["drain_s"] < 4


def test_in_place_the_node_is_empty_before_its_agent_takes_over() -> None:
    cluster = make()
    cluster.grace = 60
    first = cluster.agent()["metadata"]["uid"]
    cluster.clock.later(59, lambda: observed.append(cluster.agent()["metadata"]["uid"]))
    observed: list[str] = []
    go(cluster, "switched", in_place=True)
    assert observed == [first]


def test_a_pod_that_does_not_end_keeps_the_node_from_being_switched() -> None:
    cluster = make()
    cluster.grace = 1000
    with pytest.raises(MigrationError, match=r"step drain: pods still terminating: default/cache, default/web \(waited 30 s\)\. The node stays cordoned"):
        go(cluster, "switched", timeouts=Timeouts(drain=30))
    assert cluster.node["metadata"]["labels"][STATE_LABEL] == "switching"
    cluster.clock.sleep(1000)
    walked = go(cluster, "switched")
    assert names(walked) == ["restart_agent"] and walked.outcome.after is not None and walked.outcome.after.awaits_reboot


def test_no_agent_is_restarted_while_an_eviction_is_refused() -> None:
    cluster = make()
    cluster.blocked.add("web")
    first = cluster.agent()["metadata"]["uid"]
    with pytest.raises(MigrationError, match=r"step drain: evictions refused"):
        go(cluster, "switched", timeouts=Timeouts(drain=30))
    assert cluster.agent()["metadata"]["uid"] == first and cluster.node["metadata"]["labels"][STATE_LABEL] == "draining"


def test_a_server_of_datagrams_is_let_go_while_it_still_answers() -> None:
    cluster = with_everything(cordoned=False)
    go(cluster, "drained")
    assert cluster.calls.count("patch_pod_status") == 1, "only the one that ends, and only once"
    assert cluster.calls.index("patch_pod_status") > cluster.calls.index("evict_pod")


def test_a_failed_proof_is_tried_again_and_then_explained() -> None:
    cluster = make()
    cluster.agent_writes = False
    go(cluster, "switched")
    cluster.reboot()
    with pytest.raises(MigrationError, match=r"step verify: a new pod on the node got the address 10.244.1.7, which is not in 10.245.0.0/16 \(waited 20 s\)"):
        go(cluster, "verified", timeouts=Timeouts(verify=20))
    assert cluster.calls.count("create_pod") > 2
    assert not any(name.startswith("cni-verify") for name in cluster.marks()["pods"]), "removed after a failure too"


def test_an_agent_that_never_gets_ready_is_an_error_and_not_restarted_twice() -> None:
    cluster = make()
    go(cluster, "drained")
    cluster._agent_ready = lambda agent, process: None  # type: ignore[method-assign]
    for _attempt in range(2):
        with pytest.raises(MigrationError, match=r"step restart_agent: pod cilium-\d is Running"):
            go(cluster, "switched", timeouts=Timeouts(agent=20))
    assert cluster.calls.count("delete_pod") == 1


def crash(agent: dict[str, Any], restarts: int) -> None:
    """The container of the agent is down for the ``restarts`` + 1st time."""
    status = agent["status"]["containerStatuses"][0]
    status["restartCount"] = restarts
    status["state"] = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}}
    status["lastState"] = {"terminated": {"reason": "Error", "exitCode": 1, "message": "level=fatal msg=invalid"}}


def test_an_agent_that_crashes_is_given_up_long_before_the_deadline() -> None:
    cluster = make()
    go(cluster, "drained")
    cluster._agent_ready = lambda agent, process: None  # type: ignore[method-assign]
    for restarts, second in enumerate((5, 10, 25, 50, 95), start=0):
        cluster.clock.later(second, partial(lambda number: crash(cluster.agent(), number), restarts))
    began = cluster.clock.now
    with pytest.raises(
        MigrationError, match=r"step restart_agent: container cilium-agent of pod cilium-\d on k8s-w1 was started 5 times.*level=fatal msg=invalid.*go"
    ):
        go(cluster, "switched")
    assert cluster.clock.now - began == pytest.approx(95, abs=1)


def test_an_agent_that_crashes_after_the_reboot_is_given_up_too() -> None:
    cluster = make()
    go(cluster, "switched")
    cluster._agent_ready = lambda agent, process: None  # type: ignore[method-assign]
    cluster.reboot()
    for restarts, second in enumerate((35, 40, 50, 70, 110), start=1):
        cluster.clock.later(second, partial(lambda number: crash(cluster.agent(), number), restarts))
    with pytest.raises(MigrationError, match=r"step prove_reboot: container cilium-agent of pod cilium-\d on k8s-w1 was started 5 times"):
        go(cluster, "verified")


def test_an_image_that_does_not_come_is_named_with_the_node() -> None:
    cluster = make()
    go(cluster, "switched")
    cluster.reboot()
    cluster.image_comes = False
    began = cluster.clock.now
    with pytest.raises(
        MigrationError, match=r"node k8s-w1, step verify: .*pod cni-verify-k8s-w1 on k8s-w1 has no image: netshoot cannot be pulled: ErrImagePull no such tag"
    ):
        go(cluster, "verified")
    assert cluster.clock.now - began < 40 + PULL_SECONDS, "40 s of it are the reboot's"
    assert not any(name.startswith("cni-verify") for name in cluster.marks()["pods"])


def test_a_sandbox_that_cannot_be_made_is_told_in_the_words_of_the_kubelet() -> None:
    cluster = make()
    go(cluster, "switched")
    cluster.reboot()
    words = "Failed to create pod sandbox: mkdir /run/containerd/x: no space left on device"

    def warn(created: dict[str, Any]) -> None:
        event = {"type": "Warning", "reason": "FailedCreatePodSandBox", "message": words, "lastTimestamp": "2026-01-02T03:04:05Z"}
        of_another = {**event, "message": "of an earlier run", "lastTimestamp": "2026-01-02T03:04:09Z", "involvedObject": {"uid": "verify-of-an-earlier-run"}}
        cluster.events = [of_another, {**event, "involvedObject": {"uid": created["metadata"]["uid"]}}]

    cluster._finish = warn  # type: ignore[method-assign]
    with pytest.raises(
        MigrationError, match=r"step verify: pod cni-verify-k8s-w1 is Pending \(waited 20 s\); its kubelet says: FailedCreatePodSandBox: .*no space left"
    ):
        go(cluster, "verified", timeouts=Timeouts(verify=20))


@pytest.mark.parametrize("state", ["drained", "switched", "verified", "migrated", "flannel"])
@pytest.mark.parametrize("start", ["flannel", "drained", "switched", "migrated"])
def test_check_mode_plans_what_a_run_does_and_writes_nothing(start: str, state: str) -> None:
    cluster = make()
    if start == "migrated":
        migrate(cluster)
    elif start != "flannel":
        go(cluster, start)
    before = cluster.marks()
    planned = migration(cluster, state)
    planned.plan()
    assert cluster.marks() == before
    cluster.clock.later(20, cluster.reboot)  # somebody reboots the node while the run waits for it
    done = go(cluster, state)
    assert names(done) == names(planned)
    assert [step["changed"] for step in done.outcome.steps] == [step["changed"] for step in planned.outcome.steps]
    assert done.outcome.after is not None and planned.outcome.after is not None
    assert (done.outcome.after.phase, done.outcome.after.unschedulable) == (planned.outcome.after.phase, planned.outcome.after.unschedulable)
    assert sorted(done.outcome.evicted) == planned.outcome.evicted


def in_place(cluster: FakeCluster) -> None:
    """What the role does where nodes are not rebooted."""
    for state in ("drained", "switched", "verified", "migrated"):
        go(cluster, state, in_place=True)


def half_way(state: str) -> Callable[[FakeCluster], None]:
    """The undisturbed road to a state."""

    def road(cluster: FakeCluster) -> None:
        go(cluster, "drained")
        if state != "drained":
            go(cluster, "switched")
        if state in ("verified", "migrated"):
            cluster.reboot()
            go(cluster, state)

    return road


ROADS: dict[str, tuple[Callable[[FakeCluster], None], Callable[[FakeCluster], None], str]] = {
    "to Cilium": (lambda _cluster: None, migrate, "cilium"),
    "in place": (lambda _cluster: None, in_place, "cilium"),
    **{f"back from {state}": (half_way(state), roll_back, "flannel") for state in ("drained", "switched", "verified", "migrated")},
}
"""What leads to the beginning, the road on which runs die, and the network it leads to."""


def survive(cluster: FakeCluster, road: Callable[[FakeCluster], None], kills: Iterable[Callable[[FakeCluster], None]]) -> None:
    """Walk ``road``, each time with the death that one of ``kills`` arranges, and once more without any."""
    for kill in kills:
        kill(cluster)
        try:
            road(cluster)
        except Killed:
            cluster.live_again()
            cluster.clock.sleep(1)
        else:
            break
    cluster.live_again()
    road(cluster)


def at_request(number: int, *, after_effect: bool) -> Callable[[FakeCluster], None]:
    """Death in the request with this number, counted from now."""

    def kill(cluster: FakeCluster) -> None:
        cluster.kill_at, cluster.kill_after_effect = len(cluster.calls) + number, after_effect

    return kill


def in_wait(number: int) -> Callable[[FakeCluster], None]:
    """Death in the pause with this number, counted from now."""

    def kill(cluster: FakeCluster) -> None:
        cluster.clock.kill_at = cluster.clock.sleeps + number

    return kill


def deaths(calls: list[str], pauses: int) -> Iterator[tuple[str, Callable[[FakeCluster], None]]]:
    """A death before each request and in each pause of a walk that went well, and one after each request that changes anything."""
    for number, call in enumerate(calls):
        yield f"before request {number}, {call}", at_request(number, after_effect=False)
        if call in ("patch_node", "create_pod", "delete_pod", "evict_pod", "patch_pod_status"):
            yield f"after request {number}, {call}", at_request(number, after_effect=True)
    for number in range(pauses):
        yield f"in pause {number}", in_wait(number)


@pytest.mark.parametrize("name", ROADS)
@pytest.mark.parametrize("cordoned", [False, True])
def test_a_death_anywhere_changes_nothing_in_the_end(cordoned: bool, name: str) -> None:
    lead, road, network = ROADS[name]
    smooth = with_everything(cordoned=cordoned)
    lead(smooth)
    requests, pauses = len(smooth.calls), smooth.clock.sleeps
    road(smooth)
    assert smooth.conflist == network
    for where, kill in deaths(smooth.calls[requests:], smooth.clock.sleeps - pauses):
        cluster = with_everything(cordoned=cordoned)
        lead(cluster)
        survive(cluster, road, [kill])
        assert (cluster.marks(), cluster.conflist, cluster.cni) == (smooth.marks(), smooth.conflist, smooth.cni), where
        assert len(cluster.removals) == len(set(cluster.removals)), f"{where}: a pod was evicted twice"


@settings(max_examples=60, deadline=None)
@given(
    st.booleans(),
    st.sampled_from(sorted(ROADS)),
    st.lists(st.one_of(st.builds(at_request, st.integers(0, 120), after_effect=st.booleans()), st.builds(in_wait, st.integers(0, 120))), max_size=6),
)
def test_several_deaths_change_nothing_either(cordoned: bool, name: str, kills: list[Callable[[FakeCluster], None]]) -> None:
    lead, road, _network = ROADS[name]
    smooth, cluster = with_everything(cordoned=cordoned), with_everything(cordoned=cordoned)
    for each in (smooth, cluster):
        lead(each)
    road(smooth)
    survive(cluster, road, kills)
    assert (cluster.marks(), cluster.conflist, cluster.cni) == (smooth.marks(), smooth.conflist, smooth.cni)
