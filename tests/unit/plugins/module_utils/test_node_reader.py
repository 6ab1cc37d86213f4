# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read from a machine: this one's kernel, and files and commands that stand in for a node's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from ansible_collections.netops.cni_migration.plugins.module_utils import node_reader, node_settings
from ansible_collections.netops.cni_migration.plugins.module_utils.host import CommandResult, HostError
from ansible_collections.netops.cni_migration.plugins.modules import cni_node_info

ANSWERS = {
    "ip -details -json address show": '[{"ifname": "eth1", "flags": ["UP"], "mtu": 1500, "address": "0a:00:27:00:00:01", '
    '"addr_info": [{"local": "192.168.10.101", "prefixlen": 24}]}]',
    "ip -4 route show": "default via 10.0.2.2 dev eth0\n192.168.10.0/24 dev eth1 proto kernel scope link src 192.168.10.101\n",
    "systemctl is-active kubelet systemd-networkd": "active\nactive\n",
    "kubelet --version": "Kubernetes v1.33.2\n",
    "ss --no-header --listening --numeric --tcp --processes": 'LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=612,fd=3))\n',
}


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """A node of which ``answers`` and ``files`` can be changed; its packet filter is empty."""
    kubelet = tmp_path / "kubelet"
    kubelet.mkdir()
    found = SimpleNamespace(answers=dict(ANSWERS), files={f"{kubelet}/config.yaml": "evictionHard:\n  nodefs.available: 3%\n"}, rc=0)

    def run(argv: Sequence[str], *, check: bool = True) -> CommandResult:
        assert check or argv[0] in ("systemctl", "kubelet")
        return CommandResult(tuple(argv), found.rc, found.answers[" ".join(argv)], "", 0.0)

    monkeypatch.setattr(node_reader, "_KUBELET_FOLDER", str(kubelet))
    monkeypatch.setattr(node_reader, "run", run)
    monkeypatch.setattr(node_reader, "read_text", found.files.get)
    monkeypatch.setattr(node_reader.shutil, "which", lambda program: f"/bin/{program}")
    monkeypatch.setattr(
        node_reader.glob, "glob", lambda pattern: [path for path in found.files if path.startswith("/etc/systemd") and pattern.endswith("/*.conf")]
    )
    monkeypatch.setattr(node_reader.purge_host, "Node", lambda *_arguments: SimpleNamespace(plan=lambda: SimpleNamespace(tables=[])))
    return found


def test_all_that_is_documented_is_returned(node: SimpleNamespace, tmp_path: Path) -> None:
    assert list(node_reader.collect(str(tmp_path))) == list(yaml.safe_load(cni_node_info.RETURN))


def test_settings_and_tables_are_read_from_their_files(node: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "10-flannel.conflist").touch()
    node.files |= {
        f"{tmp_path}/10-flannel.conflist": '{"plugins": [{"type": "flannel"}]}',
        "/proc/sys/net/ipv4/conf/all/rp_filter": "1\n",
        "/proc/net/udp": "head\n0: 00000000:2118 00000000:0000 07\n",
        "/etc/systemd/networkd.conf.d/foreign.conf": "[Network]\nManageForeignRoutes=no\n",
    }
    seen = node_reader.collect(str(tmp_path))
    assert (seen["rp_filter"], seen["udp_ports"], seen["tcp_listeners"]) == (1, [8472], [{"port": 22, "process": "sshd (612)"}])
    assert (seen["cni_active"], seen["cni_plugins"]) == ("10-flannel.conflist", ["flannel"])
    assert (seen["kubelet"], seen["kubelet_version"], seen["networkd_deletes"]) == ("active", "v1.33.2", ["rules"])
    assert seen["eviction_thresholds"] == {"nodefs.available": "3%"}
    assert seen["devices"] == ["eth1"]
    assert seen["routed_networks"] == [{"network": "192.168.10.0/24", "device": "eth1"}]
    [nodefs] = [each for each in seen["filesystems"] if each["name"] == "nodefs"]
    assert 0 < nodefs["bytes_free"] <= nodefs["bytes"]
    assert seen["iptables"] == {"nft": {}, "legacy": {}}


def test_a_networkd_that_does_not_run_deletes_nothing(node: SimpleNamespace, tmp_path: Path) -> None:
    node.rc, node.answers["systemctl is-active kubelet systemd-networkd"] = 3, "failed\ninactive\n"
    seen = node_reader.collect(str(tmp_path))
    assert (seen["kubelet"], seen["networkd_deletes"]) == ("failed", [])


def test_what_is_not_installed_has_no_state_and_no_version(node: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_reader.shutil, "which", lambda program: None)
    assert node_reader.unit_states("kubelet", "x") == {"kubelet": "", "x": ""}
    assert node_reader.kubelet_version() == ""


def test_a_systemd_that_cannot_be_asked_tells_nothing(node: SimpleNamespace) -> None:
    node.answers["systemctl is-active kubelet"] = "Failed to connect to bus: No such file or directory\n"
    assert node_reader.unit_states("kubelet") == {"kubelet": ""}


def test_links_that_cannot_be_understood_are_an_error_with_what_was_printed(node: SimpleNamespace) -> None:
    node.answers["ip -details -json address show"] = "1: lo: <LOOPBACK>"
    with pytest.raises(HostError, match="cannot understand what ip prints") as error:
        node_reader.links()
    assert error.value.facts["stdout"] == "1: lo: <LOOPBACK>"


@pytest.mark.parametrize("text", [None, "CONFIG_BPF=y\n"])
def test_a_kernel_that_hides_its_configuration_is_asked_for_the_file_in_boot(text: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(node_reader.gzip, "open", refuse)
    monkeypatch.setattr(node_reader, "read_text", lambda path: text if path.startswith("/boot/config-") else None)
    lacks = [f"CONFIG_{name}" for name in node_settings.CILIUM_OPTIONS if name != "BPF"]
    assert node_reader.kernel_lacks() == (None if text is None else lacks)


def test_images_are_looked_for_where_a_container_runtime_keeps_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    monkeypatch.setattr(node_reader, "_KUBELET_FOLDER", str(tmp_path))
    monkeypatch.setattr(node_reader, "read_text", lambda path: f'root = "{tmp_path}/gone"\n')
    monkeypatch.setattr(node_reader, "_OTHER_IMAGE_FOLDERS", (str(images), str(tmp_path)))
    assert [(each["name"], each["path"]) for each in node_reader.filesystems()] == [("nodefs", str(tmp_path)), ("imagefs", str(images))]
