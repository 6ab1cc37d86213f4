#!/usr/bin/python
# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: disruption_info
short_description: Read what the disruption monitor has seen
version_added: "1.0.0"
description:
  - Reads from the probers of the role P(netops.cni_migration.disruption_monitor#role) how many requests they made, which of them
    failed and how long a path was silent.
  - Says of each failure and each gap whether a node that was away excuses it, and which task of Ansible ran then.
  - Runs on the controller, reads through the API server, and changes nothing. A node that does not answer is told of.
author:
  - netops.cni_migration authors (@netops)
extends_documentation_fragment:
  - netops.cni_migration.cluster
  - netops.cni_migration.reading
options:
  pod_cidr:
    description: Cilium's pod CIDR, by which the probers' addresses tell their CNI.
    type: str
    required: true
  namespace:
    description: The namespace of the monitor.
    type: str
    default: cni-migration-monitor
  detail:
    description:
      - V(totals) reads the probers' counters, with nothing excused; V(full) reads and judges their logs.
    type: str
    choices: [totals, full]
    default: full
  away:
    description:
      - By node, the windows in which it was being rebooted or its pods were being replaced, each as two times in seconds since the
        epoch. The end of the last one may be V(null) while it lasts.
    type: dict
    default: {}
  timeline:
    description:
      - The tasks of Ansible, each with C(task), C(host), C(start) and C(end), times in seconds since the epoch.
    type: list
    elements: dict
    default: []
  timeout:
    description: How long to wait for a prober that does not answer, in seconds. An API server that is away is waited for 120 seconds.
    type: float
    default: 30
seealso:
  - module: netops.cni_migration.cni_migration_info
"""

EXAMPLES = r"""
- name: See how many requests failed so far
  netops.cni_migration.disruption_info:
    pod_cidr: 10.245.0.0/16
    detail: totals
  delegate_to: localhost
  run_once: true
  register: so_far

- name: Judge the whole run
  netops.cni_migration.disruption_info:
    pod_cidr: 10.245.0.0/16
    away:
      worker-1: [[1767609000.0, 1767609042.5]]
  delegate_to: localhost
  run_once: true
  register: disruption
"""

RETURN = r"""
requests:
  description:
    - The requests that were answered or failed, without those to the API server. How many failed is told by path only, since Ansible
      takes a key of that name for the state of the task.
  returned: always
  type: int
late:
  description: Those that were answered late, after more than 250 ms.
  returned: always
  type: int
max_gap_ms:
  description:
    - The longest time in which a path gave no answer. With O(detail=full), without the time that is excused or in which a prober
      itself stood still.
  returned: always
  type: float
paths:
  description: By path, the figures above and how many requests failed.
  returned: when O(detail=totals)
  type: dict
  sample: {"pod/pod-other/new": {"requests": 1203, "failed": 0, "late": 0, "max_gap_ms": 52.1}}
waiting_for:
  description: What has not reported yet, or is not answered yet. Empty once every path of every node was.
  returned: when O(detail=totals)
  type: list
  elements: str
silent:
  description: By node that could not be asked, why.
  returned: always
  type: dict
excused:
  description: The failed requests that something excuses.
  returned: when O(detail=full)
  type: int
max_lag_ms:
  description: The longest time for which a prober was kept from running.
  returned: when O(detail=full)
  type: float
api_server:
  description:
    - The requests to the API server. Only the absence of a node of the control plane, or of their source, excuses them.
    - C(longest_silence_ms) counts that time, too. C(gaps) are those that nothing excuses; they are no part of the verdict, since how long
      a request takes there is up to the API server.
    - C(absence) is the longest silence of more than a second that was seen from a node which was not away itself, V(null) when there was
      none. C(start), C(answered) and C(end) are in seconds since the epoch, C(ms) is its length, C(node) the node of the control plane that was away
      then, V(null) when none was.
    - Its C(shares) say in C(seconds) what took so long, in their order, and add up to it. C(machine) lasts until the kubelet of that node
      started, C(kubelet) until its container of etcd did, C(etcd) until that of the API server did, C(apiserver) until hosts had
      an answer, C(pods) until pods had one, too, for which the node needs routes that its agent makes.
      What cannot be told apart is one share, such as C(machine and kubelet) when the event of the kubelet's start was forgotten, as the
      API does after an hour. There are no shares when nothing was started in that time. Starts are known to a whole second only.
  returned: when O(detail=full)
  type: dict
  sample:
    requests: 8123
    failed: 0
    excused: 402
    late: 3
    max_gap_ms: 96.0
    longest_silence_ms: 28100.0
    absence:
      start: 1767609003.9
      answered: 1767609032.0
      end: 1767609032.0
      ms: 28100.0
      node: control-1
      shares:
        - {what: machine, seconds: 9.1}
        - {what: kubelet, seconds: 6.0}
        - {what: etcd, seconds: 3.0}
        - {what: apiserver, seconds: 10.0}
    gaps: []
by_path:
  description:
    - By path, such as C(pod/pod-other/new/flannel>cilium), what was asked and answered, what C(failed) without an excuse and what
      C(excused), and the gaps.
  returned: when O(detail=full)
  type: dict
gaps:
  description: The gaps of more than 250 ms that nothing excuses, each with the task that ran when it began.
  returned: when O(detail=full)
  type: list
  elements: dict
failures:
  description:
    - Each probe that failed or was late, C(excused) with the reason, and the task that ran when it was sent.
    - C(port) is the port at the prober's end, by which a failed connection is found in a capture or a table of connections; 0 when nobody knows it.
  returned: when O(detail=full)
  type: list
  elements: dict
series:
  description: Per second from C(start) on, by kind of path, columns of figures to be plotted.
  returned: when O(detail=full)
  type: dict
probers:
  description: Of each prober, how long it saw, when it saw nothing though its node was there, and what it cost.
  returned: when O(detail=full)
  type: list
  elements: dict
verdict:
  description:
    - V(ok), V(lost) or V(unknown). It is unknown when nothing was seen to be lost, but not everything was seen.
  returned: when O(detail=full)
  type: str
reasons:
  description: Why the verdict is not V(ok).
  returned: when O(detail=full)
  type: list
  elements: str
since:
  description: When every prober had reported first, in seconds since the epoch. What was before does not count.
  returned: when O(detail=full)
  type: float
"""

import contextlib
import time
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import api_absence, cluster, migration_status
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_module import cluster_module, failures_told
from ansible_collections.netops.cni_migration.plugins.module_utils.disruption import Analysis
from ansible_collections.netops.cni_migration.plugins.module_utils.disruption_excuses import Scope
from ansible_collections.netops.cni_migration.plugins.module_utils.disruption_reader import Monitor
from ansible_collections.netops.cni_migration.plugins.module_utils.disruption_tally import totals
from ansible_collections.netops.cni_migration.plugins.module_utils.probe_log import LogError
from ansible_collections.netops.cni_migration.plugins.module_utils.waiting import API_SECONDS, NotYet, SystemClock, TimedOut, wait_for


def read_totals(monitor: Monitor) -> dict[str, Any]:
    """The counters of every node that answers."""
    config, hosts = wait_for(SystemClock(), API_SECONDS, lambda: (monitor.config(), monitor.hosts()))
    stats, silent = {}, {}
    for node in (item["name"] for item in config["nodes"]):
        try:
            stats[node] = monitor.stats(hosts[node], config["port"])
        except KeyError:
            silent[node] = "no prober runs there"
        except cluster.ClusterError as error:
            silent[node] = str(error)
    return {**totals(config["run"], stats, silent), "silent": silent}


def find_hosts(monitor: Monitor, nodes: Collection[str], timeout: float) -> dict[str, str]:
    """By node, the pod that hands out its logs. Where one of ``nodes`` has none, it is waited for: it may just be replaced."""
    found: dict[str, str] = {}

    def complete() -> None:
        found.update(monitor.hosts())
        missing = sorted(set(nodes) - found.keys())
        if missing:
            raise NotYet(f"no prober runs on {', '.join(missing)}")

    if nodes:
        with contextlib.suppress(TimedOut):
            wait_for(SystemClock(), timeout, complete)
    return found


def read_logs(monitor: Monitor, pod_cidr: str, away: Mapping[str, Any], timeline: Sequence[Mapping[str, Any]], timeout: float) -> dict[str, Any]:
    """The judgement on the logs of every node that answers; those that do not leave it unknown."""
    try:
        config, nodes = wait_for(SystemClock(), API_SECONDS, lambda: (monitor.config(), monitor.list_nodes()))
    except cluster.NotFound:
        # A run that was stopped after it had removed the monitor is resumed without one: nothing was seen, which is a judgement, too.
        config, nodes = {"run": "", "nodes": [], "since": 0.0}, []
    absent = {node for node, each in away.items() if any(end is None for _start, end in each)}
    hosts = find_hosts(monitor, {item["name"] for item in config["nodes"]} - absent, timeout)
    now = time.time()
    windows = {node: [[start, now if end is None else end] for start, end in each] for node, each in away.items()}
    listings, silent = {}, {}
    for node in (item["name"] for item in config["nodes"]):
        try:
            listings[node] = wait_for(SystemClock(), 0 if node in absent else timeout, partial(monitor.logs, hosts[node], config["port"]))
        except KeyError:
            silent[node] = "no prober runs there"
        except (cluster.ClusterError, TimedOut) as error:
            silent[node] = str(error)
    offsets = {node: listing["clock_offset"] for node, listing in listings.items()}
    analysis = Analysis(
        Scope(
            run=config["run"],
            nodes=[item["name"] for item in config["nodes"]],
            since=config["since"],
            until={node: listing["t"] - listing["clock_offset"] for node, listing in listings.items()},
            away=windows,
            control_plane=[node["metadata"]["name"] for node in nodes if migration_status.is_control_plane(node)],
            cilium_cidr=pod_cidr,
            dns_ended=wait_for(SystemClock(), API_SECONDS, partial(monitor.ends_of_dns, offsets)) if listings else (),
        )
    )
    # Targets first: they tell which CNI a node is on.
    for wanted in (True, False):
        for node, listing in listings.items():
            for name, size in listing["files"]:
                if ("-target-" in name) is wanted:
                    analysis.read(monitor.lines(hosts[node], config["port"], name, size), listing["clock_offset"])
    report = analysis.report(timeline)
    if absence := report["api_server"]["absence"]:
        absence["shares"] = read_shares(monitor, absence, listings, API_SECONDS)
    return {**report, "silent": silent, "since": config["since"]}


def read_shares(monitor: Monitor, absence: Mapping[str, Any], listings: Mapping[str, Any], timeout: float) -> list[dict[str, Any]]:
    """What an absence of the API server is made of, by the starts on the node that was away then."""
    node = absence["node"]
    if node is None:
        return []
    starts = wait_for(SystemClock(), timeout, partial(monitor.starts, node))
    ahead = listings[node]["clock_offset"] if node in listings else 0.0
    start, answered, end = (absence[moment] + ahead for moment in ("start", "answered", "end"))
    return api_absence.shares(start, answered, end, starts)


def main() -> None:
    module = cluster_module(
        {
            "pod_cidr": {"type": "str", "required": True},
            "namespace": {"type": "str", "default": "cni-migration-monitor"},
            "detail": {"type": "str", "choices": ["totals", "full"], "default": "full"},
            "away": {"type": "dict", "default": {}},
            "timeline": {"type": "list", "elements": "dict", "default": []},
            "timeout": {"type": "float", "default": 30},
        }
    )
    options = module.params
    with failures_told(module, LogError, TimedOut, ValueError):
        monitor = Monitor(options["kubeconfig"], options["namespace"])
        if options["detail"] == "totals":
            result = read_totals(monitor)
        else:
            result = read_logs(monitor, options["pod_cidr"], options["away"], options["timeline"], options["timeout"])
        module.exit_json(changed=False, **{key: value for key, value in result.items() if key != "failed"})


if __name__ == "__main__":
    main()
