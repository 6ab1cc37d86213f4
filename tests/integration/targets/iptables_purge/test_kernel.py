# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module against real kernels: every test has a network namespace of its own. Needs root, iptables and nftables."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import rulesets
from namespace import Namespace

if os.geteuid() != 0:
    pytest.skip("needs root", allow_module_level=True)

BACKENDS = ("nft", "legacy")
FAMILIES = ("ipv4", "ipv6")


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """An empty network namespace."""
    with Namespace() as made:
        yield made


@pytest.fixture
def options(tmp_path: Path) -> dict[str, str]:
    """Options every run gets."""
    return {"backup_dir": str(tmp_path / "backup")}


def ruleset(family: str, services: int | None = None) -> str:
    """The rules of :func:`rulesets.ruleset` in a family."""
    text = rulesets.ruleset(services)
    return text if family == "ipv4" else rulesets.ipv6(text)


def load(namespace: Namespace, backend: str, services: int = 5) -> dict[str, str]:
    """Load foreign and owned rules in both families; returns what has to be left of each afterwards."""
    expected = {}
    for family in FAMILIES:
        namespace.restore(backend, family, ruleset(family))
        expected[family] = namespace.save(backend, family)
        namespace.restore(backend, family, ruleset(family, services if family == "ipv4" else 0))
        assert "KUBE-SERVICES" in namespace.save(backend, family)
    return expected


def saved(namespace: Namespace, backend: str) -> dict[str, str]:
    """All rules of a backend."""
    return {family: namespace.save(backend, family) for family in FAMILIES}


@pytest.mark.parametrize("backend", BACKENDS)
def test_everything_owned_goes_and_the_rest_stays_to_the_byte(namespace: Namespace, options: dict[str, str], backend: str) -> None:
    expected = load(namespace, backend)
    result = namespace.module("iptables_purge", **options)
    assert not result["failed"], result
    assert result["changed"]
    assert saved(namespace, backend) == expected
    assert result["removed"][backend]["ipv4"]["nat"]["kube_proxy"] == {"chains": 20, "rules": 48}
    assert result["kept"][backend]["ipv4"]["filter"]["kubelet"] == {"chains": 2, "rules": 3}
    backup = Path(result["backup_file"])
    assert backup.stat().st_mode & 0o777 == 0o600
    assert {(table["backend"], table["family"]) for table in json.loads(backup.read_text())["tables"]} == {(backend, "ipv4"), (backend, "ipv6")}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_second_run_changes_nothing(namespace: Namespace, options: dict[str, str], backend: str) -> None:
    load(namespace, backend)
    assert namespace.module("iptables_purge", **options)["changed"]
    before = saved(namespace, backend)
    again = namespace.module("iptables_purge", **options)
    assert not again["changed"] and not again["failed"] and again["removed"] == {} and again["backup_file"] == ""
    assert saved(namespace, backend) == before


@pytest.mark.parametrize("backend", BACKENDS)
def test_check_mode_says_the_same_and_writes_nothing(namespace: Namespace, options: dict[str, str], backend: str) -> None:
    load(namespace, backend)
    before = saved(namespace, backend)
    predicted = namespace.module("iptables_purge", check=True, diff=True, **options)
    assert predicted["changed"] and saved(namespace, backend) == before and not Path(options["backup_dir"]).exists()
    shown = predicted["diff"]["before"]
    assert '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES' in shown
    assert "CILIUM" not in shown and "KUBERA" not in shown and "KUBE-FIREWALL" not in shown
    headings = [line for line in shown.splitlines() if line.startswith("# ") and "ipv4 table nat" in line]
    assert headings == [f"# {backend} ipv4 table nat, owner {owner}" for owner in ("kube_proxy", "flannel", "cni_plugins")]
    assert namespace.module("iptables_purge", **options)["removed"] == predicted["removed"]


