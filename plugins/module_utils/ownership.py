# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who owns which chain, jump, ipset and nftables table: the one table every decision of the purge rests on.

A chain is owned by its name, a jump from a chain of somebody else by its whole shape, never by a word somewhere in
it. Each entry names the upstream file it was read from:

* kube-proxy, iptables mode: kubernetes v1.33.2 ``pkg/proxy/iptables/proxier.go``
* kube-proxy, ipvs mode: kubernetes v1.33.2 ``pkg/proxy/ipvs/proxier.go`` and ``pkg/proxy/ipvs/ipset.go``
* kube-proxy, nftables mode: kubernetes v1.33.2 ``pkg/proxy/nftables/proxier.go``
* kubelet: kubernetes v1.33.2 ``pkg/kubelet/kubelet_network_linux.go`` (``KUBE-MARK-DROP``: until v1.27)
* Flannel: flannel v0.26.7 ``pkg/trafficmngr/iptables/iptables.go`` and ``pkg/trafficmngr/nftables/nftables.go``
* CNI plugins: containernetworking/plugins v0.9.1 ``pkg/utils/utils.go`` and ``pkg/ip/ipmasq_linux.go`` (masquerade),
  ``plugins/meta/portmap/portmap.go`` (hostPorts), ``plugins/meta/firewall/iptables.go``; v1.6.2 for the same on nftables
* Cilium: cilium v1.17.6 ``pkg/datapath/iptables/custom_chain.go`` and ``pkg/datapath/iptables/ipset/ipset.go``
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ansible_collections.netops.cni_migration.plugins.module_utils.ruleset import Rule

KUBE_PROXY = "kube_proxy"
KUBELET = "kubelet"
FLANNEL = "flannel"
CNI_PLUGINS = "cni_plugins"
CILIUM = "cilium"
OWNERS = (KUBE_PROXY, KUBELET, FLANNEL, CNI_PLUGINS, CILIUM)

# pkg/datapath/iptables/custom_chain.go: ciliumChains, each with its table and the chain that leads into it. An agent that starts gives the
# chains that are there the prefix (pkg/datapath/iptables/iptables.go: renameChains), and the feeders keep their comment.
_CILIUM_CHAINS = {
    "CILIUM_INPUT": ("filter", "INPUT"),
    "CILIUM_OUTPUT": ("filter", "OUTPUT"),
    "CILIUM_FORWARD": ("filter", "FORWARD"),
    "CILIUM_PRE_raw": ("raw", "PREROUTING"),
    "CILIUM_OUTPUT_raw": ("raw", "OUTPUT"),
    "CILIUM_PRE_mangle": ("mangle", "PREROUTING"),
    "CILIUM_POST_mangle": ("mangle", "POSTROUTING"),
    "CILIUM_PRE_nat": ("nat", "PREROUTING"),
    "CILIUM_OUTPUT_nat": ("nat", "OUTPUT"),
    "CILIUM_POST_nat": ("nat", "POSTROUTING"),
}
_CILIUM_PREFIXES = ("", "OLD_")

_CHAINS = {
    # pkg/proxy/iptables/proxier.go, constants at the top
    "KUBE-SERVICES": KUBE_PROXY,
    "KUBE-EXTERNAL-SERVICES": KUBE_PROXY,
    "KUBE-NODEPORTS": KUBE_PROXY,
    "KUBE-POSTROUTING": KUBE_PROXY,
    "KUBE-MARK-MASQ": KUBE_PROXY,
    "KUBE-FORWARD": KUBE_PROXY,
    "KUBE-PROXY-FIREWALL": KUBE_PROXY,
    "KUBE-PROXY-CANARY": KUBE_PROXY,
    # pkg/proxy/ipvs/proxier.go, constants at the top
    "KUBE-NODE-PORT": KUBE_PROXY,
    "KUBE-LOAD-BALANCER": KUBE_PROXY,
    "KUBE-SOURCE-RANGES-FIREWALL": KUBE_PROXY,
    "KUBE-IPVS-FILTER": KUBE_PROXY,
    "KUBE-IPVS-OUT-FILTER": KUBE_PROXY,
    # pkg/kubelet/kubelet_network_linux.go
    "KUBE-FIREWALL": KUBELET,
    "KUBE-IPTABLES-HINT": KUBELET,
    "KUBE-KUBELET-CANARY": KUBELET,
    "KUBE-MARK-DROP": KUBELET,
    # pkg/trafficmngr/iptables/iptables.go
    "FLANNEL-POSTRTG": FLANNEL,
    "FLANNEL-FWD": FLANNEL,
    # plugins/meta/portmap/portmap.go, constants at the top
    "CNI-HOSTPORT-DNAT": CNI_PLUGINS,
    "CNI-HOSTPORT-SETMARK": CNI_PLUGINS,
    "CNI-HOSTPORT-MASQ": CNI_PLUGINS,
    "CNI-HOSTPORT-SNAT": CNI_PLUGINS,
    # plugins/meta/firewall/iptables.go; the two stages came with plugins v1.2
    "CNI-FORWARD": CNI_PLUGINS,
    "CNI-ADMIN": CNI_PLUGINS,
    "CNI-ISOLATION-STAGE-1": CNI_PLUGINS,
    "CNI-ISOLATION-STAGE-2": CNI_PLUGINS,
    **{prefix + name: CILIUM for prefix in _CILIUM_PREFIXES for name in _CILIUM_CHAINS},
}

