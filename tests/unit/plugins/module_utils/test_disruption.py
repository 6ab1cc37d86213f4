# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the disruption monitor's logs are judged to show."""

from __future__ import annotations

import json
from typing import Any

import pytest
from probe_lines import BEGAN, NODES, Log, analyse, failure, gap, healthy, path, to

from ansible_collections.netops.cni_migration.plugins.module_utils.probe_log import Interval


def cluster(number: int, probed: dict[str, str], *events: dict[str, Any], source: str = "w2", **changes: Any) -> list[Log]:
    """A healthy cluster in which the pod prober of one node also probes a path, on which there were these events."""
    logs = healthy()
    logs[source, "pod"] = Log(source, "pod", paths={number: probed}, events=list(events), **changes)
    return list(logs.values())


TARGET = Log("w1", "target")


def test_a_run_without_a_failure_is_ok() -> None:
    report = analyse(cluster(1, to(TARGET)))
    assert (report["verdict"], report["reasons"]) == ("ok", [])
    assert report["requests"] == 20 * 60
    assert report["failed"] == report["excused"] == report["late"] == 0
    assert report["max_gap_ms"] == 52.5
    assert report["by_path"] == {
        "pod/pod-other/new/flannel>flannel": {
            "requests": 1200,
            "failed": 0,
            "excused": 0,
            "late": 0,
            "p50_ms": 1.0,
            "p99_ms": 2.5,
            "max_ms": 2.5,
            "max_gap_ms": 52.5,
        }
    }
    json.dumps(report)


def test_a_failure_is_lost() -> None:
    report = analyse(cluster(1, to(TARGET), failure(1, 20.0)))
    assert report["verdict"] == "lost"
    assert report["reasons"] == ["1 of 1200 requests failed"]
    assert report["failures"] == [
        {
            "t": BEGAN + 20,
            "path": "pod/pod-other/new/flannel>flannel",
            "source": "w2",
            "target": "w1",
            "ms": 2000.0,
            "task": "",
            "host": "",
            "net_ms": 2000.0,
            "error": "timeout",
            "port": 40123,
            "excused": None,
        }
    ]


def test_nothing_before_the_start_counts() -> None:
    report = analyse(cluster(1, to(TARGET), failure(1, 4.0), gap(1, 4.0, 900.0)), since=BEGAN + 5)
    assert report["verdict"] == "ok"
    assert report["requests"] == 20 * 56


def test_logs_of_another_run_are_left_out() -> None:
    report = analyse([*cluster(1, to(TARGET)), Log("w2", "pod", 0.5, run="r0", paths={1: to(TARGET)}, events=[failure(1, 4.0)])])
    assert report["verdict"] == "ok"
    assert report["requests"] == 1200


@pytest.mark.parametrize("event", [failure(1, 20.0), failure(1, 19.0, "unreachable", 10.0), failure(1, 30.5, "refused", 1.0)])
@pytest.mark.parametrize(("node", "reason"), [("w1", "target away"), ("w2", "source away")])
def test_a_node_that_is_away_excuses_its_pods(event: dict[str, Any], node: str, reason: str) -> None:
    report = analyse(cluster(1, to(TARGET), event), away={node: [[20.0, 30.0]]})
    assert report["verdict"] == "ok"
    assert (report["failed"], report["excused"]) == (0, 1)
    assert report["failures"][0]["excused"] == reason


@pytest.mark.parametrize("at", [10.0, 33.0])
def test_the_margin_of_a_window_is_small(at: float) -> None:
    assert analyse(cluster(1, to(TARGET), failure(1, at, ms=500.0)), away={"w1": [[20.0, 30.0]]})["failed"] == 1


@pytest.mark.parametrize("probed", [path("cluster-ip"), path("dns"), path("dns", "reused"), path("node-port", node="w2")])
def test_an_endpoint_that_is_away_does_not_excuse_a_service(probed: dict[str, str]) -> None:
    report = analyse(cluster(1, probed, failure(1, 22.0), source="ctr"), away={"w1": [[20.0, 30.0]]})
    assert report["failed"] == 1


def test_a_node_that_is_away_excuses_its_node_port() -> None:
    report = analyse(cluster(1, path("node-port", node="w1"), failure(1, 22.0)), away={"w1": [[20.0, 30.0]]})
    assert (report["failed"], report["excused"]) == (0, 1)


