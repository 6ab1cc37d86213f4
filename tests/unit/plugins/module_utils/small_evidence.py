# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence of a very small migration, for the tests of the report."""

from __future__ import annotations

from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils.report_model import Evidence

BEGAN = 1768642212.0  # 2026-01-17T09:30:12Z
PATH = "pod/pod-other/new/flannel>cilium"


def rules(owner: str, number: int | None) -> dict[str, Any]:
    return {"nft": {"ipv4": {"nat": {owner: {"chains": 1, "rules": number}}}}}


def node(name: str = "w1", **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "state": "migrated",
        "cni": "cilium",
        "times": {"started": "2026-01-17T09:30:20Z", "cordoned": "2026-01-17T09:30:22Z", "finished": "2026-01-17T09:31:20Z", "drain_s": 8.2},
        "before": {
            "rules": {"removed": rules("kube_proxy", 47), "kept": rules("foreign", 2)},
            "links": ["lo", "cni0"],
            "routes": {"cni0": 1},
            "pods": {"flannel": ["default/a 10.244.0.2"], "cilium": []},
        },
        "after": {
            "rules": {"removed": rules("kube_proxy", 47), "kept": rules("foreign", 3)},
            "links": ["lo"],
            "routes": {},
            "pods": {"cilium": ["default/a 10.245.0.2"]},
            "purge_seconds": 0.25,
            "residue": [],
        },
        "decisions": [{"check": "dns", "level": "warning", "node": "", "fact": "one replica", "advice": "it is spread"}],
        **changes,
    }


def summary(**changes: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "started": "2026-01-17T09:30:12Z",
        "finished": "2026-01-17T09:37:21Z",
        "seconds": 429.0,
        "nodes": [],
        "rules": {"w1": {"before": 49, "after": 3, "purge_seconds": 0.25}},
        "residue": {"w1": []},
        "verdict": "migrated",
        **changes,
    }


def series(paths: dict[str, tuple[list[int], list[int], list[int], list[float]]]) -> dict[str, Any]:
    """A series from the columns of each kind of path: requests, failed, late and the slowest."""
    return {"start": int(BEGAN), "paths": {kind: dict(zip(("requests", "failed", "late", "worst_ms"), columns)) for kind, columns in paths.items()}}


def prober(**changes: Any) -> dict[str, Any]:
    seen = {"incarnations": 2, "seconds": 400.5, "holes": [], "cpu_percent": 1.31, "max_lag_ms": 31.5, "answers": True}
    return {"node": "w1", "kind": "pod", **seen, **changes}


def gap(start: float, net_ms: float, **changes: Any) -> dict[str, Any]:
    where = {"path": PATH, "source": "w2", "target": "w1", "task": "", "host": ""}
    return {"t": BEGAN + start, "end": BEGAN + start + net_ms / 1000, "ms": net_ms + 20, "net_ms": net_ms, **where, **changes}


def absence(**changes: Any) -> dict[str, Any]:
    shares = [{"what": "machine", "seconds": 9.2}, {"what": "kubelet", "seconds": 6.1}, {"what": "etcd", "seconds": 0.0}, {"what": "apiserver", "seconds": 5.2}]
    return {"start": BEGAN + 30, "end": BEGAN + 50.5, "ms": 20500.0, "node": "w1", "shares": shares, **changes}


def disruption(**changes: Any) -> dict[str, Any]:
    return {
        "requests": 123456,
        "failed": 0,
        "excused": 7,
        "late": 1,
        "max_gap_ms": 120.0,
        "max_lag_ms": 31.5,
        "by_path": {PATH: {"requests": 123456, "failed": 0, "excused": 7, "p50_ms": 0.4, "p99_ms": 9.5, "max_ms": 300.0, "max_gap_ms": 120.0}},
        "gaps": [],
        "failures": [],
        "series": series({"pod/pod-other": ([600] * 60, [0] * 60, [0, 0, 0, 1] + [0] * 56, [4.5] * 60)}),
        "probers": [prober()],
        "api_server": {"requests": 900, "failed": 0, "longest_silence_ms": 21500.0, "absence": absence()},
        "verdict": "ok",
        "reasons": [],
        **changes,
    }


def record(start: float, end: float, phase: str, host: str = "w1", **changes: Any) -> dict[str, Any]:
    return {"run": BEGAN, "task": f"a task of {phase}", "phase": phase, "host": host, "start": BEGAN + start, "end": BEGAN + end, "status": "ok", **changes}


def evidence(**changes: Any) -> Evidence:
    """All of it, unless a part is given."""
    records = [record(0, 10, "prepare"), record(11, 20, "drain", work=8.0), record(21, 60, "reboot", work=39.0)]
    return Evidence(**{"summary": summary(), "nodes": [node()], "disruption": disruption(), "records": records, **changes})
