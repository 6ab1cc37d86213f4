# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The faults that a migration has to survive: how each is made and lifted on the lab, what its user must see, and where the cluster must stand.

``faults.py`` walks this table, and docs/faults.md is written from it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.journey import RUN_SECONDS
from lab import CONTROL_PLANE, WORKER, Failed, Lab, playbook
from processes import execute
from tabular import table

INSTALL = "release | Install or upgrade Cilium"
ROLLOUT = "release | Wait until every agent and the operator run with these values"
DRAIN = "move_node | Cordon and drain the node, label it and restart its Cilium agent"
STOP_KUBELET = "reboot_node | Stop the kubelet, which would call these pods ready again"
REBOOT = "reboot_node | Reboot the node"
PROVE = "move_node | Prove that the node was renewed, and its network"
UNCORDON = "move_node | Uncordon the node"
ENDING = "ending | Read where the cluster stands"
REMOVE = "remove_old | Uninstall Flannel's release"
CLEAN = "clean_node | See what the old network left"

# So that a run which has to fail does so in a minute. The run that follows has the role's own.
SHORT = {"cilium_migration_timeouts": {"api": 30, "drain": 45, "agent": 45, "reboot": 60, "verify": 60}, "cilium_migration_rollout_timeout": 90}
AWAY_SECONDS, LEAD_SECONDS = 60, 3
UNIT = "cni-fault"
BAD_TAG = "ghcr.io/nicolaka/netshoot:no-such-tag"
AGAIN = "run again"


@dataclass
class Scene:
    """Where a fault is made: the lab, a folder, and what another user than the run's own saw, if there is one."""

    lab: Lab
    folder: Path
    seen: str = ""


Act = Callable[[Scene], None]


def nothing(_scene: Scene) -> None:
    """Nothing has to be done."""


@dataclass(frozen=True)
class Fault:
    """A fault. It is made when ``task`` starts for the first time, or, where that is empty, by the ``variables`` of the run alone.

    ``sees`` is what the run's log must show, a regular expression over its words with single spaces between them. The run must fail or, where
    ``survives``, come to its end. Then the fault is lifted, and the worker must be in one of ``states`` and, unless that is None, ``cordoned`` or not.
    ``limit`` is the run's; with ``back`` the worker is taken back to Flannel before the migration is run again. The other texts are for the documentation.
    """

    name: str
    title: str
    made: str
    told: str
    stands: str
    then: str
    sees: str
    states: tuple[str, ...]
    cordoned: bool | None
    task: str = ""
    make: Act = nothing
    lift: Act = nothing
    variables: Callable[[Lab], Mapping[str, Any]] = field(default=lambda _lab: {})
    survives: bool = False
    limit: str = WORKER
    back: bool = False


def briefly(**more: Any) -> Callable[[Lab], Mapping[str, Any]]:
    """Short timeouts, and ``more`` variables."""
    return lambda _lab: {**SHORT, **more}


# -- power


def power_cut(node: str) -> Act:
    """Ends a machine as a power cut does."""
    return lambda scene: scene.lab.power_off(node)


def power_back(scene: Scene) -> None:
    """Starts the machines that do not run."""
    scene.lab.power_on()


def stop_supervisor(scene: Scene) -> None:
    """Keeps the worker's machine from being started again when it goes down for its reboot."""
    os.kill(_supervisor(scene), signal.SIGSTOP)


def start_supervisor(scene: Scene) -> None:
    """Lets the machine be started, and waits for it."""
    os.kill(_supervisor(scene), signal.SIGCONT)
    scene.lab.power_on()


def _supervisor(scene: Scene) -> int:
    return int((scene.lab.machine_folder(WORKER) / "supervisor.pid").read_text(encoding="utf-8"))


# -- for a while, inside a machine; the machine itself sees to its end, whatever becomes of the test


def for_a_while(node: str, do: str, undo: str) -> Act:
    """Does something on a machine that lasts as long as the command does, then undoes it. Neither command may contain a single quote."""
    command = f"systemd-run --quiet --collect --unit={UNIT} --property='ExecStopPost=/bin/sh -c \"{undo}\"' /bin/sh -c '{do}'"

    def make(scene: Scene) -> None:
        scene.lab.on(node, command)

    return make


def over(node: str) -> Act:
    """Waits until it is undone. The machine may be out of reach meanwhile."""

    def wait(scene: Scene) -> None:
        deadline = time.monotonic() + 2 * AWAY_SECONDS
        while True:
            with contextlib.suppress(Failed):
                scene.lab.on(node, f"while systemctl --quiet is-active {UNIT}; do sleep 1; done; sleep 1")
                return
            if time.monotonic() > deadline:
                raise Failed(f"what was done to {node} is not undone")

    return wait