def ended(*events: dict[str, Any], probed: dict[str, str], following: bool = True, stopped: bool = True) -> dict[str, Any]:
    """The target of w1 ends after 20 s, and another one comes after 26 s."""
    logs = {(log.node, log.kind): log for log in cluster(1, probed, *events)}
    logs["w1", "target"] = Log("w1", "target", end=20.0, stopped=stopped)
    later = [Log("w1", "target", 26.0, ip="10.245.1.9")] if following else []
    return analyse([*logs.values(), *later], away={"w1": [[27.0, 28.0]]} if following else {})


@pytest.mark.parametrize("stopped", [True, False])
@pytest.mark.parametrize("following", [True, False])
def test_a_target_that_ended_excuses(following: bool, stopped: bool) -> None:
    report = ended(failure(1, 20.5, "refused", 1.0), probed=to(TARGET), following=following, stopped=stopped)
    assert report["failures"][0]["excused"] == "target ended"


def test_a_target_that_lives_does_not_excuse() -> None:
    assert ended(failure(1, 15.0, "refused", 1.0), probed=to(TARGET))["failed"] == 1


def test_a_kept_connection_of_a_service_is_lost_with_its_endpoint() -> None:
    report = ended(failure(1, 20.2, "reset", 10.0, TARGET.by), gap(1, 20.1, 600.0, lost=TARGET.by, by="w2/x"), probed=path("cluster-ip", "reused"))
    assert (report["failed"], report["excused"], report["gaps"]) == (0, 1, [])


def test_a_new_connection_of_a_service_is_not() -> None:
    report = ended(failure(1, 20.2), gap(1, 20.1, 600.0), probed=path("cluster-ip"))
    assert (report["failed"], len(report["gaps"])) == (1, 1)


@pytest.mark.parametrize(("mode", "gaps"), [("reused", 0), ("new", 1)])
def test_a_late_answer_of_an_endpoint_that_is_away_is_excused_on_a_connection_that_it_kept(mode: str, gaps: int) -> None:
    events = failure(1, 22.0, None, 312.0, TARGET.by), gap(1, 21.95, 362.0, by=TARGET.by)
    report = analyse(cluster(1, path("node-port", mode, node="ctr"), *events), away={"w1": [[20.0, 30.0]]})
    assert (len(report["gaps"]), report["late"], report["verdict"]) == (gaps, gaps, "lost" if gaps else "ok")


def test_gaps_are_told_with_the_task_that_ran() -> None:
    timeline = [
        {"task": "move | Drain", "host": "w1", "start": BEGAN + 10, "end": BEGAN + 19},
        {"task": "move | Switch", "host": "w1", "start": BEGAN + 19, "end": BEGAN + 40},
    ]
    report = analyse(cluster(1, to(TARGET), gap(1, 20.0, 900.0)), timeline=timeline)
    assert report["max_gap_ms"] == 900.0
    assert report["reasons"] == ["a gap of 900 ms on pod/pod-other/new/flannel>flannel from w2"]
    assert report["gaps"] == [
        {
            "t": BEGAN + 20,
            "end": BEGAN + 20.9,
            "path": "pod/pod-other/new/flannel>flannel",
            "source": "w2",
            "target": "w1",
            "ms": 900.0,
            "net_ms": 900.0,
            "task": "move | Switch",
            "host": "w1",
        }
    ]


def test_of_several_gaps_the_longest_is_told() -> None:
    report = analyse(cluster(1, to(TARGET), gap(1, 20.0, 900.0), gap(1, 30.0, 1200.0)))
    assert report["reasons"] == ["2 gaps, the longest of 1200 ms on pod/pod-other/new/flannel>flannel from w2"]


def test_a_gap_counts_only_where_it_is_not_excused() -> None:
    report = analyse(cluster(1, to(TARGET), gap(1, 17.0, 15_400.0)), away={"w1": [[20.0, 30.0]]})
    # From 17 to 18, two seconds before the node was away, and from 32 to 32.4.
    assert report["gaps"][0]["net_ms"] == pytest.approx(1000.0)
    assert report["max_gap_ms"] == pytest.approx(1000.0)


