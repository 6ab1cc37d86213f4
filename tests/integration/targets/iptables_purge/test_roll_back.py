# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Never locked out: what was unhooked comes back by itself unless the controller confirms over a new connection."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

if os.geteuid() != 0:
    pytest.skip("needs root", allow_module_level=True)

import rulesets
from namespace import COLLECTIONS, Namespace

BACKENDS = ("nft", "legacy")
HERE = Path(__file__).resolve().parent
NATIVE = (
    "add table ip kube-proxy\nadd chain ip kube-proxy services\nadd chain ip kube-proxy base { type nat hook prerouting priority -100; }\n"
    "add rule ip kube-proxy base counter packets 3 bytes 180 jump services\n"
    "add table inet cni_plugins_masquerade\nadd chain inet cni_plugins_masquerade postrouting { type nat hook postrouting priority 100; }\n"
    "add rule inet cni_plugins_masquerade postrouting counter packets 4 bytes 240 masquerade\n"
)
# A node that lets nobody in but by a rule inside a chain of kube-proxy.
LOCKED = """\
*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:KUBE-NODEPORTS - [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS
-A INPUT -p udp -j ACCEPT
-A KUBE-NODEPORTS -p tcp -m tcp --dport 2222 -j ACCEPT
-A KUBE-NODEPORTS -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
"""


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """An empty network namespace."""
    with Namespace() as made:
        yield made


@pytest.fixture
def options(tmp_path: Path) -> dict[str, str]:
    """Options every run gets."""
    return {"backup_dir": str(tmp_path / "backup")}


def saved(namespace: Namespace, backend: str) -> list[str]:
    """All rules with their counters, and the native tables."""
    native = [namespace.run("nft", "list", "table", *table, check=False).stdout for table in (("ip", "kube-proxy"), ("inet", "cni_plugins_masquerade"))]
    return [namespace.save(backend, "ipv4"), namespace.save(backend, "ipv6"), *native]


def load(namespace: Namespace, backend: str) -> list[str]:
    """Everybody's rules in both families, and a native table."""
    namespace.restore(backend, "ipv4", rulesets.ruleset(3))
    namespace.restore(backend, "ipv6", rulesets.ipv6(rulesets.ruleset(0)))
    namespace.run("nft", "-f", "-", stdin=NATIVE)
    return saved(namespace, backend)


def wait_for_outcome(folder: str) -> None:
    """Until the roll-back has ended."""
    deadline = time.monotonic() + 30
    while not Path(folder, "outcome.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_a_confirmation_every_byte_comes_back(namespace: Namespace, options: dict[str, str], backend: str) -> None:
    before = load(namespace, backend)
    first = namespace.module("iptables_purge", _phase="unhook", confirm_timeout=2, **options)
    between = saved(namespace, backend)
    assert "-j KUBE-SERVICES" not in "".join(line for line in between[0].splitlines(keepends=True) if "-A KUBE" not in line)
    assert all("flags dormant" in table for table in between[2:])
    wait_for_outcome(first["_armed"])
    assert saved(namespace, backend) == before
    late = namespace.module("iptables_purge", _phase="delete", _armed=first["_armed"], **options)
    assert late["failed"] and late["rolled_back"] and saved(namespace, backend) == before


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_confirmation_deletes(namespace: Namespace, options: dict[str, str], backend: str) -> None:
    load(namespace, backend)
    first = namespace.module("iptables_purge", _phase="unhook", confirm_timeout=3, **options)
    assert not namespace.module("iptables_purge", _phase="delete", _armed=first["_armed"], **options)["failed"]
    after = saved(namespace, backend)
    assert "KUBE-SERVICES" not in after[0] + after[1] and after[2:] == ["", ""]
    time.sleep(4)
    assert saved(namespace, backend) == after, "a confirmed roll-back never fires"
    again = namespace.module("iptables_purge", _phase="delete", _armed=first["_armed"], **options)
    assert not again["failed"], "the answer of the second step may get lost and the step be repeated"


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_others_did_meanwhile_stays(namespace: Namespace, options: dict[str, str], backend: str) -> None:
    before = load(namespace, backend)[0]
    first = namespace.module("iptables_purge", _phase="unhook", confirm_timeout=2, **options)
    program = f"iptables-{backend}"
    namespace.run(program, "-t", "nat", "-I", "PREROUTING", "-s", "192.0.2.9", "-j", "ACCEPT")
    namespace.run(program, "-t", "nat", "-A", "POSTROUTING", "-s", "192.0.2.9", "-j", "ACCEPT")
    namespace.run(program, "-t", "nat", "-D", "PREROUTING", "-j", "KUBERA")
    wait_for_outcome(first["_armed"])
    mine = [line for line in namespace.save(backend, "ipv4").splitlines() if "-A " in line and "192.0.2.9" not in line]
    assert mine == [line for line in before.splitlines() if "-A " in line and "-j KUBERA" not in line]
    assert namespace.save(backend, "ipv4").count("192.0.2.9") == 2


def test_the_counters_that_come_back_are_those_of_the_moment_they_went(namespace: Namespace, options: dict[str, str]) -> None:
    namespace.run("ip", "link", "set", "lo", "up")
    for backend in BACKENDS:
        namespace.restore(backend, "ipv4", rulesets.ruleset(1))
    sender = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); [s.sendto(bytes(8), ('127.0.0.3', 0)) for _ in range(5)]"
    namespace.run("python3", "-c", sender)
    before = [namespace.save(backend, "ipv4") for backend in BACKENDS]
    assert all('[5:140] -A INPUT -m comment --comment "kubernetes health check service ports"' in text for text in before)
    first = namespace.module("iptables_purge", _phase="unhook", confirm_timeout=1, **options)
    wait_for_outcome(first["_armed"])
    assert [namespace.save(backend, "ipv4") for backend in BACKENDS] == before