# The prefixes isServiceChainName() of pkg/proxy/iptables/proxier.go treats as its own, and KUBE-XLB- of v1.23 and older.
_KUBE_PROXY_PREFIXES = ("KUBE-SVC-", "KUBE-SEP-", "KUBE-EXT-", "KUBE-FW-", "KUBE-SVL-", "KUBE-XLB-")

# MustFormatChainNameWithPrefix() of pkg/utils/utils.go: always 28 characters, filled up with hexadecimal digits.
_CNI_HASHED = re.compile(r"CNI-(?:[0-9a-f]{24}|(?:DN|SN)-[0-9a-f]{21})")

# plugins/meta/firewall/iptables.go creates this chain for the administrator's rules; with rules in it, it is theirs.
ADMIN_CHAIN = "CNI-ADMIN"

_IPVS_IPSETS = frozenset(
    # pkg/proxy/ipvs/ipset.go; for IPv6 "KUBE-" becomes "KUBE-6-" and the name is cut at 31 characters
    name[:31]
    for plain in (
        "LOOP-BACK",
        "CLUSTER-IP",
        "EXTERNAL-IP",
        "EXTERNAL-IP-LOCAL",
        "LOAD-BALANCER",
        "LOAD-BALANCER-LOCAL",
        "LOAD-BALANCER-FW",
        "LOAD-BALANCER-SOURCE-IP",
        "LOAD-BALANCER-SOURCE-CIDR",
        "NODE-PORT-TCP",
        "NODE-PORT-LOCAL-TCP",
        "NODE-PORT-UDP",
        "NODE-PORT-LOCAL-UDP",
        "NODE-PORT-SCTP-HASH",
        "NODE-PORT-LOCAL-SCTP-HASH",
        "HEALTH-CHECK-NODE-PORT",
        "IPVS-IPS",
        # v1.16 and older
        "NODE-PORT-SCTP",
        "NODE-PORT-LOCAL-SCTP",
    )
    for name in (f"KUBE-{plain}", f"KUBE-6-{plain}")
)

IPSETS = {
    **dict.fromkeys(_IPVS_IPSETS, KUBE_PROXY),
    # pkg/datapath/iptables/ipset/ipset.go: CiliumNodeIPSetV4, CiliumNodeIPSetV6
    "cilium_node_set_v4": CILIUM,
    "cilium_node_set_v6": CILIUM,
}

NATIVE_TABLES = {
    # pkg/proxy/nftables/proxier.go: kubeProxyTable, one per family
    ("ipv4", "kube-proxy"): KUBE_PROXY,
    ("ipv6", "kube-proxy"): KUBE_PROXY,
    # pkg/trafficmngr/nftables/nftables.go: ipv4Table, ipv6Table
    ("ipv4", "flannel-ipv4"): FLANNEL,
    ("ipv6", "flannel-ipv6"): FLANNEL,
    # plugins/meta/portmap/portmap_nftables.go: tableName; pkg/ip/ipmasq_nftables_linux.go: ipMasqTableName (plugins v1.6.2)
    ("ipv4", "cni_hostport"): CNI_PLUGINS,
    ("ipv6", "cni_hostport"): CNI_PLUGINS,
    ("inet", "cni_plugins_masquerade"): CNI_PLUGINS,
}


class Hook(NamedTuple):
    """A jump an owner writes into a chain of somebody else; ``comment`` is compared as a whole."""

    table: str
    chain: str
    target: str
    comment: str
    conditions: frozenset[str] = frozenset()


_NEW = frozenset({"conntrack"})
_LOCAL = frozenset({"addrtype"})
_PORTALS = "kubernetes service portals"
_EXTERNAL = "kubernetes externally-visible service portals"
_LB_FIREWALL = "kubernetes load balancer firewall"
_IPVS_ACCESS = "kubernetes ipvs access filter"

