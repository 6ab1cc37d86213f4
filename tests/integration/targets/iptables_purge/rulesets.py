# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rulesets as kube-proxy, Flannel, the CNI plugins and others write them, in ``iptables-restore`` format.

The owned ones follow the upstream sources that ``plugins/module_utils/ownership.py`` names, at any number of services.
"""

from __future__ import annotations

import base64
import hashlib

FOREIGN_NAT = """\
:MYAPP - [0:0]
:KUBERA - [0:0]
[7:420] -A PREROUTING -p tcp -m tcp --dport 9999 -m comment --comment "mine: not a KUBE-SVC rule" -j MYAPP
[1:60] -A PREROUTING -j KUBERA
[3:180] -A MYAPP -p tcp -j DNAT --to-destination 192.0.2.1:80
[2:120] -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -m comment --comment "FLANNEL is not its name" -j MASQUERADE
"""

FOREIGN_FILTER = """\
:CILIUM_FORWARD - [0:0]
:DOCKER-USER - [0:0]
:ufw-user-input - [0:0]
[11:660] -A INPUT -m comment --comment "cilium-feeder: CILIUM_INPUT" -j ACCEPT
[5:300] -A INPUT -j ufw-user-input
[6:360] -A FORWARD -m comment --comment "cilium-feeder: CILIUM_FORWARD" -j CILIUM_FORWARD
[4:240] -A FORWARD -j DOCKER-USER
[2:100] -A CILIUM_FORWARD -o cilium_host -m comment --comment "cilium: any->cluster on cilium_host forward accept" -j ACCEPT
[9:540] -A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT
[8:480] -A OUTPUT -d 192.0.2.7/32 -p udp -m udp --dport 53 -m comment --comment "KUBE DNS of the office" -j ACCEPT
"""

KUBELET_FILTER = """\
:KUBE-FIREWALL - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
[21:1260] -A INPUT -j KUBE-FIREWALL
[22:1320] -A OUTPUT -j KUBE-FIREWALL
[0:0] -A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" \
-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
"""


def _hash(*parts: str) -> str:
    return base64.b32encode(hashlib.sha256("".join(parts).encode()).digest()).decode()[:16]


def kube_proxy_nat(services: int, endpoints: int = 2) -> str:
    """The nat table of kube-proxy's iptables mode (pkg/proxy/iptables/proxier.go, v1.33.2)."""
    names = ["KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ", "KUBE-PROXY-CANARY"]
    rules = [
        '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
        '-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
        '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
        "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
        "-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0",
        '-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
        "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
    ]
    for number in range(services):
        service = f"ns/svc{number}"
        chain, address = f"KUBE-SVC-{_hash(service, 'tcp')}", f"10.{96 + number // 65536}.{number // 256 % 256}.{number % 256}"
        names.append(chain)
        rules += [
            f'-A KUBE-SERVICES -d {address}/32 -p tcp -m comment --comment "{service} cluster IP" -m tcp --dport 80 -j {chain}',
            f'-A {chain} ! -s 10.244.0.0/16 -d {address}/32 -p tcp -m comment --comment "{service} cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ',
        ]
        for endpoint in range(endpoints):
            index = number * endpoints + endpoint
            pod = f"10.244.{index // 250 % 256}.{index % 250 + 1}"
            leaf = f"KUBE-SEP-{_hash(service, 'tcp', pod)}"
            share = f"-m statistic --mode random --probability {1 / (endpoints - endpoint):.11f} " if endpoint < endpoints - 1 else ""
            names.append(leaf)
            rules += [
                f'-A {chain} -m comment --comment "{service} -> {pod}:80" {share}-j {leaf}',
                f"-A {leaf} -s {pod}/32 -m comment --comment {service} -j KUBE-MARK-MASQ",
                f"-A {leaf} -p tcp -m comment --comment {service} -m tcp -j DNAT --to-destination {pod}:80",
            ]
    rules.append(
        '-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" '
        "-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"
    )
    return "".join(f":{name} - [0:0]\n" for name in names) + "".join(f"{rule}\n" for rule in rules)


KUBE_PROXY_FILTER = """\
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
:KUBE-SERVICES - [0:0]
-I INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-I INPUT -m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS
-I INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-I FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-I FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-I FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-I FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-I OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-I OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A KUBE-SERVICES -d 10.96.9.9/32 -p tcp -m comment --comment "ns/none has no endpoints" -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable
"""

