# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a network leaves on a node besides rules: recognising it in what ``ip``, ``bridge``, ``tc`` and the files say.

Where the names come from:

* flannel v0.26.7 ``pkg/backend/vxlan/vxlan.go``, ``ipip/ipip.go``, ``wireguard/wireguard.go``, ``udp/udp_network_amd64.go`` (links),
  ``chart/kube-flannel/values.yaml`` and ``templates/daemonset.yaml`` (files, the network name ``cbr0``)
* containernetworking/plugins v0.9.1 ``plugins/main/bridge`` (``cni0``), ``plugins/meta/flannel/flannel.go`` and
  ``plugins/ipam/host-local/backend/disk/backend.go`` (state), containernetworking/cni v0.8.1 ``libcni/api.go`` (cache)
* kubernetes v1.33.2 ``pkg/proxy/ipvs/proxier.go`` (``kube-ipvs0``)
* cilium v1.17.6 ``pkg/defaults/node.go`` and ``pkg/datapath/connector/add.go`` (links), ``pkg/datapath/linux/linux_defaults`` (routing rules),
  ``pkg/datapath/loader`` (programs), ``install/kubernetes/cilium/templates/cilium-agent/daemonset.yaml`` (files)
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from ansible_collections.netops.cni_migration.plugins.module_utils.ownership import CILIUM, CNI_PLUGINS, FLANNEL, KUBE_PROXY
from ansible_collections.netops.cni_migration.plugins.module_utils.purge_plan import Counts

_FLANNEL_LINK = re.compile(r"flannel(?:\.\d+|-v6\.\d+|\.ipip|-wg|-wg-v6|\d+)")
_CILIUM_LINK = re.compile(r"cilium_\w+|lxc_health|lxc[0-9a-f]{12}")
_LINKS = {"cni0": CNI_PLUGINS, "kube-ipvs0": KUBE_PROXY}

DEFAULT_NETWORK = "cbr0"
CNI_CONFIG_FOLDER = "/etc/cni/net.d"
# Cilium gives the configurations of others this ending while cni-exclusive is on (pkg/k8s and plugins/cilium-cni of cilium v1.17).
SET_ASIDE = ".cilium_bak"
_FIXED_PATHS = {
    "/opt/cni/bin/flannel": FLANNEL,
    "/run/flannel": FLANNEL,
    "/var/lib/cni/flannel": FLANNEL,
    f"{CNI_CONFIG_FOLDER}/05-cilium.conflist": CILIUM,
    "/opt/cni/bin/cilium-cni": CILIUM,
    "/etc/sysctl.d/99-zzz-override_cilium.conf": CILIUM,
}

BPF_FOLDER = "/sys/fs/bpf/cilium"
"""Where the agent keeps the links of its programs to devices, endpoints and cgroups. Without its link a program is not called any more."""
BPF_MAPS = "/sys/fs/bpf/tc/globals/cilium_*"

# By priority and table. The agent moves the kernel's own first rule, for the table of local addresses, to 100 to have room for its own.
_CILIUM_ROUTING_RULES = {(9, "2004"), (10, "2005"), (100, "local")}


class Item(NamedTuple):
    """One thing that is left: its kind, its name (for a link, its own; for a file, the path), its owner, and what else is known."""

    kind: str
    name: str
    owner: str
    detail: str = ""


def link_owner(name: str) -> str | None:
    """Whose network link this is, None when it is nobody's of ours."""
    if _FLANNEL_LINK.fullmatch(name):
        return FLANNEL
    return CILIUM if _CILIUM_LINK.fullmatch(name) else _LINKS.get(name)


def links(listed: Iterable[Mapping[str, object]], owners: Collection[str]) -> list[Item]:
    """The owned links in the output of ``ip -details -json link show``; those plugged into a bridge are counted with it."""
    entries = list(listed)
    found = []
    for entry in entries:
        name = str(entry["ifname"])
        owner = link_owner(name)
        if owner and owner in owners:
            info = entry.get("linkinfo")
            kind = info.get("info_kind", "") if isinstance(info, dict) else ""
            ports = sum(other.get("master") == name for other in entries)
            found.append(Item("link", name, owner, f"{kind}, {ports} ports" if ports else str(kind)))
    return found


def routes(listed: Iterable[Mapping[str, object]], link: Item) -> list[Item]:
    """The routes over an owned link, from ``ip -json route show dev LINK``."""
    return [
        Item("route", str(entry["dst"]), link.owner, " ".join([*([f"via {entry['gateway']}"] if "gateway" in entry else []), f"dev {link.name}"]))
        for entry in listed
        if entry.get("protocol") != "kernel" or "gateway" in entry
    ]


