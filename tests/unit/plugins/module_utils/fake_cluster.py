# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster of one node in memory, with the habits of the real one that a migration meets.

Time passes only while somebody sleeps. Evicted pods end after their grace; a deleted agent comes back from its DaemonSet;
a reboot takes the API's view of the node through stale Ready, NotReady and Ready again; the verification pod gets an
address from whichever CNI configuration the node's last boot found.
"""

from __future__ import annotations

import copy
import itertools
import json
from typing import Any, Callable

from ansible_collections.netops.cni_migration.plugins.module_utils.cluster import ApiUnavailable, Conflict, EvictionBlocked, NotFound
from ansible_collections.netops.cni_migration.plugins.module_utils.move_times import TIMES
from ansible_collections.netops.cni_migration.plugins.module_utils.node_state import CILIUM_LABEL

NODE = "k8s-w1"
EPOCH = 1_700_000_000.0
DAEMON_SET = [{"kind": "DaemonSet", "name": "ds", "controller": True}]
REPLICA_SET = [{"kind": "ReplicaSet", "name": "rs", "controller": True}]


class Killed(BaseException):
    """The controller's process dies here."""


class FakeClock:
    """Time that passes only while somebody sleeps; what is due then happens. Set ``kill_at`` to die in that sleep, counted by ``sleeps``."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sleeps = 0
        self.kill_at: int | None = None
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return EPOCH + self.now

    def sleep(self, seconds: float) -> None:
        number, self.sleeps = self.sleeps, self.sleeps + 1
        if number == self.kill_at:
            raise Killed
        self.now += seconds
        while self._due and min(self._due)[0] <= self.now:
            event = min(self._due)
            self._due.remove(event)
            event[2]()

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        self._due.append((self.now + seconds, next(self._order), action))


def ready(value: bool) -> list[dict[str, str]]:
    return [{"type": "Ready", "status": "True" if value else "False"}]


def pod(name: str, *, namespace: str = "default", owners: list[dict[str, Any]] | None = None, **extra: Any) -> dict[str, Any]:
    """A running pod; ``extra`` goes into its spec."""
    return {
        "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{namespace}-{name}", "labels": {"app": name}, "ownerReferences": owners or []},
        "spec": {"nodeName": NODE, **extra},
        "status": {"phase": "Running", "conditions": ready(True)},
    }


class FakeCluster:
    """Implements the Cluster protocol. ``calls`` counts requests; set ``kill_at`` to die at that one, before or after its effect.

    The dead make no requests, not even to clean up: after a death each call dies, too, until there is a new life.
    """

    def __init__(self, clock: FakeClock, *, cordoned: bool = False, pods: tuple[dict[str, Any], ...] = ()) -> None:
        self.clock = clock
        self.calls: list[str] = []
        self.kill_at: int | None = None
        self.kill_after_effect = False
        self.dead = False
        self.away_until = -1.0
        self.blocked: set[str] = set()
        self.budgets: list[dict[str, Any]] = []
        self.slices: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.image_comes = True
        self.grace = 3.0  # what a pod of a workload takes to end; the others take 3 s
        self.pods: dict[str, dict[str, Any]] = {p["metadata"]["uid"]: copy.deepcopy(p) for p in pods}
        self.boots = 1
        self.agent_writes = True
        self.conflist = "flannel"  # what the agent wrote for every pod from now on
        self.cni = "flannel"  # what the last boot found
        self.removals: list[str] = []
        self.down = False
        self._serial = itertools.count(1)
        self.node: dict[str, Any] = {
            "metadata": {"name": NODE, "resourceVersion": "1", "labels": {"kubernetes.io/hostname": NODE}, "annotations": {"theirs": "kept"}},
            "spec": {"unschedulable": True} if cordoned else {},
            "status": {"nodeInfo": {"bootID": "boot-1"}, "conditions": ready(True)},
        }
        self._start_agent()

    # -- the protocol

    def get_node(self, name: str) -> dict[str, Any]:
        return self._call("get_node", lambda: copy.deepcopy(self.node))

    def list_nodes(self) -> list[dict[str, Any]]:
        return [self.get_node(NODE)]

    def patch_node(self, name: str, patch: dict[str, Any]) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            wanted = patch["metadata"].get("resourceVersion")
            if wanted not in (None, self.node["metadata"]["resourceVersion"]):
                raise Conflict("the object has been modified")
            for part in ("labels", "annotations"):
                for key, value in patch["metadata"].get(part, {}).items():
                    if value is None:
                        self.node["metadata"][part].pop(key, None)
                    else:
                        self.node["metadata"][part][key] = value
            if "spec" in patch:
                self.node["spec"] = {"unschedulable": True} if patch["spec"]["unschedulable"] else {}
            self._touch()
            return copy.deepcopy(self.node)

        return self._call("patch_node", effect)

    def list_pods(self, node: str = "", namespace: str = "", selector: str = "") -> list[dict[str, Any]]:
        key, _sep, value = selector.partition("=")

        def effect() -> list[dict[str, Any]]:
            return [
                copy.deepcopy(p)
                for p in self.pods.values()
                if namespace in ("", p["metadata"]["namespace"]) and (not key or p["metadata"]["labels"].get(key) == value)
            ]

        return self._call("list_pods", effect)

    def get_pod(self, namespace: str, name: str) -> dict[str, Any]:
        return self._call("get_pod", lambda: copy.deepcopy(self._find(namespace, name)))

    def create_pod(self, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            name = body["metadata"]["name"]
            if any(p["metadata"]["name"] == name and p["metadata"]["namespace"] == namespace for p in self.pods.values()):
                raise Conflict("already exists")
            created = copy.deepcopy(body)
            created["metadata"]["uid"] = f"verify-{next(self._serial)}"
            created["status"] = {"phase": "Pending"}
            self.pods[created["metadata"]["uid"]] = created
            if self.image_comes:
                self.clock.later(2, lambda: self._finish(created))
            else:
                waiting = {"reason": "ErrImagePull", "message": "no such tag"}
                created["status"]["containerStatuses"] = [{"name": "verify", "image": body["spec"]["containers"][0]["image"], "state": {"waiting": waiting}}]
            return copy.deepcopy(created)

        return self._call("create_pod", effect)

    def delete_pod(self, namespace: str, name: str, uid: str, grace_seconds: int | None = None) -> None:
        self._call("delete_pod", lambda: self._end(self._find(namespace, name), uid, grace_seconds))

    def evict_pod(self, namespace: str, name: str, uid: str) -> None:
        def effect() -> None:
            found = self._find(namespace, name)
            if name in self.blocked:
                raise EvictionBlocked("Cannot evict pod as it would violate the pod's disruption budget.", status=429)
            self.removals.append(name)
            self._end(found, uid, None)

        self._call("evict_pod", effect)

    def pod_log(self, namespace: str, name: str) -> str:
        return self._call("pod_log", lambda: self._find(namespace, name)["log"])

    def list_budgets(self) -> list[dict[str, Any]]:
        return self._call("list_budgets", lambda: copy.deepcopy(self.budgets))

    def list_endpoint_slices(self) -> list[dict[str, Any]]:
        return self._call("list_endpoint_slices", lambda: copy.deepcopy(self.slices))

    def list_events(self, namespace: str, fields: str) -> list[dict[str, Any]]:
        return self._call("list_events", lambda: copy.deepcopy(self.events))

    def patch_pod_status(self, namespace: str, name: str, patch: dict[str, Any]) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            found = self._find(namespace, name)
            found["status"]["conditions"] = patch["status"]["conditions"]
            return copy.deepcopy(found)

        return self._call("patch_pod_status", effect)

    # -- what the world does

    def reboot(self, seconds: float = 30, api_away: float = 0) -> None:
        """Start a reboot; the API shows the old, ready node for a while."""
        self.away_until = self.clock.now + api_away
        self.clock.later(5, self._goes_down)
        self.clock.later(seconds, self._booted)

    def agent(self) -> dict[str, Any]:
        return next(p for p in self.pods.values() if p["metadata"]["labels"].get("k8s-app") == "cilium")

    def live_again(self) -> None:
        """A new process, which nothing kills."""
        self.dead, self.kill_at, self.clock.kill_at = False, None, None

    def marks(self) -> dict[str, Any]:
        """All that is left on the node and that a run could have changed; of the record of its times only what it tells of, not when.

        How often it was on its way before is no matter either.
        """
        metadata = self.node["metadata"]
        annotations = dict(metadata["annotations"])
        if TIMES in annotations:
            annotations[TIMES] = sorted(set(json.loads(annotations[TIMES])) - {"earlier"})
        return {
            "labels": metadata["labels"],
            "annotations": annotations,
            "spec": self.node["spec"],
            "pods": sorted(p["metadata"]["name"] for p in self.pods.values() if p["metadata"]["labels"].get("k8s-app") != "cilium"),
        }

    def _call(self, what: str, effect: Callable[[], Any]) -> Any:
        number = len(self.calls)
        self.calls.append(what)
        self.dead = self.dead or number == self.kill_at or self._clock_killed()
        if self.dead and not (number == self.kill_at and self.kill_after_effect):
            raise Killed
        if self.clock.now < self.away_until:
            raise ApiUnavailable("connection refused")
        try:
            return effect()
        finally:
            if self.dead:
                raise Killed

    def _clock_killed(self) -> bool:
        return self.clock.kill_at is not None and self.clock.sleeps > self.clock.kill_at

    def _find(self, namespace: str, name: str) -> dict[str, Any]:
        for found in self.pods.values():
            if (found["metadata"]["namespace"], found["metadata"]["name"]) == (namespace, name):
                return found
        raise NotFound(f"pods {name} not found")

    def _end(self, found: dict[str, Any], uid: str, grace_seconds: int | None) -> None:
        if found["metadata"]["uid"] != uid:
            raise Conflict("the UID in the precondition is another one")
        if grace_seconds == 0:
            self.pods.pop(uid, None)
        elif "deletionTimestamp" not in found["metadata"]:
            found["metadata"]["deletionTimestamp"] = "now"
            self.clock.later(self.grace if found["metadata"].get("ownerReferences") == REPLICA_SET else 3.0, lambda: self._gone(found))

    def _gone(self, found: dict[str, Any]) -> None:
        self.pods.pop(found["metadata"]["uid"], None)
        if found["metadata"]["labels"].get("k8s-app") == "cilium":
            self._start_agent()
        elif found["metadata"].get("ownerReferences") == DAEMON_SET:
            again = pod(found["metadata"]["name"], namespace=found["metadata"]["namespace"], owners=DAEMON_SET)
            again["metadata"]["uid"] = f"again-{next(self._serial)}"
            again["status"]["podIP"] = self._address()
            self.pods[again["metadata"]["uid"]] = again

    def _address(self) -> str:
        """The runtime reads the folder of CNI configurations for each pod."""
        return "10.245.0.7" if self.conflist == "cilium" else "10.244.1.7"

    def _start_agent(self) -> None:
        agent = pod(f"cilium-{next(self._serial)}", namespace="kube-system", owners=DAEMON_SET)
        agent["metadata"]["labels"] = {"k8s-app": "cilium"}
        self.pods[agent["metadata"]["uid"]] = agent
        self._start_agent_container(agent)
        if self.clock.now == 0:
            self._agent_ready(agent, agent["process"])

    def _start_agent_container(self, agent: dict[str, Any]) -> None:
        """A new process of the agent; it reads the node's label when it starts, as the CiliumNodeConfig's selector does."""
        process = agent["process"] = f"c{next(self._serial)}"
        agent["told"] = self.node["metadata"]["labels"].get(CILIUM_LABEL) == "true"
        agent["status"] = {"phase": "Running", "conditions": ready(False), "containerStatuses": [{"name": "cilium-agent", "containerID": process}]}
        if not self.down:
            self.clock.later(4, lambda: self._agent_ready(agent, process))

    def _agent_ready(self, agent: dict[str, Any], process: str) -> None:
        if agent["process"] != process or self.down:
            return
        agent["status"]["conditions"] = ready(True)
        if agent["told"] and self.agent_writes:
            self.conflist = "cilium"

    def _goes_down(self) -> None:
        self.down = True
        self._ready(False)

    def _booted(self) -> None:
        self.down = False
        self.boots += 1
        self.cni = self.conflist
        self.node["status"]["nodeInfo"]["bootID"] = f"boot-{self.boots}"
        self._ready(True)
        agent = self.agent()
        self.clock.later(3, lambda: self._start_agent_container(agent))

    def _ready(self, value: bool) -> None:
        self.node["status"]["conditions"] = ready(value)
        self._touch()

    def _touch(self) -> None:
        self.node["metadata"]["resourceVersion"] = str(int(self.node["metadata"]["resourceVersion"]) + 1)

    def _finish(self, created: dict[str, Any]) -> None:
        address = self._address()
        created["status"] = {"phase": "Succeeded", "podIP": address}
        created["log"] = f"ok {address}"