def test_both_backends_at_once(namespace: Namespace, options: dict[str, str]) -> None:
    expected = {backend: load(namespace, backend) for backend in BACKENDS}
    result = namespace.module("iptables_purge", **options)
    assert set(result["removed"]) == set(BACKENDS)
    assert {backend: saved(namespace, backend) for backend in BACKENDS} == expected


def test_looking_creates_no_legacy_table(namespace: Namespace, options: dict[str, str]) -> None:
    assert not namespace.module("iptables_purge", **options)["changed"]
    assert namespace.run("cat", "/proc/net/ip_tables_names", "/proc/net/ip6_tables_names").stdout == ""
    assert namespace.run("nft", "list", "ruleset").stdout == ""


def test_only_the_named_owners(namespace: Namespace, options: dict[str, str]) -> None:
    load(namespace, "nft")
    result = namespace.module("iptables_purge", owners=["flannel"], families=["ipv4"], **options)
    assert set(result["removed"]["nft"]["ipv4"]["nat"]) == {"flannel"}
    left = saved(namespace, "nft")
    assert "FLANNEL-" not in left["ipv4"] and "flanneld" not in left["ipv4"] and "KUBE-SERVICES" in left["ipv4"] and "FLANNEL-FWD" in left["ipv6"]


def test_kubelet_on_request(namespace: Namespace, options: dict[str, str]) -> None:
    load(namespace, "legacy")
    namespace.module("iptables_purge", owners=["kube_proxy", "kubelet", "flannel", "cni_plugins"], **options)
    left = saved(namespace, "legacy")["ipv4"]
    assert "KUBE-FIREWALL" not in left and "CANARY" not in left and "KUBERA" in left


@pytest.mark.parametrize("backend", BACKENDS)
def test_somebody_elses_jump_makes_it_refuse(namespace: Namespace, options: dict[str, str], backend: str) -> None:
    load(namespace, backend)
    namespace.run(f"iptables-{backend}", "-t", "nat", "-A", "MYAPP", "-s", "192.0.2.9", "-m", "comment", "--comment", "mine", "-j", "KUBE-MARK-MASQ")
    before = saved(namespace, backend)
    result = namespace.module("iptables_purge", **options)
    assert result["failed"] and "MYAPP" in result["msg"] and "drop_foreign_jumps" in result["msg"], result
    assert saved(namespace, backend) == before and not Path(options["backup_dir"]).exists()
    warned = namespace.module("iptables_purge", check=True, **options)
    assert not warned["failed"] and "MYAPP" in warned["refusals"][0]
    dropped = namespace.module("iptables_purge", drop_foreign_jumps=True, **options)
    assert dropped["removed"][backend]["ipv4"]["nat"]["foreign"] == {"chains": 0, "rules": 1}
    assert "KUBE-MARK-MASQ" not in saved(namespace, backend)["ipv4"] and "192.0.2.9" not in saved(namespace, backend)["ipv4"]


@pytest.mark.parametrize(("program", "owner"), [("kube-proxy", "kube_proxy"), ("flanneld", "flannel")])
def test_a_running_owner_makes_it_refuse(namespace: Namespace, options: dict[str, str], tmp_path: Path, program: str, owner: str) -> None:
    load(namespace, "nft")
    before = saved(namespace, "nft")
    stand_in = tmp_path / program
    stand_in.symlink_to("/bin/sleep")
    running = subprocess.Popen(["ip", "netns", "exec", namespace.name, str(stand_in), "60"])
    try:
        while Path(f"/proc/{running.pid}/comm").read_text().strip() != program:
            pass
        result = namespace.module("iptables_purge", **options)
        assert result["failed"] and f"{program} (process {running.pid})" in result["msg"]
        assert saved(namespace, "nft") == before and not Path(options["backup_dir"]).exists()
        others = [name for name in ("kube_proxy", "flannel", "cni_plugins") if name != owner]
        assert namespace.module("iptables_purge", owners=others, **options)["changed"], "its rules stay, so it may go on"
        assert namespace.module("iptables_purge", force=True, **options)["changed"]
    finally:
        running.kill()
        running.wait()


