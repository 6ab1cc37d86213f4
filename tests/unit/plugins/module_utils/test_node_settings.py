# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils import node_settings

# As kubeadm 1.33 writes it, cut down.
KUBELET = """apiVersion: kubelet.config.k8s.io/v1beta1
cgroupDriver: systemd
evictionPressureTransitionPeriod: 0s
failSwapOn: false
kind: KubeletConfiguration
"""
CONTAINERD = """version = 2
{root}
state = "/run/containerd"

[plugins]
  [plugins."io.containerd.snapshotter.v1.devmapper"]
    root = "/not/this"
"""


def test_networkd_reads_one_main_file_and_each_drop_in_once_by_name() -> None:
    there = [
        "/usr/lib/systemd/networkd.conf",
        "/etc/systemd/networkd.conf",
        "/usr/lib/systemd/networkd.conf.d/50-vendor.conf",
        "/etc/systemd/networkd.conf.d/90-mine.conf",
        "/usr/lib/systemd/networkd.conf.d/90-mine.conf",
        "/run/systemd/networkd.conf.d/10-early.conf",
    ]
    assert node_settings.networkd_files(there) == [
        "/etc/systemd/networkd.conf",
        "/run/systemd/networkd.conf.d/10-early.conf",
        "/usr/lib/systemd/networkd.conf.d/50-vendor.conf",
        "/etc/systemd/networkd.conf.d/90-mine.conf",
    ]
    assert node_settings.networkd_files([]) == []


OFF = "[Network]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules=no\n"


@pytest.mark.parametrize(
    ("texts", "deletes"),
    [
        ([], ["routes", "rules"]),
        (["[Network]\n#ManageForeignRoutes=no\n#ManageForeignRoutingPolicyRules=no\n"], ["routes", "rules"]),
        ([OFF], []),
        (["[Network]\n ManageForeignRoutingPolicyRules = False \n"], ["routes"]),
        (["[Network]\nManageForeignRoutes=0\n"], ["rules"]),
        ([OFF, "[Network]\nManageForeignRoutingPolicyRules=yes\n"], ["rules"]),
        ([OFF, "[Network]\nManageForeignRoutes=perhaps\n"], []),
        ([OFF, "[DHCPv4]\nManageForeignRoutes=yes\n"], []),
        (["ManageForeignRoutes=no\n"], ["routes", "rules"]),
        (["[Network]\nmanageforeignroutes=no\n"], ["routes", "rules"]),
    ],
)
def test_networkd_deletes_what_is_not_its_own_unless_told_otherwise_last(texts: list[str], deletes: list[str]) -> None:
    assert node_settings.networkd_deletes(texts) == deletes


@pytest.mark.parametrize(
    ("config", "thresholds"),
    [
        ("", node_settings.EVICTION_DEFAULTS),
        (KUBELET, node_settings.EVICTION_DEFAULTS),
        (KUBELET + "evictionHard:\n  imagefs.available: 5%\n  memory.available: 100Mi\n", {"imagefs.available": "5%"}),
        (
            'evictionHard:\n  nodefs.available: "1Gi"\n  "nodefs.inodesFree": 3%\nevictionSoft:\n  imagefs.available: 20%\n',
            {"nodefs.available": "1Gi", "nodefs.inodesFree": "3%"},
        ),
        ("evictionSoft:\n  nodefs.available: 20%\n", node_settings.EVICTION_DEFAULTS),
    ],
)
def test_thresholds_are_the_kubelets_own_or_its_defaults(config: str, thresholds: dict[str, str]) -> None:
    assert node_settings.eviction_thresholds(config) == thresholds


@pytest.mark.parametrize(
    ("config", "root"),
    [
        ("", "/var/lib/containerd"),
        (CONTAINERD.format(root=""), "/var/lib/containerd"),
        (CONTAINERD.format(root='root = "/data/containerd"'), "/data/containerd"),
        (CONTAINERD.format(root="root='/data/c'"), "/data/c"),
        (CONTAINERD.format(root='#root = "/data/containerd"'), "/var/lib/containerd"),
    ],
)
def test_containerd_keeps_its_images_where_it_is_told_to(config: str, root: str) -> None:
    assert node_settings.containerd_root(config) == root


def test_an_option_may_be_built_in_or_a_module() -> None:
    config = "".join(f"CONFIG_{name}=y\n" for name in node_settings.CILIUM_OPTIONS)
    assert node_settings.kernel_lacks(config) == []
    assert node_settings.kernel_lacks(config.replace("CONFIG_NET_CLS_BPF=y", "CONFIG_NET_CLS_BPF=m")) == []
    assert node_settings.kernel_lacks(config.replace("CONFIG_CGROUP_BPF=y", "# CONFIG_CGROUP_BPF is not set")) == ["CONFIG_CGROUP_BPF"]


@pytest.mark.parametrize(
    ("text", "plugins"),
    [
        ('{"cniVersion": "0.3.1", "name": "cbr0", "plugins": [{"type": "flannel"}, {"type": "portmap"}]}', ["flannel", "portmap"]),
        ('{"cniVersion": "0.3.1", "name": "x", "type": "bridge"}', ["bridge"]),
        ('{"plugins": {"type": "x"}}', []),
        ("[]", []),
        ("{", []),
        ("", []),
    ],
)
def test_the_plugins_of_a_cni_configuration(text: str, plugins: list[str]) -> None:
    assert node_settings.cni_plugins(text) == plugins