@pytest.mark.parametrize(("stalls", "net_ms"), [([[20.1, 300.0]], 400.0), ([[20.1, 300.0], [20.3, 200.0]], 300.0), ([[30.0, 900.0]], 700.0)])
def test_a_prober_that_stands_still_is_no_gap(stalls: list[list[float]], net_ms: float) -> None:
    report = analyse(cluster(1, to(TARGET), gap(1, 20.0, 700.0), stalls=stalls))
    assert report["gaps"][0]["net_ms"] == pytest.approx(net_ms, abs=0.1)
    assert report["gaps"][0]["ms"] == 700.0
    assert report["max_lag_ms"] == max(ms for _start, ms in stalls)


def test_a_late_answer_counts_unless_the_prober_was_late() -> None:
    late = failure(1, 20.0, None, 400.0)
    assert analyse(cluster(1, to(TARGET), late))["late"] == 1
    report = analyse(cluster(1, to(TARGET), late, stalls=[[20.1, 200.0]]))
    assert (report["late"], report["failures"], report["verdict"]) == (0, [], "ok")


def test_a_time_out_is_excused_when_a_prober_stood_still_for_almost_all_of_it() -> None:
    logs = cluster(1, to(TARGET), failure(1, 20.0))
    target = next(log for log in logs if (log.node, log.kind) == ("w1", "target"))
    target.stalls = [[20.1, 1000.0]]
    assert analyse(logs)["failed"] == 1
    target.stalls = [[20.1, 1800.0]]
    assert analyse(logs)["failures"][0]["excused"] == "prober stalled"


def test_a_silence_that_lasts_to_a_sudden_end_is_a_gap() -> None:
    logs = cluster(1, to(TARGET), stopped=False)
    source = next(log for log in logs if log.paths)
    lines = [json.loads(line) for line in source.lines()]
    lines[-1]["f"] = [[1, 20, 0, 0, 0, 0.0, 800.0, []]]
    source.lines = lambda: [json.dumps(line) for line in lines]  # type: ignore[method-assign]
    assert analyse(logs)["gaps"][0]["net_ms"] == 800.0


def test_the_cni_of_both_ends_is_told() -> None:
    logs = healthy()
    logs["w1", "target"] = Log("w1", "target", end=20.0)
    moved = Log("w1", "target", 30.0, ip="10.245.1.9")
    logs["w1", "pod"] = Log("w1", "pod", end=20.0)
    far = Log("w1", "pod", 30.0, ip="10.245.1.8", paths={1: to(logs["w2", "target"]), 2: path("cluster-ip"), 3: path("api-server", "reused")})
    logs["w1", "host"] = Log("w1", "host", paths={1: to(logs["w2", "target"])})
    logs["w2", "pod"] = Log("w2", "pod", paths={1: to(logs["w1", "target"]), 2: to(moved), 3: to(logs["w2", "target"], "pod-same", "reused")})
    assert sorted(analyse([*logs.values(), moved, far])["by_path"]) == [
        "host/pod-other/new/cilium>flannel",
        "host/pod-other/new/flannel>flannel",
        "pod/api-server/reused/cilium>api-server",
        "pod/cluster-ip/new/cilium>service",
        "pod/pod-other/new/cilium>flannel",
        "pod/pod-other/new/flannel>cilium",
        "pod/pod-other/new/flannel>flannel",
        "pod/pod-same/reused/flannel>flannel",
    ]


def test_the_api_server_is_told_of_apart() -> None:
    events = (failure(1, 21.0), gap(1, 20.5, 9000.0), gap(1, 40.0, 700.0), failure(1, 50.0, "refused", 1.0))
    report = analyse(cluster(1, path("api-server"), *events), away={"ctr": [[20.0, 30.0]]})
    assert report["requests"] == report["failed"] == 0
    assert report["max_gap_ms"] == 0.0
    (found,) = report["api_server"].pop("gaps")
    assert found["net_ms"] == 700.0
    absence = report["api_server"].pop("absence")
    assert absence == {"start": BEGAN + 20.5, "answered": BEGAN + 29.5, "end": BEGAN + 29.5, "ms": 9000.0, "node": "ctr"}
    assert report["api_server"] == {"requests": 1200, "failed": 1, "excused": 1, "late": 0, "max_gap_ms": 700.0, "longest_silence_ms": 9000.0}
    assert report["gaps"] == []
    assert report["reasons"] == ["1 of 1200 requests to the API server failed", "no request was made"]


