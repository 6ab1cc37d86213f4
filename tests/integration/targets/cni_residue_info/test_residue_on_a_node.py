# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module in a network namespace, with the CNI's folders of the machine covered by empty ones. Needs root."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if os.geteuid() != 0:
    pytest.skip("needs root", allow_module_level=True)

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "iptables_purge"))
import rulesets
from namespace import Namespace

# In a mount namespace of its own, the folders of the machine are covered; then what the test wants is put there.
COVER = """\
for folder in /etc /opt /var/lib /run /sys/fs/bpf; do mount -t tmpfs tmpfs "$folder"; done
sh -c "$0"
exec "$@"
"""


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """An empty network namespace."""
    with Namespace() as made:
        yield made


def gather(namespace: Namespace, prepare: str = "", **options: object) -> dict[str, object]:
    """Run the module after the shell commands in ``prepare``."""
    done = namespace.run(
        "unshare",
        "-m",
        "sh",
        "-euc",
        COVER,
        prepare or "true",
        *namespace.module_argv("cni_residue_info"),
        stdin=namespace.arguments(**options),
        check=False,
        env=namespace.module_env(),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, object] = json.loads(done.stdout)
    return result


def test_a_clean_node_has_none(namespace: Namespace) -> None:
    result = gather(namespace)
    assert result["residue"] == [] and result["by_kind"] == {} and not result["changed"]


def test_what_flannel_and_kube_proxy_leave(namespace: Namespace) -> None:
    for command in (
        "ip link set lo up",
        "ip link add flannel.1 type vxlan id 1 local 127.0.0.1 dstport 8472 nolearning",
        "ip addr add 10.244.0.0/32 dev flannel.1",
        "ip link set flannel.1 up",
        "ip route add 10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink",
        "ip neigh add 10.244.1.0 lladdr 02:00:00:00:00:01 dev flannel.1 nud permanent",
        "bridge fdb add 02:00:00:00:00:01 dev flannel.1 dst 192.168.10.101",
        "ip link add cni0 type bridge",
        "ip link add mine0 type bridge",
        "ipset create KUBE-CLUSTER-IP hash:ip,port",
    ):
        namespace.run(*command.split())
    namespace.restore("nft", "ipv4", rulesets.ruleset(2))
    prepare = (
        "mkdir -p /etc/cni/net.d /opt/cni/bin /run/flannel /var/lib/cni/flannel /var/lib/cni/networks/cbr0 /var/lib/cni/networks/mine /var/lib/cni/results;"
        'echo \'{"name": "cbr0", "plugins": [{"type": "flannel"}]}\' > /etc/cni/net.d/10-flannel.conflist.cilium_bak;'
        'echo \'{"name": "podman", "plugins": [{"type": "bridge"}]}\' > /etc/cni/net.d/87-podman.conflist.cilium_bak;'
        "touch /opt/cni/bin/flannel /opt/cni/bin/bridge /var/lib/cni/results/cbr0-1-eth0 /var/lib/cni/results/mine-1-eth0"
    )
    result = gather(namespace, prepare)
    by_kind = result["by_kind"]
    assert isinstance(by_kind, dict)
    names = {kind: [item["name"] for item in items] for kind, items in by_kind.items()}
    assert names == {
        "rules": ["nft ipv4 nat"] * 3 + ["nft ipv4 filter"] * 2 + ["nft ipv4 mangle"],
        "ipset": ["KUBE-CLUSTER-IP"],
        "link": ["flannel.1", "cni0"],
        "route": ["10.244.1.0/24"],
        "neighbour": ["10.244.1.0"],
        "fdb": ["02:00:00:00:00:01"],
        "file": ["/etc/cni/net.d/10-flannel.conflist.cilium_bak", "/opt/cni/bin/flannel", "/var/lib/cni/results/cbr0-1-eth0"],
        "directory": ["/run/flannel", "/var/lib/cni/flannel", "/var/lib/cni/networks/cbr0"],
    }
    only_kube_proxy = gather(namespace, prepare, owners=["kube_proxy"])["residue"]
    assert isinstance(only_kube_proxy, list) and {item["owner"] for item in only_kube_proxy} == {"kube_proxy"}


