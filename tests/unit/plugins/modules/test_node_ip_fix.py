# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""node_ip_fix as a process of its own: real files, real arguments, an ``ip`` that replays recorded output."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils.host import HostError
from ansible_collections.netops.cni_migration.plugins.modules import node_ip_fix

MODULE = "ansible_collections.netops.cni_migration.plugins.modules.node_ip_fix"
COLLECTIONS = Path(node_ip_fix.__file__).parents[5]
IP = "192.168.10.101"
FLAGS = 'KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix:///run/containerd/containerd.sock"\n'
FIXED = FLAGS.replace('"--', f'"--node-ip={IP} --')
ADDRESSES = [
    {"ifname": "lo", "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8, "scope": "host"}]},
    {"ifname": "eth0", "addr_info": [{"family": "inet", "local": "10.0.2.15", "prefixlen": 24, "scope": "global"}]},
    {"ifname": "eth1", "addr_info": [{"family": "inet", "local": IP, "prefixlen": 24, "scope": "global"}]},
    {
        "ifname": "eth2",
        "addr_info": [
            {"family": "inet", "local": "172.16.0.5", "prefixlen": 24, "scope": "global"},
            {"family": "inet", "local": "172.16.0.200", "prefixlen": 32, "scope": "global"},
        ],
    },
]

Call = Callable[..., dict[str, Any]]


@pytest.fixture
def flags_file(tmp_path: Path) -> Path:
    """A flags file as kubeadm leaves it, with a mode that is not the default one."""
    path = tmp_path / "kubelet" / "kubeadm-flags.env"
    path.parent.mkdir()
    path.write_text(FLAGS)
    path.chmod(0o640)
    return path


@pytest.fixture
def call(tmp_path: Path, flags_file: Path) -> Call:
    """Runs the module against ``flags_file`` and returns its answer."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "addresses.json").write_text(json.dumps(ADDRESSES))
    (binaries / "ip").write_text(f'#!/bin/sh\n[ "$*" = "-j -4 addr show" ] && exec cat {binaries}/addresses.json\n')
    (binaries / "ip").chmod(0o755)

    def run(check: bool = False, **options: str) -> dict[str, Any]:
        arguments = {"flags_file": str(flags_file), **options, "_ansible_check_mode": check, "_ansible_diff": True, "_ansible_remote_tmp": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-m", MODULE],
            input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
            env={**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join([str(COLLECTIONS), *sys.path])},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.lstrip().startswith("{"), done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return run


@pytest.fixture
def kubelet() -> Iterator[Callable[..., None]]:
    """Starts processes that call themselves kubelet and have the given arguments."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> None:
        process = subprocess.Popen(
            ["/usr/bin/kubelet", "-c", "import sys; print(flush=True); sys.stdin.read()", *arguments],
            executable=sys.executable,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.readline()
        started.append(process)

    yield start
    for process in started:
        process.communicate()


def backups(flags_file: Path) -> list[Path]:
    """What lies beside the flags file."""
    return sorted(path for path in flags_file.parent.iterdir() if path != flags_file)


@pytest.mark.parametrize("options", [{"interface": "eth1"}, {"subnet": "192.168.10.0/24"}, {"address": IP}])
def test_writes_once_and_is_idempotent(call: Call, flags_file: Path, options: dict[str, str]) -> None:
    first = call(**options)

    assert flags_file.read_text() == FIXED
    assert stat.S_IMODE(flags_file.stat().st_mode) == 0o640
    assert (first["changed"], first["node_ip"], first["previous"], first["restart_required"]) == (True, IP, [], True)
    assert first["diff"] == {"before_header": str(flags_file), "after_header": str(flags_file), "before": FLAGS, "after": FIXED}
    (backup,) = backups(flags_file)
    assert first["backup_file"] == str(backup)
    assert backup.read_text() == FLAGS
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600

    inode = flags_file.stat().st_ino
    second = call(**options)
    assert (second["changed"], second["previous"], second["backup_file"]) == (False, [IP], None)
    assert second["diff"]["before"] == second["diff"]["after"] == FIXED
    assert flags_file.stat().st_ino == inode
    assert backups(flags_file) == [backup]


def test_check_mode_tells_what_the_real_run_does_and_writes_nothing(call: Call, flags_file: Path) -> None:
    planned = call(check=True, interface="eth1")
    assert flags_file.read_text() == FLAGS
    assert backups(flags_file) == []

    done = call(interface="eth1")
    assert planned["backup_file"] is None
    assert {key: planned[key] for key in ("changed", "node_ip", "previous", "restart_required", "diff")} == {
        key: done[key] for key in ("changed", "node_ip", "previous", "restart_required", "diff")
    }
    assert call(check=True, interface="eth1")["changed"] is False


def test_bytes_and_line_endings_stay(call: Call, flags_file: Path) -> None:
    before = b'# \xff\r\nKUBELET_KUBEADM_ARGS="--node-ip=10.0.2.15 --v=2"\r\nA=b'
    flags_file.write_bytes(before)
    answer = call(interface="eth1")

    assert answer["previous"] == ["10.0.2.15"]
    assert flags_file.read_bytes() == before.replace(b"10.0.2.15", IP.encode())
    assert backups(flags_file)[0].read_bytes() == before


def test_a_symbolic_link_is_followed(call: Call, flags_file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.env"
    link.symlink_to(flags_file)
    call(interface="eth1", flags_file=str(link))

    assert link.is_symlink()
    assert flags_file.read_text() == FIXED


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"interface": "eth2"}, "several global IPv4 addresses on interface eth2: 172.16.0.5 (eth2), 172.16.0.200 (eth2)"),
        ({"interface": "eth7"}, "no global IPv4 address on interface eth7"),
        ({"address": "10.1.1.1"}, "no global IPv4 address equal to 10.1.1.1"),
        ({"interface": "eth1", "flags_file": "/nonexistent/kubeadm-flags.env"}, "run kubeadm init or kubeadm join on this node first"),
        ({"interface": "eth1", "flags_file": "/"}, "cannot read /: Is a directory"),
        ({}, "one of the following is required: interface, subnet, address"),
        ({"interface": "eth1", "address": IP}, "parameters are mutually exclusive: interface|subnet|address"),
    ],
)
def test_errors_change_nothing(call: Call, flags_file: Path, options: dict[str, str], message: str) -> None:
    answer = call(**options)

    assert answer["failed"] is True
    assert message in answer["msg"]
    assert flags_file.read_text() == FLAGS
    assert backups(flags_file) == []