_HOOKS = frozenset(
    {
        # pkg/proxy/iptables/proxier.go: iptablesJumpChains (older versions wrote some without the conntrack match)
        *(Hook("filter", chain, "KUBE-EXTERNAL-SERVICES", _EXTERNAL, on) for chain in ("INPUT", "FORWARD") for on in (_NEW, frozenset())),
        Hook("filter", "INPUT", "KUBE-NODEPORTS", "kubernetes health check service ports"),
        *(Hook("filter", chain, "KUBE-SERVICES", _PORTALS, on) for chain in ("INPUT", "FORWARD", "OUTPUT") for on in (_NEW, frozenset())),
        Hook("filter", "FORWARD", "KUBE-FORWARD", "kubernetes forwarding rules"),
        *(Hook("filter", chain, "KUBE-PROXY-FIREWALL", _LB_FIREWALL, _NEW) for chain in ("INPUT", "FORWARD", "OUTPUT")),
        *(Hook("nat", chain, "KUBE-SERVICES", _PORTALS) for chain in ("PREROUTING", "OUTPUT")),
        Hook("nat", "POSTROUTING", "KUBE-POSTROUTING", "kubernetes postrouting rules"),
        # pkg/proxy/ipvs/proxier.go: iptablesJumpChain
        Hook("filter", "INPUT", "KUBE-NODE-PORT", "kubernetes health check rules"),
        *(Hook("filter", chain, "KUBE-PROXY-FIREWALL", "kube-proxy firewall rules") for chain in ("INPUT", "FORWARD")),
        Hook("filter", "INPUT", "KUBE-IPVS-FILTER", _IPVS_ACCESS),
        Hook("filter", "OUTPUT", "KUBE-IPVS-OUT-FILTER", _IPVS_ACCESS),
        # pkg/kubelet/kubelet_network_linux.go: syncIPTablesRules
        *(Hook("filter", chain, "KUBE-FIREWALL", "") for chain in ("INPUT", "OUTPUT")),
        # pkg/trafficmngr/iptables/iptables.go: masqRules, forwardRules
        Hook("nat", "POSTROUTING", "FLANNEL-POSTRTG", "flanneld masq"),
        Hook("filter", "FORWARD", "FLANNEL-FWD", "flanneld forward"),
        # plugins/meta/portmap/portmap.go: genToplevelDnatChain, genMarkMasqChain
        *(Hook("nat", chain, "CNI-HOSTPORT-DNAT", "", _LOCAL) for chain in ("PREROUTING", "OUTPUT")),
        Hook("nat", "POSTROUTING", "CNI-HOSTPORT-MASQ", "CNI portfwd requiring masquerade"),
        # plugins/meta/firewall/iptables.go: generateFilterRule; the second one came with plugins v1.2
        Hook("filter", "FORWARD", "CNI-FORWARD", "CNI firewall plugin rules"),
        Hook("filter", "FORWARD", "CNI-ISOLATION-STAGE-1", "CNI firewall plugin rules (ingressPolicy: same-bridge)"),
        # pkg/datapath/iptables/custom_chain.go: doInstallFeeder
        *(Hook(table, chain, prefix + name, f"cilium-feeder: {name}") for prefix in _CILIUM_PREFIXES for name, (table, chain) in _CILIUM_CHAINS.items()),
    }
)

# pkg/utils/utils.go: FormatComment
_CNI_COMMENT = re.compile(r'name: ".*" id: ".*"')

# Flannel before v0.20.2 wrote these without chains of its own (pkg/network/iptables.go: MasqRules, ForwardRules).
_FLANNEL_STRAYS = {
    ("nat", "POSTROUTING"): ("flanneld masq", {"RETURN", "MASQUERADE"}),
    ("filter", "FORWARD"): ("flanneld forward", {"ACCEPT"}),
}
_FLANNEL_STRAY_CONDITIONS = frozenset({"src", "dst", "mark"})


def chain_owner(name: str) -> str | None:
    """The owner of a chain of this name in an iptables table, None when it is nobody's of ours."""
    owner = _CHAINS.get(name)
    if owner:
        return owner
    if name.startswith(_KUBE_PROXY_PREFIXES):
        return KUBE_PROXY
    return CNI_PLUGINS if _CNI_HASHED.fullmatch(name) else None


def is_hook(table: str, rule: Rule) -> bool:
    """Whether a jump that stands in somebody else's chain is exactly what the owner of its target writes there.

    The comment may be missing altogether: a rule with the owner's chain, target and conditions does what the
    owner's does. Another comment makes it somebody's own rule.
    """
    if _CNI_HASHED.fullmatch(rule.target):
        # pkg/ip/ipmasq_linux.go: SetupIPMasq
        return (table, rule.chain) == ("nat", "POSTROUTING") and rule.conditions == {"src"} and bool(_CNI_COMMENT.fullmatch(rule.comment))
    if Hook(table, rule.chain, rule.target, rule.comment, rule.conditions) in _HOOKS:
        return True
    return not rule.comment and any(
        (hook.table, hook.chain, hook.target, hook.conditions) == (table, rule.chain, rule.target, rule.conditions) for hook in _HOOKS
    )


def stray_owner(table: str, rule: Rule) -> str | None:
    """The owner of a rule without any owned chain: only those Flannel itself wrote before it had chains."""
    comment, targets = _FLANNEL_STRAYS.get((table, rule.chain), ("", set()))
    if comment and rule.comment == comment and rule.target in targets and rule.conditions <= _FLANNEL_STRAY_CONDITIONS:
        return FLANNEL
    return None
