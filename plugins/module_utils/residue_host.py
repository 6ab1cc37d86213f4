# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads from a node what a network left on it. Changes nothing."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Collection
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils import residue
from ansible_collections.netops.cni_migration.plugins.module_utils.host import HostError, read_text, run
from ansible_collections.netops.cni_migration.plugins.module_utils.ownership import CILIUM, FLANNEL, KUBE_PROXY
from ansible_collections.netops.cni_migration.plugins.module_utils.residue import Item

# What kube-proxy sets and never resets (kubernetes v1.33.2 pkg/proxy/iptables/proxier.go, ipvs/proxier.go). Their former values are not
# known, others set some of them too, and none outlives a reboot, so they are told but are no residue.
SYSCTLS = {
    "net.ipv4.conf.all.route_localnet": KUBE_PROXY,
    "net.ipv4.vs.conntrack": KUBE_PROXY,
    "net.ipv4.conf.all.arp_ignore": KUBE_PROXY,
    "net.ipv4.conf.all.arp_announce": KUBE_PROXY,
}


def network_items(owners: Collection[str]) -> list[Item]:
    """Owned links with the routes, neighbours and forwarding entries on them. Raises :class:`HostError`."""
    links = residue.links(_listed("ip", "-details", "link", "show"), owners)
    items = list(links)
    for link in links:
        for family in ("-4", "-6"):
            items += residue.routes(_listed("ip", family, "route", "show", "dev", link.name), link)
        items += residue.neighbours(_listed("ip", "neigh", "show", "dev", link.name), link)
        items += residue.forwarding_entries(_listed("bridge", "fdb", "show", "dev", link.name), link)
    return items


def cilium_items(owners: Collection[str], pod_cidr: str) -> list[Item]:
    """What Cilium leaves beside links and files: routes, routing rules, programs and maps. ``pod_cidr`` are its pods'. Raises :class:`HostError`."""
    if CILIUM not in owners:
        return []
    items = residue.direct_routes(_listed("ip", "-4", "route", "show", "root", pod_cidr)) if pod_cidr else []
    items += residue.routing_rules(_listed("ip", "-4", "rule", "show"))
    if os.path.isdir(residue.BPF_FOLDER):
        links = glob.glob(f"{residue.BPF_FOLDER}/**/links/**", recursive=True)
        items.append(Item("bpf", residue.BPF_FOLDER, CILIUM, f"{sum(map(os.path.isfile, links))} attached programs"))
    maps = glob.glob(residue.BPF_MAPS)
    if maps:
        items.append(Item("bpf", residue.BPF_MAPS, CILIUM, f"{len(maps)} maps"))
        # A program has maps. What is attached to Cilium's own links goes with these.
        others = [link["ifname"] for link in _listed("ip", "link", "show") if residue.link_owner(link["ifname"]) != CILIUM]
        for device in others:
            for direction in ("ingress", "egress"):
                items += residue.filters(_listed("tc", "filter", "show", "dev", device, direction), device, direction)
    return items


def file_items(owners: Collection[str]) -> list[Item]:
    """CNI configuration, programs and state that are left. Raises :class:`HostError`."""
    networks = {residue.DEFAULT_NETWORK}
    items = []
    for path in sorted(glob.glob(f"{glob.escape(residue.CNI_CONFIG_FOLDER)}/*")):
        network = residue.flannel_network(os.path.basename(path), read_text(path) or "") if os.path.isfile(path) else None
        if network:
            networks.add(network)
            items.append(Item("file", path, FLANNEL, "set aside by Cilium" if path.endswith(residue.SET_ASIDE) else "CNI configuration"))
    for pattern, owner in residue.state_paths(sorted(networks)).items():
        items += [Item("directory" if os.path.isdir(path) else "file", path, owner) for path in sorted(glob.glob(pattern))]
    return [item for item in items if item.owner in owners]


def virtual_server_items(owners: Collection[str]) -> list[Item]:
    """The IPVS services of kube-proxy: those that are there while its dummy link is."""
    if KUBE_PROXY not in owners or not os.path.exists("/sys/class/net/kube-ipvs0"):
        return []
    lines = (read_text("/proc/net/ip_vs") or "").splitlines()
    count = sum(line.startswith(("TCP ", "UDP ", "SCTP ")) for line in lines)
    return [Item("ipvs", "virtual servers", KUBE_PROXY, str(count))] if count else []


def sysctls(owners: Collection[str]) -> dict[str, str]:
    """The values of the kernel settings the owners change, where the kernel has them."""
    found = {}
    for name, owner in SYSCTLS.items():
        value = read_text(f"/proc/sys/{name.replace('.', '/')}") if owner in owners else None
        if value is not None:
            found[name] = value.strip()
    return found


def _listed(program: str, *arguments: str) -> list[dict[str, Any]]:
    result = run([program, "-json", *arguments])
    try:
        return [entry for entry in json.loads(result.stdout or "[]") if entry]
    except ValueError as exc:
        raise HostError(f"cannot understand what {program} prints: {exc}", cmd=list(result.cmd), rc=0, stdout=result.stdout, stderr=result.stderr) from exc
