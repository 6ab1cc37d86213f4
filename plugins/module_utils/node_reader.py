# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads from a node what a CNI migration has to know of it. Changes nothing."""

from __future__ import annotations

import glob
import gzip
import os
import platform
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import cilium_devices, node_facts, node_settings, purge_host
from ansible_collections.netops.cni_migration.plugins.module_utils.host import HostError, read_text, run
from ansible_collections.netops.cni_migration.plugins.module_utils.ownership import OWNERS
from ansible_collections.netops.cni_migration.plugins.module_utils.ruleset import BACKENDS, FAMILIES

_KUBELET_FOLDER = "/var/lib/kubelet"
# Where the other container runtimes keep their images: CRI-O, Docker.
_OTHER_IMAGE_FOLDERS = ("/var/lib/containers/storage", "/var/lib/docker")


def collect(cni_config_dir: str) -> dict[str, Any]:
    """The node as :mod:`cni_node_info` returns it.

    Raises :class:`HostError` when something cannot be read or understood.
    """
    units = unit_states("kubelet", "systemd-networkd")
    routes = run(["ip", "-4", "route", "show"]).stdout.splitlines()
    return {
        "kernel": platform.release(),
        "bpf": os.path.exists("/proc/sys/kernel/unprivileged_bpf_disabled"),
        "btf": os.path.exists("/sys/kernel/btf/vmlinux"),
        "kernel_lacks": kernel_lacks(),
        "kubelet": units["kubelet"],
        "kubelet_version": kubelet_version(),
        "networkd_deletes": networkd_deletes() if units["systemd-networkd"] == "active" else [],
        "rp_filter": int(read_text("/proc/sys/net/ipv4/conf/all/rp_filter") or 0),
        "links": links(),
        "devices": devices(routes),
        "routes": node_facts.routes_by_device(routes),
        "routed_networks": node_facts.routed_networks(routes),
        "udp_ports": node_facts.parse_udp_ports(*(read_text(f"/proc/net/udp{suffix}") or "" for suffix in ("", "6"))),
        "tcp_listeners": node_facts.parse_listeners(run(["ss", "--no-header", "--listening", "--numeric", "--tcp", "--processes"]).stdout),
        "iptables": node_facts.rule_tables(entry.table for entry in purge_host.Node(OWNERS, BACKENDS, FAMILIES, 0).plan().tables),
        "filesystems": filesystems(),
        "eviction_thresholds": node_settings.eviction_thresholds(read_text(f"{_KUBELET_FOLDER}/config.yaml") or ""),
        **cni_configuration(cni_config_dir),
    }


def unit_states(*units: str) -> dict[str, str]:
    """Each unit's state in systemd's words, such as ``active``; empty without systemd."""
    if shutil.which("systemctl") is None:
        return dict.fromkeys(units, "")
    # It exits non-zero when not all of them are active.
    states = run(["systemctl", "is-active", *units], check=False).stdout.split()
    return dict(zip(units, states)) if len(states) == len(units) else dict.fromkeys(units, "")


def kubelet_version() -> str:
    """Such as ``v1.33.2``; empty where there is no kubelet on the path."""
    return (run(["kubelet", "--version"], check=False).stdout.split() or [""])[-1] if shutil.which("kubelet") else ""


def kernel_lacks() -> list[str] | None:
    """The options that Cilium needs and the kernel was built without, None when its configuration cannot be read."""
    try:
        with gzip.open("/proc/config.gz", "rt", encoding="utf-8") as handle:
            return node_settings.kernel_lacks(handle.read())
    except OSError:
        text = read_text(f"/boot/config-{platform.release()}")
        return None if text is None else node_settings.kernel_lacks(text)


def networkd_deletes() -> list[str]:
    """What of others systemd-networkd deletes by its configuration: ``routes``, ``rules``."""
    patterns = [f"{folder}/{name}" for folder in node_settings.NETWORKD_FOLDERS for name in ("networkd.conf", "networkd.conf.d/*.conf")]
    paths = [path for pattern in patterns for path in glob.glob(pattern)]
    return node_settings.networkd_deletes(read_text(path) or "" for path in node_settings.networkd_files(paths))


def links() -> list[dict[str, Any]]:
    """The network links."""
    return _of_links(node_facts.parse_links)


def devices(routes: Sequence[str]) -> list[str]:
    """Those of them that Cilium should have as its devices."""
    return _of_links(partial(cilium_devices.devices, routes=routes, kernel=platform.release()))


def _of_links(parse: Callable[[str], list[Any]]) -> list[Any]:
    result = run(["ip", "-details", "-json", "address", "show"])
    try:
        return parse(result.stdout)
    except ValueError as exc:
        raise HostError(f"cannot understand what ip prints: {exc}", cmd=list(result.cmd), rc=0, stdout=result.stdout, stderr=result.stderr) from exc


def filesystems() -> list[dict[str, Any]]:
    """The file systems that the kubelet watches: that of its own folder (``nodefs``) and that of the images (``imagefs``)."""
    images = (node_settings.containerd_root(read_text("/etc/containerd/config.toml") or ""), *_OTHER_IMAGE_FOLDERS)
    folders = {"nodefs": _KUBELET_FOLDER, "imagefs": next(filter(os.path.isdir, images), images[0])}
    return [{"name": name, "path": path, **_space(path)} for name, path in folders.items() if os.path.isdir(path)]


def _space(path: str) -> dict[str, int]:
    try:
        seen = os.statvfs(path)
    except OSError as exc:
        raise HostError(f"cannot look at the file system of {path}: {exc.strerror}", path=path) from exc
    return {
        "bytes": seen.f_blocks * seen.f_frsize,
        "bytes_free": seen.f_bavail * seen.f_frsize,
        "inodes": seen.f_files,
        "inodes_free": seen.f_ffree,
    }


def cni_configuration(folder: str) -> dict[str, Any]:
    """``cni_files``, ``cni_active`` and ``cni_plugins``: the names in ``folder``, the one in use, and the plugins it calls."""
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    active = node_facts.active_cni_file(names)
    plugins = node_settings.cni_plugins(read_text(os.path.join(folder, active)) or "") if active else []
    return {"cni_files": names, "cni_active": active, "cni_plugins": plugins}
