# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from preflight_objects import (
    ADDRESSES,
    AGENT,
    CILIUM,
    FLANNEL,
    GIB,
    KUBE_PROXY,
    NETSHOOT,
    OPERATOR,
    SETTINGS,
    all_facts,
    cluster,
    container,
    facts,
    lines,
    manifests,
    node,
)

from ansible_collections.netops.cni_migration.plugins.module_utils import preflight_images

DIGEST = "sha256:544de3d4fed7acba72758413812780a4972d47c39035f2a06d6145d8644a3353"


def without(*references: str, everywhere: bool = False) -> Any:
    """The cluster of which k8s-w1, or every node, lacks these images."""
    nodes = [node(name) for name in ADDRESSES]
    for each in nodes:
        if everywhere or each["metadata"]["name"] == "k8s-w1":
            lacks = {preflight_images.canonical(reference) for reference in references}
            kept = [image for image in each["status"]["images"] if not lacks & {preflight_images.canonical(name) for name in image["names"]}]
            each["status"]["images"] = kept
    return cluster(nodes=nodes)


def test_a_missing_image_is_said_where_it_is_missing() -> None:
    assert [line for line in lines(without(AGENT, NETSHOOT), check="image") if line[0] != "ok"] == [
        ("warning", "k8s-w1", f"image {AGENT} is not on the node"),
        ("warning", "k8s-w1", f"image {NETSHOOT} is not on the node"),
    ]
    assert ("ok", "k8s-w1", "it has the 2 images that it needs") in lines(check="image")


def test_a_missing_image_that_may_not_be_pulled_is_refused() -> None:
    never = replace(SETTINGS, manifests=manifests(agent=container("quay.io/other/cilium:v1", policy="Never")))
    refused = [line for line in lines(settings=never, check="image") if line[0] == "refused"]
    assert refused == [("refused", name, "image quay.io/other/cilium:v1 is not on the node, and its pull policy is Never") for name in ADDRESSES]
    assert ("ok", "", f"some node has {OPERATOR}") in lines(settings=never, check="image")


def test_the_operators_image_is_needed_on_one_node() -> None:
    assert lines(without(OPERATOR)) == []
    assert lines(without(OPERATOR, everywhere=True)) == [("warning", "image", f"image {OPERATOR} is on no node")]
    never = replace(SETTINGS, manifests=manifests(operator=container(OPERATOR, "Never")))
    assert lines(without(OPERATOR, everywhere=True), never) == [
        ("refused", "image", f"image {OPERATOR} is on no node, and its pull policy is Never"),
    ]


def test_a_kubelet_that_cannot_report_all_its_images_proves_nothing() -> None:
    many = [{"names": [f"registry.example/app:{number}"]} for number in range(50)]
    nodes = [node("k8s-ctr"), node("k8s-w1", images=many), node("k8s-w2")]
    never = replace(SETTINGS, manifests=manifests(agent=container(policy="Never")), images=[])
    found = [line for line in lines(cluster(nodes=nodes), never, check="image") if line[0] != "ok"]
    fact = f"image {AGENT} is not on the node as far as is known: a kubelet reports 50 images"
    assert [(level, fact in text) for level, _name, text in found] == [("warning", True)]


def test_images_are_known_by_any_of_their_names() -> None:
    tagged = replace(SETTINGS, manifests=manifests(agent=container("docker.io/traefik/whoami:latest")), images=["traefik/whoami"])
    nodes = [node(name, images=[{"names": ["docker.io/traefik/whoami@sha256:1", "docker.io/traefik/whoami:latest"]}]) for name in ADDRESSES]
    assert [line for line in lines(cluster(nodes=nodes), tagged, check="image") if "whoami" in line[2]] == []


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        (f"quay.io/cilium/cilium:v1.17.6@{DIGEST}", f"quay.io/cilium/cilium@{DIGEST}"),
        ("quay.io/cilium/cilium:v1.17.6", "quay.io/cilium/cilium:v1.17.6"),
        ("traefik/whoami", "docker.io/traefik/whoami:latest"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("docker.io/nginx", "docker.io/library/nginx:latest"),
        ("docker.io/library/python:3.13-slim", "docker.io/library/python:3.13-slim"),
        ("localhost:5000/a/b:1", "localhost:5000/a/b:1"),
        ("localhost/a", "localhost/a:latest"),
        ("registry:5000/a", "registry:5000/a:latest"),
    ],
)
def test_references_are_completed_as_container_runtimes_do(reference: str, name: str) -> None:
    assert preflight_images.canonical(reference) == name


def test_each_image_is_wanted_once_with_its_policy() -> None:
    agent = {"name": "c", "image": "quay.io/a/b"}
    wanted = preflight_images.wanted_images(replace(SETTINGS, manifests=manifests(agent=agent)))
    assert [(image.reference, image.policy, image.everywhere) for image in wanted] == [
        (AGENT, "IfNotPresent", True),
        ("quay.io/a/b", "Always", True),
        (OPERATOR, "IfNotPresent", False),
        (NETSHOOT, "IfNotPresent", True),
    ]


