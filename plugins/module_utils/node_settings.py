# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node's configuration files say that a CNI migration has to know. Pure parsers; :mod:`node_reader` reads the files.

Where the rules come from:

* systemd ``man/networkd.conf.xml`` and ``src/shared/conf-parser.c`` (which files are read, in which order, and what a boolean is)
* kubernetes v1.33.2 ``pkg/kubelet/eviction/defaults_linux.go`` and ``pkg/kubelet/kubelet.go`` (thresholds that are set replace all defaults)
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable

NETWORKD_FOLDERS = ("/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd")
"""Where networkd looks for ``networkd.conf`` and ``networkd.conf.d``, the weightiest first."""

_FOREIGN = {"ManageForeignRoutes": "routes", "ManageForeignRoutingPolicyRules": "rules"}
_BOOLEANS = {
    **dict.fromkeys(("1", "yes", "y", "true", "t", "on"), True),
    **dict.fromkeys(("0", "no", "n", "false", "f", "off"), False),
}

EVICTION_DEFAULTS = {"nodefs.available": "10%", "nodefs.inodesFree": "5%", "imagefs.available": "15%", "imagefs.inodesFree": "5%"}
"""Below what the kubelet evicts pods for want of disk, unless its configuration says otherwise."""

_EVICTION_BLOCK = re.compile(r"^evictionHard:[ \t]*\n((?:[ \t]+\S.*(?:\n|$))+)", re.MULTILINE)
_EVICTION_LINE = re.compile(r"^[ \t]+[\"']?([\w.]+)[\"']?:[ \t]*[\"']?([^\s\"']+)[\"']?[ \t]*$", re.MULTILINE)
_FIRST_TABLE = re.compile(r"^[ \t]*\[", re.MULTILINE)
_ROOT = re.compile(r"^[ \t]*root[ \t]*=[ \t]*[\"']([^\"']+)[\"']", re.MULTILINE)
_OPTION = re.compile(r"^CONFIG_(\w+)=[ym]$", re.MULTILINE)

CILIUM_OPTIONS = ("BPF", "BPF_SYSCALL", "BPF_JIT", "CGROUPS", "CGROUP_BPF", "FIB_RULES", "NET_CLS_ACT", "NET_CLS_BPF", "NET_SCH_INGRESS", "PERF_EVENTS")
"""The kernel options without which Cilium's agent does not work.

Its documentation (Operations, System Requirements) also names ``CRYPTO_USER_API_HASH`` and ``SCHEDSTATS``; 1.17 was run without them.
"""


def networkd_files(paths: Iterable[str]) -> list[str]:
    """Those of the existing ``paths`` that networkd reads, in its order: one ``networkd.conf``, then the drop-ins by their name.

    Of several files with the same name the one in the weightiest folder counts.
    """
    chosen: dict[str, str] = {}
    for path in sorted(paths, key=_weight):
        folder, name = posixpath.split(path)
        chosen.setdefault(name if folder.endswith(".d") else "", path)
    return [chosen[name] for name in sorted(chosen)]


def _weight(path: str) -> int:
    return next((number for number, folder in enumerate(NETWORKD_FOLDERS) if path.startswith(f"{folder}/")), len(NETWORKD_FOLDERS))


def networkd_deletes(texts: Iterable[str]) -> list[str]:
    """What of others networkd deletes by these configurations, in the order it reads them: ``routes``, ``rules``, both or nothing.

    Its default is to delete both, and a later setting counts more than an earlier one.
    """
    deletes = dict.fromkeys(_FOREIGN, True)
    for text in texts:
        section = ""
        for line in map(str.strip, text.splitlines()):
            key, _sign, value = line.partition("=")
            if line.startswith("["):
                section = line
            elif section == "[Network]" and key.strip() in deletes and value.strip().lower() in _BOOLEANS:
                deletes[key.strip()] = _BOOLEANS[value.strip().lower()]
    return [_FOREIGN[key] for key, deleted in deletes.items() if deleted]


def eviction_thresholds(kubelet_config: str) -> dict[str, str]:
    """The kubelet's hard eviction thresholds for disks, such as ``{"nodefs.available": "10%"}``, from its ``config.yaml``.

    kubeadm writes it in YAML's block style. As soon as one threshold is set there, those that are not are none.
    """
    block = _EVICTION_BLOCK.search(kubelet_config)
    if block is None:
        return dict(EVICTION_DEFAULTS)
    given = dict(_EVICTION_LINE.findall(block[1]))
    return {signal: given[signal] for signal in EVICTION_DEFAULTS if signal in given}


def containerd_root(config: str) -> str:
    """The folder in which containerd keeps images, from its ``config.toml``; its own default when that does not say."""
    found = _ROOT.search(_FIRST_TABLE.split(config, maxsplit=1)[0])
    return found[1] if found else "/var/lib/containerd"


def kernel_lacks(config: str) -> list[str]:
    """Those of :data:`CILIUM_OPTIONS` that a kernel configuration has neither built in nor as a module."""
    there = set(_OPTION.findall(config))
    return [f"CONFIG_{name}" for name in CILIUM_OPTIONS if name not in there]


def cni_plugins(text: str) -> list[str]:
    """The plugins that a CNI configuration calls, by their type, in their order; none when it is not one."""
    try:
        configuration = json.loads(text)
    except ValueError:
        return []
    if not isinstance(configuration, dict):
        return []
    plugins = configuration.get("plugins", [configuration])
    return [str(plugin["type"]) for plugin in plugins if isinstance(plugin, dict) and "type" in plugin] if isinstance(plugins, list) else []