def test_a_held_lock_names_the_holder(namespace: Namespace, options: dict[str, str]) -> None:
    before = {backend: (load(namespace, backend), saved(namespace, backend))[1] for backend in BACKENDS}
    with open("/run/xtables.lock", "a", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = namespace.module("iptables_purge", **options)
    assert result["failed"] and f"process {os.getpid()} (" in result["msg"], result
    assert {backend: saved(namespace, backend) for backend in BACKENDS} == before and not Path(options["backup_dir"]).exists()


def test_a_lock_that_is_free_soon_is_waited_for(namespace: Namespace, options: dict[str, str]) -> None:
    load(namespace, "legacy")
    with open("/run/xtables.lock", "a", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        release = threading.Timer(1.5, fcntl.flock, (lock, fcntl.LOCK_UN))
        release.start()
        result = namespace.module("iptables_purge", **options)
        release.join()
    assert result["changed"] and result["seconds"] > 0.5, result


@pytest.mark.parametrize(
    ("backend", "sabotage"),
    [
        ("nft", "nft_kernel._dump = lambda *_question, real=nft_kernel._dump: [body[:-6] for body in real(*_question)]"),
        ("legacy", "xt_kernel.read_blob = lambda key, real=xt_kernel.read_blob: __import__('dataclasses').replace(real(key), entries=real(key).entries[8:])"),
    ],
)
def test_an_answer_that_cannot_be_understood_makes_it_refuse(namespace: Namespace, options: dict[str, str], backend: str, sabotage: str) -> None:
    load(namespace, backend)
    before = saved(namespace, backend)
    package = "ansible_collections.netops.cni_migration.plugins"
    script = f"from {package}.module_utils import nft_kernel, xt_kernel\n{sabotage}\nfrom {package}.modules import iptables_purge\niptables_purge.main()"
    done = namespace.run(sys.executable, "-c", script, stdin=namespace.arguments(**options), check=False, env=namespace.module_env())
    result = json.loads(done.stdout)
    assert result["failed"] and "cannot understand" in result["msg"], result
    assert saved(namespace, backend) == before and not Path(options["backup_dir"]).exists()


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_iptables_it_refuses(namespace: Namespace, options: dict[str, str], backend: str, tmp_path: Path) -> None:
    load(namespace, backend)
    before = saved(namespace, backend)
    empty = tmp_path / "bin"
    empty.mkdir()
    (empty / "ip").symlink_to("/sbin/ip")
    result = namespace.module("iptables_purge", env={"PATH": str(empty)}, **options)
    assert result["failed"] and f"iptables-{backend}-save" in result["msg"] and saved(namespace, backend) == before


def test_no_room_for_the_backup(namespace: Namespace, tmp_path: Path) -> None:
    load(namespace, "nft")
    before = saved(namespace, "nft")
    small = tmp_path / "small"
    small.mkdir()
    # A mount namespace keeps the file system of 64 KiB away from the rest of the machine.
    script = 'mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@"'
    done = namespace.run(
        "unshare",
        "-m",
        "sh",
        "-c",
        script,
        str(small),
        *namespace.module_argv("iptables_purge"),
        stdin=namespace.arguments(backup_dir=str(small)),
        check=False,
        env=namespace.module_env(),
    )
    result = json.loads(done.stdout)
    assert result["failed"] and "bytes free" in result["msg"] and saved(namespace, "nft") == before


def test_nftables_mode_tables_and_ipsets(namespace: Namespace, options: dict[str, str]) -> None:
    namespace.run(
        "nft",
        "-f",
        "-",
        stdin="add table ip kube-proxy\nadd chain ip kube-proxy services\n"
        "add chain ip kube-proxy base { type nat hook prerouting priority -100; }\nadd rule ip kube-proxy base jump services\n"
        "add table ip6 kube-proxy\nadd table ip flannel-ipv4\nadd table ip6 flannel-ipv6\n"
        "add table ip mine\nadd chain ip mine services\nadd table inet kube-proxy\n",
    )
    for name in ("KUBE-CLUSTER-IP", "KUBE-6-CLUSTER-IP", "KUBE-OF-MINE"):
        namespace.run("ipset", "create", name, "hash:ip,port", "family", "inet6" if "-6-" in name else "inet")
    result = namespace.module("iptables_purge", **options)
    assert result["removed"]["nft"]["ipv4"]["kube-proxy"]["kube_proxy"] == {"chains": 2, "rules": 1}
    assert result["ipsets"] == ["KUBE-6-CLUSTER-IP", "KUBE-CLUSTER-IP"]
    assert namespace.run("nft", "list", "tables").stdout.splitlines() == ["table ip mine", "table inet kube-proxy"]
    assert namespace.run("ipset", "list", "-n").stdout.split() == ["KUBE-OF-MINE"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_foreign_rule_on_an_owned_ipset_makes_it_refuse(namespace: Namespace, options: dict[str, str], backend: str) -> None:
    namespace.run("ipset", "create", "other", "hash:ip")
    namespace.run("ipset", "create", "KUBE-CLUSTER-IP", "hash:ip,port")
    namespace.run(f"iptables-{backend}", "-t", "mangle", "-A", "INPUT", "-m", "set", "--match-set", "KUBE-CLUSTER-IP", "dst,dst", "-j", "ACCEPT")
    result = namespace.module("iptables_purge", **options)
    assert result["failed"] and "matches on an ipset" in result["msg"]
    assert "KUBE-CLUSTER-IP" in namespace.run("ipset", "list", "-n").stdout


def test_an_administrators_cni_chain_stays_while_it_has_rules(namespace: Namespace, options: dict[str, str]) -> None:
    rules = (
        "*filter\n:CNI-FORWARD - [0:0]\n:CNI-ADMIN - [0:0]\n"
        '-A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD\n'
        '-A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN\n{}COMMIT\n'
    )
    namespace.restore("nft", "ipv4", rules.format("-A CNI-ADMIN -s 192.0.2.0/24 -j DROP\n"))
    namespace.module("iptables_purge", **options)
    assert "CNI-FORWARD" not in namespace.save("nft", "ipv4") and "-A CNI-ADMIN" in namespace.save("nft", "ipv4")
    namespace.restore("nft", "ipv4", rules.format(""))
    namespace.module("iptables_purge", **options)
    assert "CNI-" not in namespace.save("nft", "ipv4")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("steps", [1, 2])
def test_rules_added_meanwhile_are_not_lost(namespace: Namespace, options: dict[str, str], backend: str, steps: int) -> None:
    namespace.restore(backend, "ipv4", ruleset("ipv4", 1000))
    added: list[int] = []
    stop = threading.Event()

    def add() -> None:
        while not stop.is_set():
            number = len(added) + 1
            namespace.run(f"iptables-{backend}", "-w", "10", "-t", "nat", "-A", "MYAPP", "-p", "tcp", "--dport", str(number), "-j", "RETURN")
            added.append(number)

    adder = threading.Thread(target=add)
    adder.start()
    try:
        result = namespace.module("iptables_purge", **options, **({"_phase": "unhook"} if steps == 2 else {}))
        if steps == 2:
            result = namespace.module("iptables_purge", _phase="delete", _armed=result["_armed"], **options)
    finally:
        stop.set()
        adder.join()
    assert not result["failed"], result
    left = namespace.save(backend, "ipv4")
    assert added and all(f"--dport {number} -j RETURN" in left for number in added) and "KUBE-SVC-" not in left


@pytest.mark.parametrize("backend", BACKENDS)
def test_killed_at_any_moment_every_table_is_old_or_new(namespace: Namespace, options: dict[str, str], backend: str) -> None:
    expected = load(namespace, backend, 400)
    before = saved(namespace, backend)
    started = time.monotonic()
    assert not namespace.module("iptables_purge", check=True, **options)["failed"]
    whole = time.monotonic() - started
    for part in range(1, 9):
        argv = ["ip", "netns", "exec", namespace.name, *namespace.module_argv("iptables_purge")]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env={**os.environ, **namespace.module_env()}, text=True)
        assert process.stdin
        process.stdin.write(namespace.arguments(**options))
        process.stdin.close()
        time.sleep(whole * part / 6)
        process.kill()
        process.wait()
        for family, text in saved(namespace, backend).items():
            for table in text.split("COMMIT\n"):
                assert table in before[family] or table in expected[family]
        for family in FAMILIES:
            namespace.restore(backend, family, ruleset(family, 400 if family == "ipv4" else 0))
    assert namespace.module("iptables_purge", **options)["changed"] and saved(namespace, backend) == expected


def test_a_jump_for_each_of_many_pods(namespace: Namespace, options: dict[str, str]) -> None:
    pods = range(1500)
    chains = "".join(f":CNI-{pod:024x} - [0:0]\n" for pod in pods)
    jumps = "".join(f'-A POSTROUTING -s 10.{pod}/32 -m comment --comment "name: \\"cbr0\\" id: \\"{pod:064}\\"" -j CNI-{pod:024x}\n' for pod in pods)
    namespace.restore("nft", "ipv4", f"*nat\n{chains}{jumps}COMMIT\n")
    result = namespace.module("iptables_purge", **options)
    assert not result["failed"] and "CNI-" not in namespace.save("nft", "ipv4"), result


def test_chains_that_somebody_else_removes_at_the_same_time(namespace: Namespace, options: dict[str, str]) -> None:
    load(namespace, "nft", 2000)
    package = "ansible_collections.netops.cni_migration.plugins"
    # The first transaction meets a table from which another one has just taken the chains: each of its messages is an error.
    script = f"""
import subprocess
from {package}.module_utils import nft_kernel
from {package}.modules import iptables_purge
commit = nft_kernel.commit
def behind(messages):
    nft_kernel.commit = commit
    subprocess.run(["nft", "flush table ip nat; flush table ip6 nat"], check=True)
    commit([message for message in messages if message.kind == 5])
    return commit(messages)
nft_kernel.commit = behind
iptables_purge.main()
"""
    done = namespace.run(sys.executable, "-c", script, stdin=namespace.arguments(**options), check=False, env=namespace.module_env())
    assert done.stdout.startswith("{") or '{"changed"' in done.stdout, done.stderr
    result = json.loads(done.stdout)
    assert result["changed"] and "KUBE-SVC-" not in namespace.save("nft", "ipv4")


def test_counters_of_kept_rules_go_on_counting(namespace: Namespace, options: dict[str, str]) -> None:
    namespace.run("ip", "link", "set", "lo", "up")
    for backend in BACKENDS:
        namespace.restore(backend, "ipv4", ruleset("ipv4", 2))
        namespace.run(f"iptables-{backend}", "-A", "OUTPUT", "-d", "127.0.0.3", "-p", "icmp", "-c", "100", "8400", "-j", "ACCEPT")
    namespace.module("iptables_purge", **options)
    sender = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); s.sendto(bytes(8), ('127.0.0.3', 0))"
    namespace.run("python3", "-c", sender)
    for backend in BACKENDS:
        assert "[101:8428] -A OUTPUT -d 127.0.0.3/32 -p icmp -j ACCEPT" in namespace.save(backend, "ipv4")


def test_a_full_backup_holds_every_rule(namespace: Namespace, options: dict[str, str]) -> None:
    load(namespace, "legacy")
    before = namespace.save("legacy", "ipv4")
    result = namespace.module("iptables_purge", full_backup=True, **options)
    dump = json.loads(Path(result["backup_file"]).read_text())["dump"]["legacy ipv4"]
    namespace.restore("legacy", "ipv4", dump)
    assert namespace.save("legacy", "ipv4") == before