def test_a_killed_module_leaves_the_roll_back_armed(namespace: Namespace, options: dict[str, str]) -> None:
    before = load(namespace, "nft")
    # The session of the module, with all that is in it, is gone as after a lost connection.
    script = f"{' '.join(namespace.module_argv('iptables_purge'))}; kill -KILL 0"
    arguments = namespace.arguments(_phase="unhook", confirm_timeout=2, **options)
    done = namespace.run("setsid", "--wait", "sh", "-c", script, stdin=arguments, check=False, env=namespace.module_env())
    wait_for_outcome(json.loads(done.stdout)["_armed"])
    assert saved(namespace, "nft") == before


class Cable:
    """Two namespaces with a cable between them: a controller at 192.0.2.1 and a node at 192.0.2.2 that serves commands."""

    def __init__(self, controller: Namespace, node: Namespace, folder: Path) -> None:
        self.controller, self.node, self.folder = controller, node, folder
        self.ssh = folder / "ssh"
        self.ssh.write_text(f'#!/bin/sh\nexec {sys.executable} {HERE / "remote.py"} "$@"\n')
        self.ssh.chmod(0o755)
        controller.run("ip", "link", "add", "cable", "type", "veth", "peer", "name", "eth1", "netns", node.name)
        for namespace, link, address in ((controller, "cable", "192.0.2.1/24"), (node, "eth1", "192.0.2.2/24")):
            namespace.run("ip", "addr", "add", address, "dev", link)
            namespace.run("ip", "link", "set", link, "up")
            namespace.run("ip", "link", "set", "lo", "up")
        self.server = subprocess.Popen(["ip", "netns", "exec", node.name, sys.executable, str(HERE / "remote.py"), "serve"])
        while not self.reachable():
            time.sleep(0.1)

    def reachable(self) -> bool:
        """Whether a new connection gets through."""
        return self.controller.run(str(self.ssh), "192.0.2.2", "true", stdin="", check=False).returncode == 0

    def purge(self, **options: object) -> dict[str, object]:
        """Run the task by Ansible, from the controller; its result."""
        task = {"netops.cni_migration.iptables_purge": {"backup_dir": str(self.folder / "backup"), **options}, "register": "purged", "ignore_errors": True}
        show = {"ansible.builtin.copy": {"content": "{{ purged | to_json }}", "dest": str(self.folder / "result")}, "delegate_to": "localhost"}
        play = [{"hosts": "all", "gather_facts": False, "tasks": [task, {**show, "vars": {"ansible_python_interpreter": sys.executable}}]}]
        (self.folder / "play.yml").write_text(json.dumps(play))
        environment = {
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_SSH_EXECUTABLE": str(self.ssh),
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_CONFIG": str(self.folder / "none.cfg"),
        }
        (self.folder / "none.cfg").touch()
        done = self.controller.run(
            sys.executable,
            "-m",
            "ansible",
            "playbook",
            "-i",
            "192.0.2.2,",
            "-e",
            f"ansible_python_interpreter={sys.executable}",
            "-c",
            "ssh",
            str(self.folder / "play.yml"),
            check=False,
            env=environment,
        )
        assert (self.folder / "result").exists(), done.stdout + done.stderr
        result: dict[str, object] = json.loads((self.folder / "result").read_text())
        return result


@pytest.fixture
def cable(tmp_path: Path) -> Iterator[Cable]:
    """A controller and a node."""
    with Namespace() as controller, Namespace() as node:
        made = Cable(controller, node, tmp_path)
        try:
            yield made
        finally:
            made.server.kill()
            made.server.wait()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_controller_that_cannot_come_back_gets_the_old_rules(cable: Cable, backend: str) -> None:
    cable.node.restore(backend, "ipv4", LOCKED)
    before = cable.node.run(f"iptables-{backend}", "-S").stdout
    result = cable.purge(confirm_timeout=5)
    assert result["failed"] and result["rolled_back"] and not result["changed"] and not result["confirmed"], result
    assert cable.node.run(f"iptables-{backend}", "-S").stdout == before
    assert cable.reachable()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_controller_that_comes_back_confirms(cable: Cable, backend: str) -> None:
    cable.node.restore(backend, "ipv4", rulesets.ruleset(3))
    result = cable.purge(confirm_timeout=30)
    assert result["changed"] and result["confirmed"] and not result.get("failed"), result
    assert not any(str(name).startswith("_") and name != "_ansible_no_log" for name in result), "nothing internal is shown"
    assert "KUBE-SERVICES" not in cable.node.save(backend, "ipv4")
    again = cable.purge()
    assert not again["changed"] and "confirmed" not in again


def test_zero_seconds_mean_one_step(cable: Cable) -> None:
    cable.node.restore("nft", "ipv4", LOCKED)
    cable.node.run("iptables-nft", "-P", "INPUT", "ACCEPT")
    result = cable.purge(confirm_timeout=0)
    assert result["changed"] and "confirmed" not in result, result
    assert "KUBE-NODEPORTS" not in cable.node.save("nft", "ipv4")
