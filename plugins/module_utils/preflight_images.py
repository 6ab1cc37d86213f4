# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the preflight that concern what is to be installed: the chart, its images, and the room for them on the nodes. Pure.

Which images a node has is what its kubelet reports in the Node's status. Whether a missing one could be pulled is not known before it is tried, so
a missing image is a warning, and a refusal only where its pull policy keeps the kubelet from trying.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.netops.cni_migration.plugins.module_utils.preflight_model import (
    REFUSED,
    WARNING,
    Cluster,
    Finding,
    Host,
    Object,
    Settings,
    counted,
    judged,
)

REPORTED_IMAGES = 50
"""How many images a kubelet reports at most, the largest first (``nodeStatusMaxImages``, kubernetes v1.33.2)."""

ROOM_FOR_AN_IMAGE = 1 << 30
"""Bytes that an image to be pulled is reckoned with: Cilium's agent, the largest, takes about as much, packed and unpacked."""

WATCHER = "unmanaged-pod-watcher-interval"

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(%|[kMGT]|[KMGT]i)?")


@dataclass(frozen=True)
class Image:
    """An image by its reference, its pull policy, and whether every node needs it or any one of them."""

    reference: str
    policy: str
    everywhere: bool = True


def chart(cluster: Cluster, settings: Settings, pending: Sequence[Host]) -> Iterator[Finding]:
    """The chart must be there and take its values before anything is begun."""

    def problems() -> Iterator[Finding]:
        if settings.chart_error:
            # The nodes can still be moved where Cilium is installed already, but for the ending the chart is needed once more.
            level = WARNING if cluster.has_cilium else REFUSED
            fact = f"Helm cannot make anything of Cilium's chart: {settings.chart_error}"
            yield Finding("chart", level, fact, "see cilium_migration_helm_binary, cilium_migration_chart_ref, and the values")

    if pending and (settings.chart_error or settings.manifests):
        yield from judged("chart", problems(), "Helm can make Cilium's objects of the chart and its values")


def watcher(settings: Settings, pending: Sequence[Host]) -> Iterator[Finding]:
    """Cilium's operator restarts pods it does not know, again and again, unless it is told not to."""

    def problems() -> Iterator[Finding]:
        interval = settings.cilium_config.get(WATCHER, "(unset)")
        if interval != "0":
            fact = f"Cilium's operator would restart the pods that are still on Flannel: {WATCHER} is {interval}"
            yield Finding("watcher", REFUSED, fact, "set operator.unmanagedPodWatcher.restart: false in the values; see cilium_migration_values_extra")

    if pending and settings.manifests:
        yield from judged("watcher", problems(), f"Cilium's operator leaves Flannel's pods alone: {WATCHER} is 0")


def images(cluster: Cluster, settings: Settings, pending: Sequence[Host]) -> Iterator[Finding]:
    """What each node of the run needs, and what at least one node of the cluster needs."""
    wanted = wanted_images(settings)
    for host in pending:
        if host.facts is not None:
            here = [image for image in wanted if image.everywhere]
            problems = _problems([image for image in here if not has_image([host.node], image)], [host.node], "not on the node", host.name)
            yield from judged("image", problems, f"it has the {counted(len(here), 'image')} that it needs", host.name)
    anywhere = [image for image in wanted if not image.everywhere]
    if pending and anywhere:
        problems = _problems([image for image in anywhere if not has_image(cluster.nodes, image)], cluster.nodes, "on no node")
        yield from judged("image", problems, f"some node has {', '.join(image.reference for image in anywhere)}")


def _problems(missing: Iterable[Image], nodes: Iterable[Object], where: str, node: str = "") -> Iterator[Finding]:
    certain = not any(len((each.get("status") or {}).get("images") or []) >= REPORTED_IMAGES for each in nodes)
    for image in missing:
        fact = f"image {image.reference} is {where}" + ("" if certain else f" as far as is known: a kubelet reports {REPORTED_IMAGES} images")
        if image.policy == "Never":
            advice = "bring it there, or set another pull policy in the values"
            yield Finding("image", REFUSED if certain else WARNING, f"{fact}, and its pull policy is Never", advice, node)
        else:
            yield Finding("image", WARNING, fact, "the kubelet will pull it: make sure that it can, or pull it before (crictl pull)", node)


