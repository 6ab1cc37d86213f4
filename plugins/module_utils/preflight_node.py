# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the preflight that concern one node: what its Node object says of it, and what was read from it. Pure.

Each gives the lines of one check for a node that is still to move. Those that need what was read from the node are for nodes of this run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.netops.cni_migration.plugins.module_utils import residue
from ansible_collections.netops.cni_migration.plugins.module_utils.node_state import Phase
from ansible_collections.netops.cni_migration.plugins.module_utils.preflight_model import REFUSED, WARNING, Finding, Host, Object, counted, judged

MINIMUM_KERNEL = (5, 4)
"""Cilium 1.17's least kernel (its documentation, Operations, System Requirements)."""

EQUIVALENT_KERNEL = re.compile(r"4\.18\.0-(\d+)\..*el8")
EQUIVALENT_BUILD = 372
"""That of RHEL 8.6, which the same page calls equivalent."""

STRICT = 1


def ready(host: Host) -> Iterator[Finding]:
    """The node must be Ready, unless a migration has begun with it."""
    condition = _condition(host.node, "Ready")
    words = condition.get("message") or condition.get("reason") or "its kubelet was never heard of"

    def problems() -> Iterator[Finding]:
        if host.untouched and not host.view.ready:
            yield Finding("ready", REFUSED, f"the node is not Ready: {words}", "bring the node back before anything is migrated", host.name)

    fact = "the node is Ready" if host.view.ready else f"the node is away in the middle of its move, in state {host.view.phase.value}"
    return judged("ready", problems(), fact, host.name)


def cordon(host: Host) -> Iterator[Finding]:
    """A node that somebody cordoned stays so; one in the middle of its move is cordoned by it."""

    def problems() -> Iterator[Finding]:
        if host.view.phase is Phase.FLANNEL and host.view.unschedulable:
            advice = "it is moved like the others and stays cordoned: uncordon it if pods of other nodes are to find room on it"
            yield Finding("cordon", WARNING, "the node is cordoned", advice, host.name)

    fact = "the node is cordoned by its move" if host.view.unschedulable else "the node takes pods"
    return judged("cordon", problems(), fact, host.name)


def kubelet(host: Host, facts: Object) -> Iterator[Finding]:
    """The API server notices only after 40 s that a kubelet has stopped; systemd knows at once."""
    state = facts["kubelet"]

    def problems() -> Iterator[Finding]:
        if host.untouched and state not in ("active", ""):
            yield Finding("kubelet", REFUSED, f"systemd says that the kubelet is {state}", "start it, and see why it stopped: journalctl -u kubelet", host.name)

    fact = f"systemd says that the kubelet is {state}" if state else "the node has no systemd to ask"
    return judged("kubelet", problems(), fact, host.name)


def etcd(host: Host, facts: Object) -> Iterator[Finding]:
    """A node of the control plane may go when the members of etcd on the others are a quorum. The run asks again before it goes, and waits then."""
    seen = facts.get("etcd")
    if seen is None:
        return

    def problems() -> Iterator[Finding]:
        for complaint in seen["complaints"]:
            yield Finding("etcd", REFUSED if host.untouched else WARNING, complaint["fact"], complaint["advice"], host.name)
        if not seen["stacked"] and any(member["trouble"] for member in seen["members"]):
            yield Finding("etcd", WARNING, seen["summary"], "look at it first: every API server needs it", host.name)

    yield from judged("etcd", problems(), seen["summary"], host.name)


def cni(host: Host, facts: Object) -> Iterator[Finding]:
    """The configuration that the container runtime uses must be Flannel's until the node's move begins."""
    active, plugins = facts["cni_active"], facts["cni_plugins"]
    aside = [name for name in facts["cni_files"] if name.endswith(residue.SET_ASIDE)]
    calls = f"{active} ({', '.join(plugins) or 'cannot be understood'})"

    def problems() -> Iterator[Finding]:
        if "flannel" in plugins:
            if host.untouched and aside:
                advice = f"an earlier Cilium left it: remove it from {residue.CNI_CONFIG_FOLDER}"
                yield Finding("cni", WARNING, f"{', '.join(aside)} is there beside the active {active}", advice, host.name)
        elif not active:
            if host.untouched:
                fact = "no CNI configuration is active" + (f"; {', '.join(aside)} is set aside" if aside else "")
                yield Finding("cni", REFUSED, fact, _restoring(aside), host.name)
        elif "cilium-cni" in plugins:
            if host.untouched:
                advice = f"an earlier Cilium left it: {_restoring(aside)}, and only then remove {active}"
                yield Finding("cni", REFUSED, f"{calls} is the active CNI configuration, but the node is on Flannel", advice, host.name)
        else:
            yield Finding("cni", REFUSED, f"{calls} is the active CNI configuration", "remove it: it comes before Flannel's by name", host.name)

    return judged("cni", problems(), f"{calls} is the active CNI configuration" if active else "no CNI configuration is active yet", host.name)


def _restoring(aside: list[str]) -> str:
    if aside:
        return "; ".join(f"rename {name} to {name[: -len(residue.SET_ASIDE)]}" for name in aside)
    return "restart Flannel's pod on the node, which writes its configuration anew"


def leftover(host: Host, facts: Object, *, has_cilium: bool) -> Iterator[Finding]:
    """Links of a Cilium that is not there any more."""

    def problems() -> Iterator[Finding]:
        for link in facts["links"]:
            if link["name"].startswith("cilium_") and not has_cilium:
                advice = "an earlier Cilium left it, perhaps with programs on other links: remove it and reboot the node"
                yield Finding("leftover", REFUSED, f"link {link['name']} exists, but this cluster has no Cilium", advice, host.name)

    return judged("leftover", problems(), "no link is left of an earlier Cilium", host.name)