# Its folders, with what stands in the BPF file system as plain files.
CILIUM_FILES = """
mkdir -p /etc/cni/net.d /etc/sysctl.d /opt/cni/bin /sys/fs/bpf/cilium/devices/eth1/links /sys/fs/bpf/cilium/endpoints/7/links /sys/fs/bpf/tc/globals
touch /etc/cni/net.d/05-cilium.conflist /etc/cni/net.d/10-flannel.conflist /etc/sysctl.d/99-zzz-override_cilium.conf /opt/cni/bin/cilium-cni /opt/cni/bin/bridge
touch /sys/fs/bpf/cilium/devices/eth1/links/cil_from_netdev /sys/fs/bpf/cilium/endpoints/7/links/cil_from_container /sys/fs/bpf/cilium/endpoints/7/map
touch /sys/fs/bpf/tc/globals/cilium_calls_1 /sys/fs/bpf/tc/globals/cilium_lxc /sys/fs/bpf/tc/globals/mine
"""


def test_what_cilium_leaves_goes_by_the_names_that_are_told(namespace: Namespace, tmp_path: Path) -> None:
    def network() -> list[str]:
        return [namespace.run("ip", "-4", *what).stdout for what in (("rule", "show"), ("route", "show"), ("-brief", "link", "show"))]

    for command in ("ip link set lo up", "ip link add eth1 type veth peer name out1", "ip addr add 192.168.10.100/24 dev eth1", "ip link set eth1 up"):
        namespace.run(*command.split())
    namespace.run("ip", "link", "set", "out1", "up")
    plain = network()
    for command in (
        "ip link add cilium_net type veth peer name cilium_host",
        "ip link add lxc_health type veth peer name inside",
        "ip addr add 10.245.0.145/32 dev cilium_host",
        "ip link set cilium_host up",
        "ip link set cilium_net up",
        "ip route add 10.245.0.0/24 via 10.245.0.145 dev cilium_host proto kernel src 10.245.0.145",
        "ip route add 10.245.1.0/24 via 192.168.10.101 dev eth1 proto kernel",
        "ip rule add from all lookup local pref 100 proto kernel",
        "ip rule del pref 0",
        "ip rule add fwmark 0x200/0xf00 lookup 2004 pref 9 proto kernel",
        "ipset create cilium_node_set_v4 hash:ip",
    ):
        namespace.run(*command.split())
    others = gather(namespace, CILIUM_FILES)["residue"]
    assert isinstance(others, list) and [item["name"] for item in others] == ["/etc/cni/net.d/10-flannel.conflist"]
    result = gather(namespace, CILIUM_FILES, owners=["cilium"], pod_cidr="10.245.0.0/16")
    by_kind = result["by_kind"]
    assert isinstance(by_kind, dict)
    told = {kind: [(item["name"], item["detail"]) for item in items] for kind, items in by_kind.items()}
    assert told == {
        "ipset": [("cilium_node_set_v4", "")],
        "link": [("cilium_host", "veth"), ("cilium_net", "veth"), ("lxc_health", "veth")],
        "route": [("10.245.0.0/24", "via 10.245.0.145 dev cilium_host"), ("10.245.1.0/24", "via 192.168.10.101 dev eth1")],
        "routing_rule": [("pref 9 table 2004", ""), ("pref 100 table local", "instead of pref 0")],
        "bpf": [("/sys/fs/bpf/cilium", "2 attached programs"), ("/sys/fs/bpf/tc/globals/cilium_*", "2 maps")],
        "file": [(path, "") for path in ("/etc/cni/net.d/05-cilium.conflist", "/opt/cni/bin/cilium-cni", "/etc/sysctl.d/99-zzz-override_cilium.conf")],
    }
    # As the role takes them.
    namespace.run("ip", "rule", "add", "pref", "0", "table", "local")
    for name, _detail in told["routing_rule"]:
        namespace.run("ip", "rule", "delete", *name.split())
    for name, detail in told["route"]:
        namespace.run("ip", "route", "delete", name, *detail.split())
    for name in ("cilium_host", "lxc_health"):
        namespace.run("ip", "link", "delete", name)
    assert namespace.module("iptables_purge", owners=["cilium"], backup_dir=str(tmp_path))["ipsets"] == ["cilium_node_set_v4"]
    assert network() == plain
    assert gather(namespace, owners=["cilium"], pod_cidr="10.245.0.0/16")["residue"] == []