def wanted_images(settings: Settings) -> list[Image]:
    """Each image that the migration starts, once, in the order of the chart and then of the settings."""
    found: dict[tuple[str, bool], Image] = {}
    for manifest in settings.manifests:
        if manifest["kind"] in ("DaemonSet", "Deployment"):
            spec = manifest["spec"]["template"]["spec"]
            for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
                image = Image(container["image"], _policy(container), manifest["kind"] == "DaemonSet")
                found.setdefault((image.reference, image.everywhere), image)
    for reference in settings.images:
        found.setdefault((reference, True), Image(reference, "IfNotPresent"))
    return list(found.values())


def _policy(container: Object) -> str:
    """The container's pull policy, or the API server's default for one that has none."""
    name = canonical(container["image"])
    return container.get("imagePullPolicy") or ("Always" if name.endswith(":latest") else "IfNotPresent")


def has_image(nodes: Iterable[Object], image: Image) -> bool:
    """Whether the kubelet of any of ``nodes`` reports the image."""
    wanted = canonical(image.reference)
    return any(canonical(name) == wanted for node in nodes for each in (node.get("status") or {}).get("images") or [] for name in each.get("names") or [])


def canonical(reference: str) -> str:
    """The reference as container runtimes keep it: with a registry, and with a digest or, where it has none, a tag."""
    name, _at, digest = reference.partition("@")
    head, slash, tail = name.rpartition("/")
    tail, _colon, tag = tail.partition(":")
    domain, _slash, rest = head.partition("/")
    if not slash:
        head = "docker.io/library"
    elif not ("." in domain or ":" in domain or domain == "localhost"):
        head = f"docker.io/{head}"
    elif domain == "docker.io" and not rest:
        head = "docker.io/library"
    return f"{head}/{tail}@{digest}" if digest else f"{head}/{tail}:{tag or 'latest'}"


def disk(host: Host, facts: Object | None, settings: Settings) -> Iterator[Finding]:
    """Below its thresholds the kubelet evicts pods and removes images; what is to be pulled must fit above them."""
    conditions = (host.node.get("status") or {}).get("conditions") or []
    missing = [image for image in wanted_images(settings) if image.everywhere and not has_image([host.node], image)]
    spaces = facts["filesystems"] if facts else []

    def problems() -> Iterator[Finding]:
        if any(each.get("type") == "DiskPressure" and each.get("status") == "True" for each in conditions):
            yield Finding("disk", REFUSED, "the kubelet reports DiskPressure", "make room: it evicts pods, and takes no new ones", host.name)
        for space in spaces:
            yield from _space_problems(host, space, facts["eviction_thresholds"] if facts else {}, missing)

    seen = "; ".join(f"{amount(space['bytes_free'])} of {amount(space['bytes'])} are free in {space['path']}" for space in spaces)
    return judged("disk", problems(), seen or "the kubelet reports no DiskPressure", host.name)


def _space_problems(host: Host, space: Object, thresholds: Mapping[str, str], missing: Sequence[Image]) -> Iterator[Finding]:
    name, path, free = space["name"], space["path"], space["bytes_free"]
    least = threshold(thresholds.get(f"{name}.available", "0"), space["bytes"])
    least_inodes = threshold(thresholds.get(f"{name}.inodesFree", "0"), space["inodes"])
    told = f"{amount(free)} of {amount(space['bytes'])} are free in {path}, and the kubelet evicts pods below {amount(least)}"
    needed = len(missing) * ROOM_FOR_AN_IMAGE if name == "imagefs" else 0
    if free < least:
        yield Finding("disk", REFUSED, told, "make room, or add to that file system", host.name)
    elif free - needed < least:
        fact = f"{told}; {counted(len(missing), 'image')} to be pulled may take {amount(needed)}"
        yield Finding("disk", WARNING, fact, "make room, or pull them before: crictl pull", host.name)
    if space["inodes"] and space["inodes_free"] < least_inodes:
        fact = f"{space['inodes_free']} of {space['inodes']} inodes are free in {path}, and the kubelet evicts pods below {least_inodes}"
        yield Finding("disk", REFUSED, fact, "remove files: many small ones use them up", host.name)


def threshold(text: str, whole: int) -> int:
    """An eviction threshold as a number: a share of the ``whole``, such as ``10%``, or a quantity, such as ``1Gi``. One that is neither is none."""
    found = _QUANTITY.fullmatch(text)
    if found is None:
        return 0
    number, unit = float(found[1]), found[2] or ""
    return int(whole * number / 100 if unit == "%" else number * _UNITS[unit])


def amount(number: int) -> str:
    """Bytes for people, in the largest unit of which there is at least one."""
    for unit in ("GiB", "MiB", "KiB"):
        size = _UNITS[unit[:2]]
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} bytes"
