# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An evidence folder as a migration of three nodes in seven minutes leaves it, made up, the same each time.

``python made_up.py FOLDER`` writes one.
"""

from __future__ import annotations

import json
import random
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

BEGAN = 1768642212.0  # 2026-01-17T09:30:12Z
WORKERS = ("k8s-w1", "k8s-w2")
NODES = ("k8s-ctr", *WORKERS)
PER_SECOND = 592
HOSTILE = "<script>alert(1)</script>"
"""A name that no cluster allows, but that must do no harm."""

ROLE = "netops.cni_migration."
MOVE = (
    ("node | Read where the node stands", f"{ROLE}cni_migration_info", "record", 1.4, None),
    ("move_node | Cordon and drain the node, label it and restart its Cilium agent", f"{ROLE}cni_migrate_node", "drain", 11.3, 10.1),
    ("move_node | Cordon and drain the node, label it and restart its Cilium agent", f"{ROLE}cni_migrate_node", "switch", 9.2, 8.3),
    ("reboot_node | Take what is left on the node out of its Services", f"{ROLE}cni_withdraw_endpoints", "reboot", 3.1, None),
    ("reboot_node | Reboot the node", "ansible.builtin.reboot", "reboot", 24.6, 24.0),
    ("move_node | Prove that the node was renewed, and its network", f"{ROLE}cni_migrate_node", "verify", 17.8, 16.9),
    ("move_node | Uncordon the node", f"{ROLE}cni_migrate_node", "uncordon", 2.1, 0.4),
)
COLLECT = (("collect | Read and judge the logs", f"{ROLE}disruption_info", "monitor", 3.2, None),)
PREPARE = (
    ("preflight | Read the network of the node", f"{ROLE}cni_node_info", "preflight", 1.1, None),
    ("preflight | Compare with what the cluster uses", f"{ROLE}cni_preflight_info", "preflight", 2.0, None),
    ("start | Apply the manifests of the probers", "kubernetes.core.k8s", "monitor", 6.5, None),
    ("record_before | Record it on the node", "kubernetes.core.k8s", "prepare", 1.2, None),
    ("release | Install or upgrade Cilium", "kubernetes.core.helm", "prepare", 5.2, None),
    ("release | Wait until every agent and the operator run with these values", "kubernetes.core.k8s_info", "prepare", 38.0, None),
    ("node_config | Create the CiliumNodeConfigs", "kubernetes.core.k8s", "prepare", 1.5, None),
)
ENDING = (
    ("release | Install or upgrade Cilium", "kubernetes.core.helm", "ending", 4.0, None),
    ("release | Wait until every agent and the operator run with these values", "kubernetes.core.k8s_info", "ending", 71.0, None),
    ("remove_old | Uninstall Flannel's release", "kubernetes.core.helm", "remove old", 2.7, None),
    ("remove_old | Delete kube-proxy and the CiliumNodeConfigs", "kubernetes.core.k8s", "remove old", 5.4, None),
)
CLEAN = (
    ("clean_node | Delete its links", "ansible.builtin.command", "clean", 1.2, 0.1),
    ("clean_node | Purge its rules", f"{ROLE}iptables_purge", "clean", 3.4, 0.6),
)


def stamp(moment: float) -> str:
    """A moment as the evidence writes it."""
    return datetime.fromtimestamp(moment, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def course() -> list[dict[str, Any]]:
    """The records of the tasks."""
    records: list[dict[str, Any]] = []
    now = BEGAN

    def run(tasks: tuple[Any, ...], hosts: tuple[str, ...], play: str, stretch: float = 1.0) -> None:
        nonlocal now
        for task, action, phase, length, work in tasks:
            took = length * stretch
            for place, host in enumerate(hosts):
                end = now + took * (1 - 0.1 * place)
                mine = None if work is None else round(work * stretch * (1 - 0.1 * place), 3)
                record = {"run": BEGAN, "play": play, "task": task, "action": action, "phase": phase, "host": host, "delegate": None}
                records.append({**record, "start": round(now, 3), "end": round(end, 3), "work": mine, "status": "changed"})
            now += took + 0.35

    run(PREPARE, NODES[:1], "Check the cluster and put Cilium beside Flannel")
    for node, stretch in zip((*WORKERS, NODES[0]), (1.0, 0.94, 1.32)):
        run(MOVE, (node,), "Move the node", stretch)
        run(COLLECT, (node,), "Move the node")
    run(ENDING, NODES[:1], "Leave the old network behind")
    run(CLEAN, NODES, "Leave the old network behind")
    return records


def counts(kube_proxy: int, flannel: int) -> dict[str, Any]:
    """Counts as iptables_purge gives them."""
    nat = {"kube_proxy": {"chains": kube_proxy // 3, "rules": kube_proxy}, "flannel": {"chains": 1, "rules": flannel}}
    return {"nft": {"ipv4": {"nat": nat, "filter": {"kube_proxy": {"chains": 7, "rules": 16}}}, "ipv6": {"nat": {"kube_proxy": {"chains": 5, "rules": 4}}}}}


def kept(foreign: int) -> dict[str, Any]:
    """Counts of what stays."""
    mangle = {"kubelet": {"chains": 2, "rules": 0}}
    return {"nft": {"ipv4": {"filter": {"foreign": {"chains": 3, "rules": foreign}, "kubelet": {"chains": 2, "rules": 3}}, "mangle": mangle}}}


def node_file(name: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    """What ``nodes/<name>.json`` holds."""
    mine = [record for record in records if record["host"] == name and record["play"] == "Move the node" and record["phase"] != "monitor"]
    took = {record["phase"]: record["end"] - record["start"] for record in mine}
    dns = {"check": "dns", "fact": "both replicas of cluster DNS run on k8s-ctr", "advice": "they are spread before a node is drained"}
    single = {"check": "replicas", "fact": f"Deployment shop/{HOSTILE} has one replica", "advice": "it is away while it moves"}
    decisions = [{**finding, "level": "warning", "node": ""} for finding in (dns, single)]
    if name == "k8s-w1":
        decisions.append({"check": "mtu", "level": "warning", "node": name, "fact": "eth1 has an MTU of 1500, flannel.1 of 1450", "advice": "none needed"})
    return {
        "name": name,
        "state": "migrated",
        "cni": "cilium",
        "times": {
            "started": stamp(mine[0]["start"]),
            "cordoned": stamp(mine[1]["start"]),
            "left": stamp(mine[3]["start"]),
            "finished": stamp(mine[-1]["end"]),
            "drain_s": round(took["drain"], 1),
            "reboot_s": round(took["reboot"], 1),
            "verify_s": round(took["verify"], 1),
        },
        "before": {
            "rules": {"removed": counts(61 if name == "k8s-ctr" else 47, 7), "kept": kept(2)},
            "links": ["lo", "eth0", "eth1", "flannel.1", "cni0"],
            "routes": {"cni0": 1, "eth0": 1, "eth1": 1, "flannel.1": 2},
            "pods": {"flannel": [f"default/webpod-{name} 10.244.1.4", "kube-system/coredns-7c65 10.244.1.2"], "cilium": [], "other": []},
        },
        "after": {
            "rules": {"removed": counts(61 if name == "k8s-ctr" else 47, 7), "kept": kept(9)},
            "links": ["lo", "eth0", "eth1", "cilium_net", "cilium_host", HOSTILE],
            "routes": {"cilium_host": 2, "eth0": 1, "eth1": 3},
            "pods": {"flannel": [], "cilium": [f"default/webpod-{name} 10.245.1.4", "kube-system/coredns-7c65 10.245.1.2"], "other": []},
            "purge_seconds": 0.61,
            "residue": [],
        },
        "decisions": decisions,
    }


BOTH = ("flannel>flannel", "flannel>cilium", "cilium>flannel", "cilium>cilium")
SAME = ("flannel>flannel", "cilium>cilium")
SERVICE = ("flannel>service", "cilium>service")
DESTINATIONS = (
    ("pod-same", 0.4, SAME),
    ("pod-other", 0.7, BOTH),
    ("cluster-ip", 0.8, SERVICE),
    ("node-port", 0.8, SERVICE),
    ("dns", 0.6, SERVICE),
    ("api-server", 1.2, ("flannel>api-server", "cilium>api-server")),
)


def paths(chance: random.Random) -> dict[str, dict[str, Any]]:
    """Each path with its figures."""
    found = {}
    for source in ("pod", "host"):
        for destination, base, ends in DESTINATIONS:
            for connection in ("new", "reused"):
                for cnis in ends:
                    p50 = base * (1.6 if connection == "new" else 1) * chance.uniform(0.9, 1.2)
                    slowest = chance.choice((35, 60, 90, 140)) * chance.uniform(0.6, 1.5)
                    key = f"{source}/{destination}/{connection}/{cnis}"
                    found[key] = {"requests": 0, "failed": 0, "excused": 0, "p50_ms": round(p50, 2), "p99_ms": round(p50 * chance.uniform(6, 30), 2)}
                    found[key].update(max_ms=round(slowest, 1), max_gap_ms=round(slowest * 0.9, 1))
    return found


def absence(records: list[dict[str, Any]]) -> dict[str, Any]:
    """How long the API server was silent while its node rebooted, and what of it was whose."""
    reboot = next(record for record in records if record["host"] == NODES[0] and record["task"].endswith("Reboot the node"))
    shares = {"machine": 7.12, "kubelet": 4.0, "etcd": 2.0, "apiserver": 8.36}
    span = {"start": reboot["start"] + 2.88, "end": reboot["start"] + 24.36, "ms": 21480.0}
    return {**span, "node": NODES[0], "shares": [{"what": what, "seconds": seconds} for what, seconds in shares.items()]}


def disruption(records: list[dict[str, Any]], failed: int) -> dict[str, Any]:
    """What the monitor measured, with ``failed`` lost requests."""
    chance = random.Random(5)
    by_path = paths(chance)
    end = records[-1]["end"]
    starting = [(record["start"], record["end"]) for record in records if "agent" in record["task"]]
    series: dict[str, list[Any]] = {"requests": [], "failed": [], "late": [], "worst_ms": []}
    first = int(BEGAN) + 12
    for second in range(first, int(end)):
        busy = any(start <= second <= finish for start, finish in starting)
        worst = chance.lognormvariate(3.6 if busy else 2.4, 0.6)
        series["requests"].append(PER_SECOND + chance.randint(-18, 6) - (90 if busy else 0))
        series["late"].append(int(busy and chance.random() < 0.05))
        series["failed"].append(0)
        series["worst_ms"].append(round(worst, 1))
    gaps, failures = [], []
    for share, path, source, target in (
        (0.42, "pod/pod-other/new/flannel>cilium", "k8s-ctr", "k8s-w1"),
        (0.86, "pod/cluster-ip/new/cilium>service", "k8s-w2", ""),
    ):
        start = BEGAN + share * (end - BEGAN) + 0.37
        length = 412 if failed else 180
        by_path[path]["max_gap_ms"] = float(length)
        if failed:
            record = next(each for each in records if each["end"] >= start)
            told = {"task": record["task"], "host": record["host"]}
            gap = {"t": start, "end": start + length / 1000, "path": path, "source": source, "target": target, "ms": length + 14.2, "net_ms": float(length)}
            gaps.append({**gap, **told})
    for number in range(failed):
        second = len(series["failed"]) * 42 // 100 + number // 4
        series["failed"][second] += 1
        where = {"path": "pod/pod-other/new/flannel>cilium", "source": "k8s-ctr", "target": "k8s-w1"}
        failures.append({"t": first + second, **where, "error": "timeout", "ms": 2000.0, "excused": None})
    by_path["pod/pod-other/new/flannel>cilium"]["failed"] = failed
    for number in range(310):
        kind = chance.choice(("pod/pod-other/new/cilium>cilium", "host/node-port/new/cilium>service"))
        by_path[kind]["excused"] += 1
        reason = "target away"
        failures.append({"t": BEGAN + number, "path": kind, "source": "k8s-ctr", "target": "k8s-w1", "error": "timeout", "ms": 2000.0, "excused": reason})
    requests = sum(series["requests"])
    api_server = {"requests": 8123, "failed": 0, "excused": 402, "late": 3, "max_gap_ms": 96.0, "longest_silence_ms": 21480.0}
    seen = {"incarnations": 2, "seconds": round(end - first, 1), "holes": [], "cpu_percent": 1.31, "max_lag_ms": 38.4, "answers": True}
    for values in by_path.values():
        values["requests"] = requests // len(by_path)
    return {
        "requests": requests,
        "failed": failed,
        "excused": 310,
        "late": sum(series["late"]),
        "max_gap_ms": 412.0 if failed else 180.0,
        "max_lag_ms": 38.4,
        "by_path": by_path,
        "gaps": gaps,
        "failures": failures,
        "series": {"start": first, "paths": {"pod/pod-other": series}},
        "probers": [{"node": node, "kind": kind, **seen} for node in NODES for kind in ("host", "pod", "target")],
        "api_server": {**api_server, "absence": absence(records)},
        "verdict": "lost" if failed else "ok",
        "reasons": [f"{failed} requests between pods failed"] if failed else [],
    }


def write(folder: Path, *, failed: int = 0, monitored: bool = True, timed: bool = True) -> None:
    """Write the folder, on wish without the monitor or the tasks."""
    records = course()
    nodes = [node_file(name, records) for name in NODES]
    (folder / "nodes").mkdir(parents=True, exist_ok=True)
    for node in nodes:
        (folder / "nodes" / f"{node['name']}.json").write_text(json.dumps(node, indent=4), encoding="utf-8")
    end = records[-1]["end"]
    summary = {
        "schema": 1,
        "started": stamp(BEGAN),
        "finished": stamp(end),
        "seconds": round(end - BEGAN, 0),
        "nodes": [],
        "rules": {node["name"]: {"before": 79 + (14 if node["name"] == "k8s-ctr" else 0), "after": 12, "purge_seconds": 0.61} for node in nodes},
        "residue": {name: [] for name in NODES},
        "verdict": "migrated",
    }
    (folder / "summary.json").write_text(json.dumps(summary, indent=4), encoding="utf-8")
    if monitored:
        (folder / "disruption.json").write_text(json.dumps(disruption(records, failed)), encoding="utf-8")
    if timed:
        (folder / "timeline.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]), failed=int(sys.argv[2]) if len(sys.argv) > 2 else 0)