API_MANIFEST, PUT_ASIDE = "/etc/kubernetes/manifests/kube-apiserver.yaml", "/etc/kubernetes/kube-apiserver.yaml"
api_away = for_a_while(CONTROL_PLANE, f"mv {API_MANIFEST} {PUT_ASIDE}; sleep {AWAY_SECONDS}", f"mv {PUT_ASIDE} {API_MANIFEST}")
# Three quarters of the time it stands still. The names of processes are those of the machine alone.
etcd_slow = for_a_while(
    CONTROL_PLANE, f"for pulse in $(seq {AWAY_SECONDS // 2}); do pkill -STOP -x etcd; sleep 1.5; pkill -CONT -x etcd; sleep 0.5; done", "pkill -CONT -x etcd"
)
_port_closed = for_a_while(
    WORKER,
    # The connection that asks for it must come to its end.
    f"sleep {LEAD_SECONDS}; nft add table inet cni_fault; nft add chain inet cni_fault input {{ type filter hook input priority -300\\; }}; "
    f"nft add rule inet cni_fault input tcp dport 22 drop; sleep {AWAY_SECONDS}",
    "nft delete table inet cni_fault",
)


def ssh_silent(scene: Scene) -> None:
    """Nothing that is sent to the SSH server of the worker arrives, on old connections neither."""
    _port_closed(scene)
    time.sleep(2 * LEAD_SECONDS)


# -- what is full, closed or taken


def fill_run(scene: Scene) -> None:
    """Leaves no room for another file in /run, where the container runtime keeps what belongs to a container: filling the disk would fill the host's.

    Not before the node's agent has started since the reboot, which takes files there, too.
    """
    scene.lab.on(WORKER, "for try in $(seq 50); do curl --silent --fail --header 'brief: true' http://127.0.0.1:9879/healthz && break; sleep 1; done")
    scene.lab.on(WORKER, "mount -o remount,nr_inodes=$(df --output=iused /run | tail -n 1 | tr -d ' ') /run")


def empty_run(scene: Scene) -> None:
    """There is room again."""
    scene.lab.on(WORKER, "mount -o remount,nr_inodes=800k /run")


def close_budget(scene: Scene) -> None:
    """From now on no pod of the sample application may go."""
    _patch_budget(scene, '{"spec": {"minAvailable": null, "maxUnavailable": 0}}')


def open_budget(scene: Scene) -> None:
    """As the sample application has it."""
    _patch_budget(scene, '{"spec": {"minAvailable": 1, "maxUnavailable": null}}')


def _patch_budget(scene: Scene, patch: str) -> None:
    scene.lab.kubectl("--namespace", "default", "patch", "poddisruptionbudget", "webpod", "--type", "merge", "--patch", patch)


def second_operator(scene: Scene) -> None:
    """Runs the migration a second time while the first run is held, and keeps what the second user sees."""
    log = scene.folder / "second.log"
    command = playbook("migrate.yml", cilium_migration_evidence_dir=str(scene.folder / "second-evidence"))
    env = {"CNI_MIGRATION_TIMELINE": str(scene.folder / "second-timeline.jsonl")}
    status, _began, _ended = execute(command, log, seconds=RUN_SECONDS, env=env)
    scene.seen = f"{log.read_text(encoding='utf-8', errors='replace')}\nexit {status}\n"


def bad_routing_cidr(lab: Lab) -> Mapping[str, Any]:
    """A value with which an agent ends as soon as it has read it, beside those that the lab needs."""
    return {"cilium_migration_values_extra": {**lab.settings["values_extra"], "ipv4NativeRoutingCIDR": "nonsense"}}


def _cut(phase: str, title: str, task: str, *, told: str, stands: str, sees: str, states: tuple[str, ...], cordoned: bool | None, **more: Any) -> Fault:
    return Fault(
        f"power_cut_{phase}",
        f"A node loses its power {title}",
        "`machine.sh kill` on k8s-w1",
        told,
        stands,
        more.pop("then", f"Bring the node up, {AGAIN}"),
        sees,
        states,
        cordoned,
        task,
        power_cut(WORKER),
        power_back,
        briefly(),
        **more,
    )