FLANNEL_NAT = """\
:FLANNEL-POSTRTG - [0:0]
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.244.1.0/24 -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.244.0.0/16 -d 10.244.1.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.1.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
"""

# As Flannel before v0.20.2 wrote them, without chains of its own.
FLANNEL_STRAYS_NAT = """\
-A POSTROUTING -s 10.244.0.0/16 -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j RETURN
-A POSTROUTING -s 10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
"""

FLANNEL_FILTER = """\
:FLANNEL-FWD - [0:0]
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A FLANNEL-FWD -s 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
"""

CNI_NAT = """\
:CNI-1b4cd5d2d8c8a6f1b2c3d4e5 - [0:0]
:CNI-DN-0123456789abcdef01234 - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
:CNI-HOSTPORT-MASQ - [0:0]
:CNI-HOSTPORT-SETMARK - [0:0]
-I POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ
-A POSTROUTING -s 10.244.1.7/32 -m comment --comment "name: \\"cbr0\\" id: \\"0123abcd\\"" -j CNI-1b4cd5d2d8c8a6f1b2c3d4e5
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A CNI-1b4cd5d2d8c8a6f1b2c3d4e5 -d 10.244.1.0/24 -m comment --comment "name: \\"cbr0\\" id: \\"0123abcd\\"" -j ACCEPT
-A CNI-DN-0123456789abcdef01234 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.244.1.7:80
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \\"cbr0\\" id: \\"0123abcd\\"" -m multiport --dports 8080 -j CNI-DN-0123456789abcdef01234
-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE
-A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000
"""

MANGLE = """\
:KUBE-IPTABLES-HINT - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-PROXY-CANARY - [0:0]
"""

NAT_CHAINS = ":PREROUTING ACCEPT [1:64]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [2:128]\n:POSTROUTING ACCEPT [3:192]\n"
FILTER_CHAINS = ":INPUT ACCEPT [10:1000]\n:FORWARD DROP [20:2000]\n:OUTPUT ACCEPT [30:3000]\n"
MANGLE_CHAINS = ":PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"


def ipv6(text: str) -> str:
    """The same rules with IPv6 addresses in the place of the IPv4 ones."""
    result = text
    for old, new in (
        ("127.0.0.0/8", "::1/128"),
        ("224.0.0.0/4", "ff00::/8"),
        ("10.244.0.0/16", "fd00:10:244::/48"),
        ("10.244.1.0/24", "fd00:10:244:1::/64"),
        ("10.244.1.7/32", "fd00:10:244:1::7/128"),
        ("10.244.1.7:80", "[fd00:10:244:1::7]:80"),
        ("172.17.0.0/16", "fd00:17::/64"),
        ("192.0.2.1:80", "[2001:db8::1]:80"),
        ("192.0.2.7/32", "2001:db8::7/128"),
        ("10.96.9.9/32", "fd00:96::9/128"),
        ("icmp-port-unreachable", "icmp6-port-unreachable"),
    ):
        result = result.replace(old, new)
    return result


def table(name: str, chains: str, *parts: str) -> str:
    """One table for ``iptables-restore``: its built-in chains, then the parts, declarations first."""
    lines = "".join(parts).splitlines(keepends=True)
    declared = "".join(line for line in lines if line.startswith(":"))
    return f"*{name}\n{chains}{declared}{''.join(line for line in lines if not line.startswith(':'))}COMMIT\n"


def ruleset(services: int | None = None) -> str:
    """What nobody of ours owns and what the kubelet keeps; with ``services``, also all that the other owners add to it."""
    owned = services is not None
    kept_mangle = "".join(f"{line}\n" for line in MANGLE.splitlines() if owned or "KUBE-PROXY" not in line)
    return (
        table("nat", NAT_CHAINS, FOREIGN_NAT, *((kube_proxy_nat(services), FLANNEL_NAT, FLANNEL_STRAYS_NAT, CNI_NAT) if owned else ()))
        + table("filter", FILTER_CHAINS, FOREIGN_FILTER, KUBELET_FILTER, *((KUBE_PROXY_FILTER, FLANNEL_FILTER) if owned else ()))
        + table("mangle", MANGLE_CHAINS, kept_mangle)
        + table("raw", ":PREROUTING ACCEPT [5:500]\n:OUTPUT ACCEPT [0:0]\n")
    )