def test_a_worker_that_is_away_does_not_excuse_the_api_server() -> None:
    report = analyse(cluster(1, path("api-server"), failure(1, 21.0)), away={"w1": [[20.0, 30.0]]})
    assert report["api_server"]["failed"] == 1


@pytest.mark.parametrize(
    ("away", "node"),
    [
        ({}, None),
        ({"w1": [[20.0, 30.0]]}, None),
        ({"ctr": [[20.0, 30.0]], "w1": [[10.0, 21.0]]}, "ctr"),
        ({"ctr": [[5.0, 22.0]], "w1": [[20.0, 35.0]]}, "w1"),
    ],
)
def test_an_absence_is_of_the_control_plane_node_that_was_away_most_of_it(away: dict[str, Any], node: str | None) -> None:
    control_plane = ("ctr",) if node is None else ("ctr", "w1")
    report = analyse(cluster(1, path("api-server"), gap(1, 20.5, 9000.0)), away=away, control_plane=control_plane)
    assert report["api_server"]["absence"]["node"] == node


def test_who_was_away_itself_does_not_witness_an_absence() -> None:
    logs = {(log.node, log.kind): log for log in cluster(1, path("api-server"), gap(1, 20.5, 9000.0))}
    logs["ctr", "host"] = Log("ctr", "host", paths={1: path("api-server")}, events=[gap(1, 20.0, 15_000.0)])
    found = analyse(logs.values(), away={"ctr": [[20.0, 30.0]]})["api_server"]
    assert (found["longest_silence_ms"], found["absence"]["ms"]) == (15_000.0, 9000.0)
    assert analyse(logs.values(), away={"ctr": [[20.0, 30.0]], "w2": [[29.0, 40.0]]})["api_server"]["absence"] is None


def test_hosts_may_be_answered_before_pods() -> None:
    logs = {(log.node, log.kind): log for log in cluster(1, path("api-server"), gap(1, 20.5, 9000.0))}
    for node, ms in (("w1", 5000.0), ("w2", 4000.0)):
        logs[node, "host"] = Log(node, "host", paths={1: path("api-server")}, events=[gap(1, 20.6, ms)])
    found = analyse(logs.values(), away={"ctr": [[20.0, 30.0]]})["api_server"]["absence"]
    assert (found["answered"], found["end"]) == (BEGAN + 25.6, BEGAN + 29.5)


def test_a_silence_of_no_more_than_a_second_is_no_absence() -> None:
    assert analyse(cluster(1, path("api-server"), gap(1, 20.5, 1000.0)))["api_server"]["absence"] is None
    assert analyse(cluster(1, to(TARGET), gap(1, 20.5, 9000.0)))["api_server"]["absence"] is None


def test_without_requests_nothing_is_known() -> None:
    report = analyse(healthy().values())
    assert report["verdict"] == "unknown"
    assert report["reasons"] == ["no request was made"]


def test_a_prober_that_never_reported_leaves_it_unknown() -> None:
    report = analyse(log for log in cluster(1, to(TARGET)) if (log.node, log.kind) != ("ctr", "host"))
    assert report["verdict"] == "unknown"
    assert report["reasons"] == ["the host prober of ctr never reported"]


def test_logs_that_cannot_be_had_leave_it_unknown() -> None:
    report = analyse(cluster(1, to(TARGET)), until=dict.fromkeys(NODES[1:], BEGAN + 60))
    assert report["verdict"] == "unknown"
    assert report["reasons"] == [f"the last logs of the {kind} prober of ctr could not be had" for kind in ("host", "pod", "target")]


@pytest.mark.parametrize(
    ("changes", "hole"),
    [
        ({"silent": [20.0, 21.0, 22.0, 23.0]}, [19.0, 24.0]),
        ({"end": 50.0}, [50.0, 60.5]),
        ({"end": 50.0, "stopped": False}, [50.0, 60.5]),
        ({"start": 10.0}, [0.0, 10.0]),
    ],
)
def test_a_hole_leaves_it_unknown(changes: dict[str, Any], hole: list[float]) -> None:
    logs = {(log.node, log.kind): log for log in cluster(1, to(TARGET))}
    logs["ctr", "host"] = Log("ctr", "host", **changes)
    report = analyse(logs.values())
    assert report["verdict"] == "unknown"
    assert [prober["holes"] for prober in report["probers"] if prober["holes"]] == [[[BEGAN + hole[0], BEGAN + hole[1]]]]
    assert report["reasons"] == [f"the host prober of ctr saw nothing for {hole[1] - hole[0]:.1f} s"]