@pytest.mark.parametrize(("daemonsets", "level"), [([FLANNEL, KUBE_PROXY], "refused"), ([FLANNEL, KUBE_PROXY, CILIUM], "warning")])
def test_a_chart_of_which_nothing_can_be_made_is_refused_unless_cilium_is_there(daemonsets: list[Any], level: str) -> None:
    failed = replace(SETTINGS, manifests=[], chart_error="Error: looks like https://helm.cilium.io/ is not a valid chart repository")
    found = lines(cluster(daemonsets=daemonsets), failed, check="chart")
    assert found == [(level, "", f"Helm cannot make anything of Cilium's chart: {failed.chart_error}")]


def test_a_chart_that_works_is_ok_and_one_that_nobody_looked_at_is_not_told_of() -> None:
    assert lines(check="chart") == [("ok", "", "Helm can make Cilium's objects of the chart and its values")]
    assert lines(settings=replace(SETTINGS, manifests=[]), check="chart") == []


@pytest.mark.parametrize("interval", ["15", "0s"])
def test_an_operator_that_would_restart_flannels_pods_is_refused(interval: str) -> None:
    found = lines(settings=replace(SETTINGS, manifests=manifests(watcher=interval)), check="watcher")
    assert found == [("refused", "", f"Cilium's operator would restart the pods that are still on Flannel: unmanaged-pod-watcher-interval is {interval}")]


def test_an_operator_of_which_nothing_is_said_is_refused_and_one_that_is_told_not_to_is_ok() -> None:
    silent = replace(SETTINGS, manifests=manifests()[1:])
    assert [level for level, _node, _fact in lines(settings=silent, check="watcher")] == ["refused"]
    assert [level for level, _node, _fact in lines(check="watcher")] == ["ok"]


def space(name: str = "imagefs", size: int = 40 * GIB, free: int = 20 * GIB, inodes: int = 1000, inodes_free: int = 900) -> dict[str, Any]:
    return {"name": name, "path": f"/var/lib/{name}", "bytes": size, "bytes_free": free, "inodes": inodes, "inodes_free": inodes_free}


def of_w1(*spaces: dict[str, Any], seen: Any = None, **changes: Any) -> list[tuple[str, str]]:
    known = facts("k8s-w1", filesystems=list(spaces), **changes)
    return [(level, fact) for level, name, fact in lines(seen, known=all_facts(k8s_w1=known), check="disk") if name == "k8s-w1"]


def test_a_disk_below_the_kubelets_threshold_is_refused_with_the_bytes() -> None:
    assert of_w1(space(free=5 * GIB)) == [("refused", "5.0 GiB of 40.0 GiB are free in /var/lib/imagefs, and the kubelet evicts pods below 6.0 GiB")]
    assert of_w1(space("nodefs", free=5 * GIB)) == [("ok", "5.0 GiB of 40.0 GiB are free in /var/lib/nodefs")]
    assert of_w1(space("nodefs", 64 << 20, 4 << 20))[0][1].startswith("4.0 MiB of 64.0 MiB are free")


def test_a_disk_that_the_missing_images_may_fill_is_said() -> None:
    assert of_w1(space(free=7 * GIB), seen=without(AGENT, NETSHOOT)) == [
        (
            "warning",
            "7.0 GiB of 40.0 GiB are free in /var/lib/imagefs, and the kubelet evicts pods below 6.0 GiB; 2 images to be pulled may take 2.0 GiB",
        )
    ]
    assert of_w1(space(free=7 * GIB))[0][0] == "ok"


def test_a_disk_without_inodes_is_refused_and_one_that_counts_none_is_not() -> None:
    assert of_w1(space(inodes_free=40)) == [("refused", "40 of 1000 inodes are free in /var/lib/imagefs, and the kubelet evicts pods below 50")]
    assert of_w1(space(inodes=0, inodes_free=0))[0][0] == "ok"


def test_the_kubelets_own_word_counts_too() -> None:
    pressed = [{"type": "Ready", "status": "True"}, {"type": "DiskPressure", "status": "True"}]
    seen = cluster(nodes=[node("k8s-ctr"), node("k8s-w1", conditions=pressed), node("k8s-w2")])
    assert of_w1(seen=seen) == [("refused", "the kubelet reports DiskPressure")]
    assert of_w1() == [("ok", "the kubelet reports no DiskPressure")]


def test_a_kubelet_without_thresholds_evicts_nobody() -> None:
    assert of_w1(space(free=1), eviction_thresholds={})[0] == ("ok", "1 bytes of 40.0 GiB are free in /var/lib/imagefs")


@pytest.mark.parametrize(
    ("text", "number"),
    [("10%", 100), ("12.5%", 125), ("1Gi", GIB), ("500Mi", 500 << 20), ("2k", 2000), ("1.5G", 1_500_000_000), ("7", 7), ("0", 0), ("", 0), ("much", 0)],
)
def test_thresholds_are_shares_or_quantities(text: str, number: int) -> None:
    assert preflight_images.threshold(text, 1000) == number