def kernel(host: Host, facts: Object) -> Iterator[Finding]:
    """What Cilium's programs need of the kernel."""
    release, lacks = facts["kernel"], facts["kernel_lacks"]

    def problems() -> Iterator[Finding]:
        if not new_enough(release):
            least = ".".join(map(str, MINIMUM_KERNEL))
            yield Finding("kernel", REFUSED, f"the kernel is {release}", f"boot one that is {least} or newer", host.name)
        if not facts["bpf"]:
            yield Finding("kernel", REFUSED, "the kernel has no bpf system call", "boot a kernel with CONFIG_BPF_SYSCALL", host.name)
        if lacks:
            yield Finding("kernel", REFUSED, f"the kernel was built without {', '.join(lacks)}", "boot one that has them: Cilium's agent needs them", host.name)
        if not facts["btf"]:
            advice = "some of Cilium's features need it: boot a kernel with CONFIG_DEBUG_INFO_BTF"
            yield Finding("kernel", WARNING, "the kernel carries no BTF (/sys/kernel/btf/vmlinux)", advice, host.name)

    options = "its configuration cannot be read" if lacks is None else "the options that Cilium needs"
    return judged("kernel", problems(), f"the kernel {release} has the bpf system call and BTF; {options}", host.name)


def new_enough(release: str) -> bool:
    """Whether Cilium supports the kernel of this release."""
    equivalent, version = EQUIVALENT_KERNEL.match(release), re.match(r"(\d+)\.(\d+)", release)
    if equivalent:
        return int(equivalent[1]) >= EQUIVALENT_BUILD
    return version is not None and (int(version[1]), int(version[2])) >= MINIMUM_KERNEL


def tunnel(host: Host, facts: Object, port: int, *, has_cilium: bool) -> Iterator[Finding]:
    """The tunnel's UDP port must be free. What uses it later is not healed by changing the port."""
    links = [link for link in facts["links"] if link.get("port") == port and not link["name"].startswith("cilium_")]

    def problems() -> Iterator[Finding]:
        for link in links:
            identity = "no fixed VNI" if link["vni"] is None else f"VNI {link['vni']}"
            fact = f"link {link['name']} ({identity}) already uses UDP port {port}"
            yield Finding("tunnel", REFUSED, fact, "remove the link or choose another cilium_migration_tunnel_port", host.name)
        if port in facts["udp_ports"] and not links and not has_cilium:
            yield Finding("tunnel", REFUSED, f"UDP port {port} is bound on the node", "free it or choose another cilium_migration_tunnel_port", host.name)

    fact = "no other tunnel uses UDP port" if has_cilium else "nothing uses UDP port"
    return judged("tunnel", problems(), f"{fact} {port}", host.name)


def networkd(host: Host, facts: Object) -> Iterator[Finding]:
    """A systemd-networkd that is restarted deletes what others have made, unless it is told not to."""
    deletes = facts["networkd_deletes"]

    def problems() -> Iterator[Finding]:
        if deletes:
            yield Finding(
                "networkd",
                WARNING,
                f"systemd-networkd runs and deletes {' and '.join(deletes)} that are not its own whenever it is restarted or a link changes",
                "set ManageForeignRoutes=no and ManageForeignRoutingPolicyRules=no in /etc/systemd/networkd.conf.d/, section [Network], and restart it",
                host.name,
            )

    return judged("networkd", problems(), "no systemd-networkd deletes what others have made", host.name)


def rp_filter(host: Host, facts: Object) -> Iterator[Finding]:
    """A strict filter for all links drops what comes from pods on Cilium: the route back leads to ``cilium_host``, not to the pod's link."""

    def problems() -> Iterator[Finding]:
        if facts["rp_filter"] == STRICT:
            yield Finding(
                "rp_filter",
                WARNING,
                "net.ipv4.conf.all.rp_filter is 1, which outweighs what Cilium sets on its pods' links",
                "Cilium's agent sets it to 0 when it starts: take it out of /etc/sysctl.d and of whatever else would set it again",
                host.name,
            )

    return judged("rp_filter", problems(), f"net.ipv4.conf.all.rp_filter is {facts['rp_filter']}", host.name)


def iptables(host: Host, facts: Object) -> Iterator[Finding]:
    """Rules of both backends are both met by a packet, while most programs show and change one of them."""
    tables = facts["iptables"]

    def problems() -> Iterator[Finding]:
        if tables["nft"] and tables["legacy"]:
            yield Finding(
                "iptables",
                WARNING,
                f"rules stand in both backends of iptables: {'; '.join(_told(backend, tables[backend]) for backend in ('legacy', 'nft'))}",
                "a packet meets both: see iptables-legacy-save, and bring what is needed of it to nft. Those of kube-proxy and Flannel go in the ending",
                host.name,
            )

    used = [_told(backend, found) for backend, found in tables.items() if found]
    return judged("iptables", problems(), f"one backend has rules: {'; '.join(used)}" if used else "iptables has no rules", host.name)


def _told(backend: str, tables: Object) -> str:
    return f"{backend} " + ", ".join(name if rules is None else f"{name} ({counted(rules, 'rule')})" for name, rules in tables.items())


def _condition(node: Object, kind: str) -> Object:
    """The node's condition of this kind, empty when it has none."""
    return next((each for each in (node.get("status") or {}).get("conditions") or [] if each.get("type") == kind), {})