FAULTS = (
    _cut(
        "install",
        "while Cilium is installed",
        INSTALL,
        told="After `cilium_migration_rollout_timeout` the pods that are not ready, each with its node",
        stands="Every node on Flannel; the other nodes have an agent already",
        sees=r"Cilium is not rolled out: DaemonSet cilium is not rolled out .*\(on k8s-w1\)",
        states=("flannel",),
        cordoned=False,
    ),
    _cut(
        "drain",
        "before it is drained and its agent restarted",
        DRAIN,
        told="After `cilium_migration_timeouts.agent` the node, the step and the pods that do not end",
        stands="The node cordoned, in state `switching`: labelled for Cilium; its pods have others in their place as far as these may run elsewhere",
        sees=r"node k8s-w1, step (restart_agent: pods still terminating|drain: evictions refused)",
        states=("draining", "switching"),
        cordoned=True,
    ),
    _cut(
        "reboot",
        "just before its reboot",
        REBOOT,
        told="Ansible's `UNREACHABLE!` for the node, at the task that reboots it",
        stands="The node cordoned and empty, in state `switched`. Its next boot is the reboot",
        sees=r"fatal: \[k8s-w1\]: UNREACHABLE!|Node k8s-w1, step reboot: ",
        states=("switched",),
        cordoned=True,
    ),
    _cut(
        "verify",
        "while it is verified",
        PROVE,
        told="After `cilium_migration_timeouts.reboot` and `.verify` the node, the step and what was missing",
        stands="The node cordoned and empty, in state `switched`",
        sees=r"node k8s-w1, step (prove_reboot|verify): ",
        states=("switched",),
        cordoned=True,
    ),
    _cut(
        "uncordon",
        "when it is given back",
        UNCORDON,
        told="Nothing stops the run: the node is moved. The monitor's verdict is `lost` or `unknown`",
        stands="The node in state `migrated`, on Cilium when it is back",
        then="Bring the node up",
        sees=r"Verdict: (lost|unknown)",
        states=("migrated",),
        cordoned=False,
        survives=True,
    ),
    _cut(
        "ending",
        "before the final values",
        ENDING,
        told="After `cilium_migration_rollout_timeout` the pods that are not ready, each with its node",
        stands="Every node on Cilium; kube-proxy and Flannel are still there",
        sees=r"Cilium is not rolled out: DaemonSet cilium is not rolled out .*k8s-w1",
        states=("migrated",),
        cordoned=False,
        limit="",
    ),
    _cut(
        "remove_old",
        "while kube-proxy and Flannel are removed",
        REMOVE,
        told="What could not be deleted, and that the pods of a node that is away stay",
        stands="Every node on Cilium, which does all the work; the objects of the old network are about to go",
        sees=r"Not all of Flannel and kube-proxy is gone|fatal: \[k8s-w1\]: UNREACHABLE!",
        states=("migrated",),
        cordoned=False,
        limit="",
    ),
    _cut(
        "clean",
        "before it is cleaned",
        CLEAN,
        told="Ansible's `UNREACHABLE!` for the node, at the task that looks for what is left",
        stands="Every node on Cilium, kube-proxy and Flannel gone; links, files and rules are left on the nodes",
        sees=r"fatal: \[k8s-w1\]: UNREACHABLE!",
        states=("migrated",),
        cordoned=False,
        limit="",
    ),
    Fault(
        "power_cut_control_plane",
        "The only control plane node loses its power while a worker is drained",
        "`machine.sh kill` on k8s-ctr",
        "After `cilium_migration_timeouts.api` or `.drain` the node, the step, and that the API server does not answer",
        "The worker as far as it was; the pods on all nodes go on",
        f"Bring the control plane up, {AGAIN}",
        r"node k8s-w1, step (plan|cordon|drain): .*the API server does not answer",
        ("flannel", "draining", "drained"),
        None,
        DRAIN,
        power_cut(CONTROL_PLANE),
        power_back,
        briefly(),
    ),
    Fault(
        "api_away_drain",
        "The API server is away for a minute while a node is drained",
        "Its static pod's manifest is put aside for 60 s",
        "Nothing: the run waits, by default up to `cilium_migration_timeouts.api` (120 s) in a request that waits for nothing else",
        "As without it",
        "Nothing. Longer than that it is an error that names node and step: run again",
        "",
        ("migrated",),
        False,
        DRAIN,
        api_away,
        over(CONTROL_PLANE),
        survives=True,
    ),
    Fault(
        "api_away_rollout",
        "The API server is away for a minute while Cilium is rolled out",
        "Its static pod's manifest is put aside for 60 s",
        "Nothing: the run waits, up to `cilium_migration_rollout_timeout`",
        "As without it",
        "Nothing. Where Helm itself finds no API server, it says so: run again, an unfinished revision is dropped",
        "",
        ("migrated",),
        False,
        ROLLOUT,
        api_away,
        over(CONTROL_PLANE),
        survives=True,
    ),
    Fault(
        "etcd_slow",
        "etcd is slow",
        "It is stopped for 1.5 s out of every 2 s, for a minute",
        "Nothing but a longer run",
        "As without it",
        "Nothing",
        "",
        ("migrated",),
        False,
        DRAIN,
        etcd_slow,
        over(CONTROL_PLANE),
        survives=True,
    ),
    Fault(
        "agent_crashes",
        "Cilium's agents crash",
        "`ipv4NativeRoutingCIDR: nonsense` in `cilium_migration_values_extra`",
        "When a container has ended five times, after one to two minutes: its pod, its node, its exit code and its last words",
        "Every node on Flannel, which serves as before",
        f"Mend the values, {AGAIN}; or `helm uninstall --namespace kube-system cilium`",
        r"Cilium is not rolled out: container cilium-agent of pod cilium-\w+ on k8s-\w+ was started \d+ times and ended each time; the last time: ",
        ("flannel",),
        False,
        variables=bad_routing_cidr,
    ),
    Fault(
        "image_missing",
        "An image cannot be pulled",
        f"`cilium_migration_verify_image: {BAD_TAG}`",
        "When a kubelet has tried for 40 s: the node, the step, the pod, the image and the registry's answer; where the preflight sees it, before anything is "
        "changed",
        "The node cordoned and empty, in state `switched`, on Cilium already; or untouched",
        f"Name an image that can be had, {AGAIN}",
        rf"(has no image: )?{BAD_TAG}",
        ("flannel", "switched"),
        None,
        variables=lambda _lab: {"cilium_migration_verify_image": BAD_TAG},
    ),
    Fault(
        "disk_full",
        "A node's disk is full",
        "No more files may be made in the machine's /run, where the runtime keeps its containers",
        "After `cilium_migration_timeouts.verify` the node, the step and the kubelet's words, `no space left on device`",
        "The node cordoned and empty, in state `switched`",
        f"Make room, {AGAIN}",
        r"node k8s-w1, step (prove_reboot|verify): .*no space left on device",
        ("switched",),
        True,
        PROVE,
        fill_run,
        empty_run,
        briefly(),
    ),
    Fault(
        "ssh_hangs",
        "An SSH connection hangs",
        "All packets to the node's port 22 are dropped for a minute",
        "After 15 s Ansible's `UNREACHABLE!` for the node, if `ServerAliveInterval` is set as in `inventories/example`",
        "The node cordoned and empty, in state `switched`: it was to be rebooted next",
        f"Find out why, {AGAIN}",
        r"fatal: \[k8s-w1\]: UNREACHABLE!",
        ("switched",),
        True,
        STOP_KUBELET,
        ssh_silent,
        over(WORKER),
    ),
    Fault(
        "never_back",
        "A node does not come back from its reboot",
        "What starts the machine again is stopped",
        "After `cilium_migration_reboot_timeout` the node, the step and what to do",
        "The node cordoned and empty, in state `switched`; the others serve",
        f"Look at its console and start it, {AGAIN}. If it is lost for good, delete its Node, take it out of the inventory, and run again for the others",
        r"Node k8s-w1, step reboot: .*[Tt]imed out.*Look at its console",
        ("switched",),
        True,
        REBOOT,
        stop_supervisor,
        start_supervisor,
        briefly(cilium_migration_reboot_timeout=60),
    ),
    Fault(
        "eviction_refused",
        "An eviction never succeeds",
        "After the preflight, a disruption budget is set to let no pod go",
        "After `cilium_migration_timeouts.drain` the node, the step, the pod and the API server's answer; `blocked_by` names the budgets",
        "The node cordoned, in state `draining`; what could leave it has left",
        f"Let the budget allow it, {AGAIN}; or `rollback.yml --limit NODE`, which only uncordons the node",
        r"node k8s-w1, step drain: evictions refused \(default/webpod-[^:]+: Cannot evict pod as it would violate the pod's disruption budget",
        ("draining",),
        True,
        DRAIN,
        close_budget,
        open_budget,
        briefly(),
        back=True,
    ),
    Fault(
        "second_operator",
        "A second operator runs the migration at the same time",
        "`migrate.yml` is run while another run of it drains a node",
        "The second one: who runs it, since when, and that nothing was changed. The first one: nothing",
        "As without the second one",
        "Wait for the first one",
        r"Another run is changing this cluster: .* holds the Lease .*exit [1-9]",
        ("migrated",),
        False,
        DRAIN,
        second_operator,
        survives=True,
    ),
)


def document() -> str:
    """The faults as docs/faults.md has them."""
    rows = [[fault.title, fault.made, fault.told, fault.stands, fault.then, f"`{fault.name}`"] for fault in FAULTS]
    return "\n".join(table(["what happens", "how the test makes it", "what you see", "where the cluster stands", "what to do", "test"], rows, left=6))