def test_a_missing_second_is_no_hole() -> None:
    logs = {(log.node, log.kind): log for log in cluster(1, to(TARGET))}
    logs["ctr", "host"] = Log("ctr", "host", silent=[20.0])
    assert analyse(logs.values())["verdict"] == "ok"


def test_a_node_that_is_away_may_have_holes() -> None:
    logs = {(log.node, log.kind): log for log in cluster(1, to(TARGET))}
    logs["ctr", "host"] = Log("ctr", "host", end=20.0, stopped=False)
    report = analyse([*logs.values(), Log("ctr", "host", 30.0)], away={"ctr": [[20.0, 29.0]]})
    assert (report["verdict"], report["reasons"]) == ("ok", [])
    prober = next(prober for prober in report["probers"] if (prober["node"], prober["kind"]) == ("ctr", "host"))
    assert (prober["incarnations"], prober["seconds"]) == (2, 50.0)


@pytest.mark.parametrize(("again", "verdict"), [(36.0, "ok"), (52.0, "unknown")])
def test_a_prober_may_take_a_moment_to_run_again(again: float, verdict: str) -> None:
    logs = {(log.node, log.kind): log for log in cluster(1, to(TARGET))}
    logs["ctr", "host"] = Log("ctr", "host", end=20.0, stopped=False)
    assert analyse([*logs.values(), Log("ctr", "host", again)], away={"ctr": [[20.0, 28.0]]})["verdict"] == verdict


def test_what_is_lost_is_certain_whatever_was_not_seen() -> None:
    logs = [log for log in cluster(1, to(TARGET), failure(1, 20.0)) if (log.node, log.kind) != ("ctr", "host")]
    report = analyse(logs)
    assert report["verdict"] == "lost"
    assert report["reasons"] == ["1 of 1200 requests failed", "the host prober of ctr never reported"]


def test_what_a_prober_costs_is_told() -> None:
    assert {prober["cpu_percent"] for prober in analyse(cluster(1, to(TARGET)))["probers"]} == {2.0}


def test_a_series_can_be_plotted() -> None:
    events = (failure(1, 20.0), failure(1, 21.5, None, 300.0), failure(1, 31.0, "refused", 1.0))
    series = analyse(cluster(1, to(TARGET), *events), away={"w1": [[31.0, 32.0]]})["series"]
    columns = series["paths"]["pod/pod-other"]
    assert series["start"] == BEGAN + 1
    assert {len(column) for column in columns.values()} == {60}
    assert columns["requests"] == [20] * 60
    assert {name: [index for index, value in enumerate(columns[name]) if value] for name in ("failed", "late", "excused")} == {
        "failed": [19],
        "late": [20],
        "excused": [30],
    }
    assert set(columns["worst_ms"]) == {2.5}


ENDED = [Interval(BEGAN + 21.0, BEGAN + 32.0)]


@pytest.mark.parametrize(
    ("mode", "at", "excused"),
    [("reused", 22.0, "server ended"), ("reused", 15.0, None), ("new", 22.0, None)],
)
def test_a_query_under_way_when_its_replica_was_ended_is_excused_on_a_kept_socket(mode: str, at: float, excused: str | None) -> None:
    report = analyse(cluster(1, path("dns", mode), failure(1, at)), dns_ended=ENDED)
    assert [each["excused"] for each in report["failures"]] == [excused]


def test_a_silence_is_not_excused_by_the_end_of_a_replica() -> None:
    report = analyse(cluster(1, path("dns", "reused"), gap(1, 22.0, 400.0)), dns_ended=ENDED)
    assert [each["net_ms"] for each in report["gaps"]] == [400.0]


@pytest.mark.parametrize("error", ["refused", "aborted"])
def test_a_kept_socket_that_is_told_its_dns_server_has_gone_is_no_loss(error: str) -> None:
    report = analyse(cluster(1, path("dns", "reused"), failure(1, 22.0, error)))
    assert (report["failed"], report["failures"][0]["excused"]) == (0, "server ended")
    assert analyse(cluster(1, path("dns"), failure(1, 22.0, error)))["failed"] == 1