def test_a_file_that_cannot_be_read_is_named_and_left_alone(call: Call, flags_file: Path) -> None:
    flags_file.write_text('KUBELET_KUBEADM_ARGS="--a\n')
    answer = call(interface="eth1")

    assert answer["msg"] == f'{flags_file}: the value that starts on line 1 has a " that is never closed; nothing was written'
    assert answer["path"] == str(flags_file)
    assert flags_file.read_text() == 'KUBELET_KUBEADM_ARGS="--a\n'
    assert backups(flags_file) == []


def test_an_ip_without_json_is_a_failure_with_its_words(call: Call, tmp_path: Path) -> None:
    (tmp_path / "bin" / "ip").write_text('#!/bin/sh\necho \'Option "-j" is unknown, try "ip -help".\' >&2\nexit 255\n')
    answer = call(interface="eth1")

    assert answer["failed"] is True
    assert (answer["cmd"], answer["rc"]) == (["ip", "-j", "-4", "addr", "show"], 255)
    assert 'Option "-j" is unknown' in answer["stderr"]


def test_a_run_that_was_stopped_before_the_restart_still_asks_for_it(call: Call, flags_file: Path, kubelet: Callable[..., None]) -> None:
    flags_file.write_text(FIXED)
    kubelet("--node-ip=10.0.2.15")
    answer = call(interface="eth1")

    assert (answer["changed"], answer["restart_required"], answer["backup_file"]) == (False, True, None)


def test_a_later_node_ip_on_the_command_line_is_warned_of(call: Call, flags_file: Path, kubelet: Callable[..., None]) -> None:
    flags_file.write_text(FIXED)
    kubelet(f"--node-ip={IP}", "--node-ip=10.0.2.15")
    answer = call(interface="eth1")

    assert answer["changed"] is False
    assert "a later --node-ip=10.0.2.15" in json.dumps(answer["warnings"])


# -- in this process, with a /proc of our own ---------------------------------------------------------------------


def add_process(proc: Path, pid: int, *arguments: str, nspid: str | None = None) -> None:
    """Put one process into a made-up /proc, its files as proc(5) has them."""
    (proc / str(pid)).mkdir()
    (proc / str(pid) / "cmdline").write_text("".join(f"{argument}\0" for argument in arguments))
    (proc / str(pid) / "status").write_text(f"Name:\tkubelet\nNSpid:\t{nspid or pid}\n")


def test_only_kubelets_of_the_host_itself_count(tmp_path: Path) -> None:
    add_process(tmp_path, 1, "/sbin/init")
    add_process(tmp_path, 2)
    add_process(tmp_path, 700, "/usr/bin/kubelet", "--node-ip", IP)
    add_process(tmp_path, 800, "/usr/bin/kubelet", "--node-ip=10.0.2.15", nspid="800\t17")
    add_process(tmp_path, 900, "vi", "kubelet")
    (tmp_path / "901").mkdir()
    (tmp_path / "self").symlink_to("700")

    assert node_ip_fix.running_kubelets(str(tmp_path)) == [["/usr/bin/kubelet", "--node-ip", IP]]


@pytest.mark.parametrize(
    ("kubelets", "restart_required"),
    [([], False), ([[f"--node-ip={IP}"]], False), ([["--node-ip", IP]], False), ([["--v=2"]], True), ([[f"--node-ip={IP}"], ["--node-ip=10.0.2.15"]], True)],
)
def test_restart_required_tells_what_runs(
    monkeypatch: pytest.MonkeyPatch, call: Call, flags_file: Path, tmp_path: Path, kubelets: list[list[str]], restart_required: bool
) -> None:
    params = {"interface": "eth1", "subnet": None, "address": None, "flags_file": str(flags_file)}
    module = SimpleNamespace(check_mode=False, _diff=False, params=params)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(node_ip_fix, "running_kubelets", lambda: kubelets)
    assert node_ip_fix.ensure(module)["restart_required"] is True
    assert node_ip_fix.ensure(module) == {"changed": False, "node_ip": IP, "previous": [IP], "restart_required": restart_required, "backup_file": None}


def test_a_write_that_does_not_stay_is_an_error(monkeypatch: pytest.MonkeyPatch, flags_file: Path) -> None:
    monkeypatch.setattr(node_ip_fix, "read_text", lambda path: FLAGS)
    with pytest.raises(HostError, match="does not hold what was just written"):
        node_ip_fix.replace_flags(str(flags_file), FLAGS, FIXED)