def direct_routes(listed: Iterable[Mapping[str, object]]) -> list[Item]:
    """The routes to the pods of other nodes over links that are not Cilium's, from ``ip -json route show root CIDR``."""
    return [
        Item("route", str(entry["dst"]), CILIUM, f"via {entry['gateway']} dev {entry['dev']}")
        for entry in listed
        if "gateway" in entry and link_owner(str(entry["dev"])) != CILIUM
    ]


def routing_rules(listed: Iterable[Mapping[str, object]]) -> list[Item]:
    """Cilium's rules among those of ``ip -json rule show``; the name is how ``ip rule`` takes it.

    The detail of the table of local addresses says ``instead of pref 0`` while the kernel's own rule for it is missing.
    """
    entries = [(entry.get("priority"), str(entry.get("table"))) for entry in listed]
    moved = (0, "local") not in entries
    return [
        Item("routing_rule", f"pref {priority} table {table}", CILIUM, "instead of pref 0" if table == "local" and moved else "")
        for priority, table in entries
        if (priority, table) in _CILIUM_ROUTING_RULES
    ]


def filters(listed: Iterable[Mapping[str, object]], device: str, direction: str) -> list[Item]:
    """Cilium's programs in ``tc -json filter show dev DEVICE DIRECTION``; the name is how ``tc filter`` takes it, after ``dev``."""
    found = []
    for entry in listed:
        options = entry.get("options")
        program = str(options.get("bpf_name", "")) if isinstance(options, dict) else ""
        if isinstance(options, dict) and program.startswith("cil_"):
            place = f"protocol {entry['protocol']} pref {entry['pref']} handle {options['handle']}"
            found.append(Item("filter", f"{device} {direction} {place} bpf", CILIUM, program))
    return found


def neighbours(listed: Iterable[Mapping[str, object]], link: Item) -> list[Item]:
    """The permanent neighbours on an owned link, from ``ip -json neigh show dev LINK``; those the kernel learned go by themselves."""
    return [
        Item("neighbour", str(entry["dst"]), link.owner, f"lladdr {entry.get('lladdr', '')} dev {link.name}")
        for entry in listed
        if "PERMANENT" in _words(entry.get("state"))
    ]


def forwarding_entries(listed: Iterable[Mapping[str, object]], link: Item) -> list[Item]:
    """The forwarding entries to other nodes on an owned link, from ``bridge -json fdb show dev LINK``."""
    return [Item("fdb", str(entry["mac"]), link.owner, f"dst {entry['dst']} dev {link.name}") for entry in listed if "dst" in entry]


def rules(counts: Counts) -> list[Item]:
    """The owned rules, one item for each table and owner."""
    return [
        Item("rules", f"{backend} {family} {table}", owner, _amount(numbers))
        for backend, families in counts.items()
        for family, tables in families.items()
        for table, by_owner in tables.items()
        for owner, numbers in by_owner.items()
    ]


def flannel_network(name: str, content: str) -> str | None:
    """The network name when a CNI configuration delegates to the Flannel plugin, else None.

    A file that is not JSON is Flannel's when it bears the name Flannel's chart gives it.
    """
    try:
        configuration = json.loads(content)
    except ValueError:
        return DEFAULT_NETWORK if name.startswith("10-flannel.conf") else None
    if not isinstance(configuration, dict):
        return None
    plugins = configuration.get("plugins", [configuration])
    types = [plugin.get("type") for plugin in plugins if isinstance(plugin, dict)] if isinstance(plugins, list) else []
    return str(configuration.get("name", DEFAULT_NETWORK)) if "flannel" in types else None


def state_paths(networks: Iterable[str]) -> dict[str, str]:
    """Every path the old network may have left, as patterns for ``glob``, with the owner of each."""
    paths = dict(_FIXED_PATHS)
    for network in networks:
        paths[f"/var/lib/cni/networks/{network}"] = CNI_PLUGINS
        for folder in ("/var/lib/cni/results", "/var/lib/cni/cache/results"):
            paths[f"{folder}/{network}-*"] = CNI_PLUGINS
    return paths


def _amount(numbers: Mapping[str, int | None]) -> str:
    rules = "uncounted" if numbers["rules"] is None else numbers["rules"]
    return f"{numbers['chains']} chains, {rules} rules"


def _words(value: object) -> list[str]:
    return [str(word) for word in value] if isinstance(value, list) else [str(value)]
