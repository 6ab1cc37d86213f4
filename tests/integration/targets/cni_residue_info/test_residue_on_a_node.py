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
for folder in /etc /opt /var/lib /run; do mount -t tmpfs tmpfs "$folder"; done
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
