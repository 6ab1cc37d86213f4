# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The planner of node_ip_fix: recorded cases, then generated flag files."""

from __future__ import annotations

import json

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ansible_collections.netops.cni_migration.plugins.module_utils.host import HostError
from ansible_collections.netops.cni_migration.plugins.module_utils.node_ip import (
    VARIABLE,
    LocalAddress,
    choose_address,
    find_node_ip,
    node_ip_value,
    node_ip_values,
    parse_addresses,
    parse_assignments,
    plan,
    split_words,
)

IP = "192.168.10.101"

# What kubeadm v1.33.2 writes on a node that joins.
KUBEADM = 'KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix:///run/containerd/containerd.sock --pod-infra-container-image=registry.k8s.io/pause:3.10"\n'


def link(name: str, *entries: dict[str, object]) -> dict[str, object]:
    """One link as ``ip -j -4 addr show`` prints it, of the keys that are read."""
    return {"ifname": name, "flags": ["UP"], "addr_info": list(entries)}


def inet(address: str, prefix: int = 24, scope: str = "global", **more: object) -> dict[str, object]:
    """One address of a link."""
    return {"family": "inet", "local": address, "prefixlen": prefix, "scope": scope, "valid_life_time": 4294967295, **more}


# A VirtualBox node: NAT on eth0, the cluster on eth1, a virtual IP of keepalived, Flannel's links.
NODE = json.dumps(
    [
        link("lo", inet("127.0.0.1", 8, "host")),
        {},
        link("eth0", inet("10.0.2.15", dynamic=True)),
        link("eth1", inet("192.168.10.101")),
        link("eth2", inet("172.16.0.5"), inet("172.16.0.200", 32, label="eth2")),
        link("eth3", inet("169.254.7.7", 16, "link"), inet("10.9.0.7", deprecated=True), inet("10.9.0.8", secondary=True)),
        link("eth4", inet("169.254.8.8", 16)),
        link("flannel.1", inet("10.244.1.0", 32)),
    ]
)


class TestAddresses:
    def test_usable_addresses_of_a_node(self) -> None:
        assert parse_addresses(NODE) == [
            LocalAddress("eth0", "10.0.2.15"),
            LocalAddress("eth1", "192.168.10.101"),
            LocalAddress("eth2", "172.16.0.5"),
            LocalAddress("eth2", "172.16.0.200"),
            LocalAddress("eth3", "10.9.0.8"),
            LocalAddress("flannel.1", "10.244.1.0"),
        ]

    def test_no_output_is_no_address(self) -> None:
        assert parse_addresses("") == []

    @pytest.mark.parametrize("output", ["Object", "[1]", "{}x", '[{"addr_info": [{}]}]', json.dumps([link("eth1", inet("x"))])])
    def test_unreadable_output_is_an_error(self, output: str) -> None:
        with pytest.raises(HostError, match="cannot read the output of ip"):
            parse_addresses(output)

    @pytest.mark.parametrize(
        ("criterion", "expected"),
        [
            ({"interface": "eth1"}, "192.168.10.101"),
            ({"interface": "eth3"}, "10.9.0.8"),
            ({"subnet": "192.168.10.0/24"}, "192.168.10.101"),
            ({"subnet": "172.16.0.200/32"}, "172.16.0.200"),
            ({"address": "10.0.2.15"}, "10.0.2.15"),
            ({"address": "172.16.0.200"}, "172.16.0.200"),
        ],
    )
    def test_choice(self, criterion: dict[str, str], expected: str) -> None:
        assert choose_address(parse_addresses(NODE), **criterion) == expected

    @pytest.mark.parametrize(
        ("criterion", "message"),
        [
            ({"interface": "eth2"}, r"several .* on interface eth2: 172.16.0.5 \(eth2\), 172.16.0.200 \(eth2\); name the one"),
            ({"subnet": "10.0.0.0/8"}, r"several .* inside 10.0.0.0/8: 10.0.2.15 \(eth0\), 10.9.0.8 \(eth3\), 10.244.1.0 \(flannel.1\)"),
            ({"interface": "eth9"}, r"no global IPv4 address on interface eth9; this host has: 10.0.2.15 \(eth0\), 192.168.10.101 \(eth1\)"),
            ({"interface": "lo"}, "no global IPv4 address on interface lo"),
            ({"subnet": "192.168.99.0/24"}, "no global IPv4 address inside 192.168.99.0/24"),
            ({"address": "192.168.10.100"}, "no global IPv4 address equal to 192.168.10.100; this host has"),
            ({"address": "10.9.0.7"}, "no global IPv4 address equal to 10.9.0.7"),
            ({"subnet": "192.168.10.1/24"}, "subnet must be an IPv4 network .* has host bits set"),
            ({"subnet": "fd00::/64"}, "subnet must be an IPv4 network"),
            ({"address": "fd00::1"}, "address must be an IPv4 address"),
            ({"address": "k8s-w1"}, "address must be an IPv4 address"),
        ],
    )
    def test_no_clear_choice_is_an_error(self, criterion: dict[str, str], message: str) -> None:
        with pytest.raises(HostError, match=message):
            choose_address(parse_addresses(NODE), **criterion)

    def test_a_host_without_addresses_says_so(self) -> None:
        with pytest.raises(HostError, match="this host has: none"):
            choose_address([], interface="eth1")

    def test_one_address_on_two_links_is_one_address(self) -> None:
        twice = [LocalAddress("eth1", IP), LocalAddress("br0", IP)]
        assert choose_address(twice, subnet="192.168.10.0/24") == IP


class TestRecordedFiles:
    @pytest.mark.parametrize(
        ("before", "after", "previous"),
        [
            pytest.param(KUBEADM, KUBEADM.replace('"--', f'"--node-ip={IP} --', 1), (), id="absent: first, as the runbook's sed does"),
            pytest.param(f'{VARIABLE}="--a=1 --node-ip={IP} --b"\n', None, (IP,), id="right"),
            pytest.param(f'{VARIABLE}="--a=1 --node-ip {IP} --b"\n', None, (IP,), id="right, with a space"),
            pytest.param(f"{VARIABLE}='--node_ip={IP}'", None, (IP,), id="right, with an underscore"),
            pytest.param(f'{VARIABLE}="--a=1 --node-ip=10.0.2.15 --b"\n', f'{VARIABLE}="--a=1 --node-ip={IP} --b"\n', ("10.0.2.15",), id="wrong"),
            pytest.param(f'{VARIABLE}="--node-ip 10.0.2.15  --b"\n', f'{VARIABLE}="--node-ip={IP}  --b"\n', ("10.0.2.15",), id="wrong, with a space"),
            pytest.param(f'{VARIABLE}="--a --node-ip= --b"\n', f'{VARIABLE}="--a --node-ip={IP} --b"\n', ("",), id="flag with empty value"),
            pytest.param(f'{VARIABLE}="--a --node-ip --b"\n', f'{VARIABLE}="--a --node-ip={IP} --b"\n', ("",), id="flag without value keeps the next flag"),
            pytest.param(f'{VARIABLE}="--a --node-ip"\n', f'{VARIABLE}="--a --node-ip={IP}"\n', ("",), id="flag without value at the end"),
            pytest.param(
                f'{VARIABLE}="--node-ip=10.0.2.15 --a  --node-ip {IP}"\n',
                f'{VARIABLE}="--a  --node-ip {IP}"\n',
                ("10.0.2.15", IP),
                id="twice, the last is right",
            ),
            pytest.param(
                f'{VARIABLE}="--node-ip={IP} --a --node-ip=10.0.2.15"\n', f'{VARIABLE}="--a --node-ip={IP}"\n', (IP, "10.0.2.15"), id="twice, the last is wrong"
            ),
            pytest.param(f'{VARIABLE}="--a --node-ip 1.1.1.1 --node-ip={IP}"\n', f'{VARIABLE}="--a --node-ip={IP}"\n', ("1.1.1.1", IP), id="twice in a row"),
            pytest.param(f"{VARIABLE}='--a --b'\n", f"{VARIABLE}='--node-ip={IP} --a --b'\n", (), id="single quotes"),
            pytest.param(f"{VARIABLE}=--a --b\n", f"{VARIABLE}=--node-ip={IP} --a --b\n", (), id="unquoted"),
            pytest.param(f'{VARIABLE}=""\n', f'{VARIABLE}="--node-ip={IP}"\n', (), id="empty in quotes"),
            pytest.param(f"{VARIABLE}= ''\n", f"{VARIABLE}= '--node-ip={IP}'\n", (), id="empty in single quotes after a space"),
            pytest.param(f"{VARIABLE}=\nA=b\n", f"{VARIABLE}=--node-ip={IP}\nA=b\n", (), id="empty"),
            pytest.param(f"{VARIABLE}=", f"{VARIABLE}=--node-ip={IP}", (), id="empty, no final newline"),
            pytest.param("", f'{VARIABLE}="--node-ip={IP}"\n', (), id="empty file"),
            pytest.param("A=b", f'A=b\n{VARIABLE}="--node-ip={IP}"\n', (), id="no variable, no final newline"),
            pytest.param("A=b\r\n", f'A=b\r\n{VARIABLE}="--node-ip={IP}"\r\n', (), id="no variable, CRLF"),
            pytest.param(f'{VARIABLE}="--a"\r\nA=b\r\n', f'{VARIABLE}="--node-ip={IP} --a"\r\nA=b\r\n', (), id="CRLF"),
            pytest.param(f"{VARIABLE}=--a\r\n", f"{VARIABLE}=--node-ip={IP} --a\r\n", (), id="CRLF, unquoted"),
            pytest.param(
                f'# {VARIABLE}="--node-ip=1.1.1.1"\n;x\n\nX{VARIABLE}="--node-ip=2.2.2.2"\nnonsense\n{VARIABLE} = "--a"\n',
                f'# {VARIABLE}="--node-ip=1.1.1.1"\n;x\n\nX{VARIABLE}="--node-ip=2.2.2.2"\nnonsense\n{VARIABLE} = "--node-ip={IP} --a"\n',
                (),
                id="comments and other variables",
            ),
            pytest.param(
                f'{VARIABLE}="--node-ip=1.1.1.1"\n{VARIABLE}="--a"\n',
                f'{VARIABLE}="--node-ip=1.1.1.1"\n{VARIABLE}="--node-ip={IP} --a"\n',
                (),
                id="assigned twice: the last counts",
            ),
            pytest.param(
                f"{VARIABLE}=\"--labels='a b' --node-ip='10.0.2.15' --x=\\\"y z\\\"\"\n",
                f'{VARIABLE}="--labels=\'a b\' --node-ip={IP} --x=\\"y z\\""\n',
                ("10.0.2.15",),
                id="quotes inside",
            ),
            pytest.param(
                f'{VARIABLE}="--a \\\n  --node-ip=1.1.1.1 \\\n  --b"\n',
                f'{VARIABLE}="--a \\\n  --node-ip={IP} \\\n  --b"\n',
                ("1.1.1.1",),
                id="continued lines",
            ),
            pytest.param(f"{VARIABLE}=--a \\\n --node-ip=1.1.1.1\n", f"{VARIABLE}=--a \\\n --node-ip={IP}\n", ("1.1.1.1",), id="continued lines, unquoted"),
            pytest.param(
                f'A="x\n{VARIABLE}=--a\n"\n',
                f'A="x\n{VARIABLE}=--a\n"\n{VARIABLE}="--node-ip={IP}"\n',
                (),
                id="looks like the variable inside another's quotes",
            ),
            pytest.param(f'{VARIABLE}="--node-ip=fd00::1,10.0.2.15"\n', f'{VARIABLE}="--node-ip=fd00::1,{IP}"\n', ("fd00::1,10.0.2.15",), id="dual-stack"),
            pytest.param(f'{VARIABLE}="--node-ip={IP},fd00::1"\n', None, (f"{IP},fd00::1",), id="dual-stack, right"),
            pytest.param(f'{VARIABLE}="--a=\udcff"\n', f'{VARIABLE}="--node-ip={IP} --a=\udcff"\n', (), id="bytes that are no UTF-8"),
        ],
    )
    def test_plan(self, before: str, after: str | None, previous: tuple[str, ...]) -> None:
        planned = plan(before, IP)
        assert planned.text == (before if after is None else after)
        assert planned.previous == previous
        assert plan(planned.text, IP).text == planned.text

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (f'A=b\n{VARIABLE}="--a\n', 'starts on line 2 has a " that is never closed'),
            (f"{VARIABLE}='--a", "starts on line 1 has a ' that is never closed"),
            ('A="x\n', 'has a " that is never closed'),
            (f'{VARIABLE}="--a=\'x"\n', f"{VARIABLE} ends inside a ' that is never closed"),
            (f"{VARIABLE}='--a\\'\n", f"{VARIABLE} ends inside a backslash"),
            (f'# a comment \\\n{VARIABLE}="--a"\n', "line 1 is a comment that ends in a backslash"),
            (f'{VARIABLE}="--a"\0\n', "NUL"),
            (f"{VARIABLE}=\"--a --node-ip=1.1.1.\"'1'\n", "quoted in a way"),
            ("A=b\\", "quoted in a way"),
        ],
    )
    def test_what_cannot_be_read_is_an_error(self, text: str, message: str) -> None:
        with pytest.raises(HostError, match=message):
            plan(text, IP)


class TestSystemdReading:
    """The two readers by themselves, case by case as env-file.c and extract-word.c have it."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("a=a\n#comment\n;comment\nb=b\n", [("a", "a"), ("b", "b")]),
            ("a=a\\\nb\n", [("a", "ab")]),
            ('a="a\\\nb"\n', [("a", "ab")]),
            ("a='a\\\nb'\n", [("a", "a\\\nb")]),
            ('a = "x" "y"z\n', [("a", "xyz")]),
            ('a=x"y"\n', [("a", 'x"y"')]),
            ('a="\\$ \\n \\\\"\n', [("a", "$ \\n \\")]),
            ("a=x\\ y\n", [("a", "x y")]),
            ("=a=b\n", [("=a", "b")]),
            ("a=\r\nb=c", [("a", ""), ("b", "c")]),
            ("no assignment\na=\\", [("a", "")]),
        ],
    )
    def test_assignments(self, text: str, expected: list[tuple[str, str]]) -> None:
        assert [(found.name, found.value) for found in parse_assignments(text)] == expected

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("  a   b\t c ", ["a", "b", "c"]),
            ("a=\"b c\" 'd e'f", ["a=b c", "d ef"]),
            ("a\\ b 'c\\'d'", ["a b", "c'd"]),
            ("'' x", ["", "x"]),
            ("", []),
        ],
    )
    def test_words(self, value: str, expected: list[str]) -> None:
        quoted = "".join(f"\\{char}" if char in '"\\' else char for char in value)
        (assignment,) = parse_assignments(f'A="{quoted}"')
        assert [word.text for word in split_words(assignment.chars)] == expected


class TestFlag:
    @pytest.mark.parametrize(
        ("arguments", "values"),
        [
            (["/usr/bin/kubelet", "--a", f"--node-ip={IP}"], [IP]),
            (["kubelet", "--node-ip", IP, "--node_ip=x"], [IP, "x"]),
            (["kubelet", "--node-ips=x", "-node-ip=x", "node-ip=x", "__node_ip=x", "--config=--node-ip=x"], []),
        ],
    )
    def test_values(self, arguments: list[str], values: list[str]) -> None:
        assert node_ip_values(arguments) == values

    @pytest.mark.parametrize(
        ("current", "expected"),
        [
            ("", IP),
            ("10.0.2.15", IP),
            ("0.0.0.0", IP),
            ("::", IP),
            ("garbage,", IP),
            ("10.0.2.15,10.0.2.16", IP),
            ("10.0.2.15,fd00::1", f"{IP},fd00::1"),
            ("FD00::1, 10.0.2.15", f"FD00::1,{IP}"),
            ("fd00::1", f"fd00::1,{IP}"),
            ("0.0.0.0,fd00::1", f"{IP},fd00::1"),
        ],
    )
    def test_only_the_ipv4_member_is_replaced(self, current: str, expected: str) -> None:
        assert node_ip_value(current, IP) == expected
        assert node_ip_value(expected, IP) == expected


# -- generated files ----------------------------------------------------------------------------------------------

ADDRESSES = st.ip_addresses(v=4).map(str)
PLAIN = st.text("abcXYZ019=:/.,-_", max_size=12)
OTHER_ARGUMENTS = st.builds(
    "--{}{}".format, st.sampled_from(["config", "v", "node-labels", "node-ips", "pod-infra-container-image"]), PLAIN.map(lambda text: f"={text}")
)
NODE_IPS = st.one_of(
    st.builds("--node{}ip={}".format, st.sampled_from("-_"), ADDRESSES),
    st.builds("--node-ip {}".format, ADDRESSES),
    st.builds("--node-ip=fd00::{:x},{}".format, st.integers(1, 9999), ADDRESSES),
    st.sampled_from(["--node-ip=", "--node-ip=::", "--node-ip=nonsense"]),
)
SPACES = st.sampled_from([" ", "  ", "\t", " \\\n "])
QUOTES = st.sampled_from(['"', "'", ""])
OTHER_LINES = st.one_of(
    st.text("abc =#;\"'$", max_size=20).map(lambda text: f"#{text}"),
    st.builds("{}={}{}{}".format, st.sampled_from(["PATH", "OTHER_KUBELET_KUBEADM_ARGS", "K"]), st.just('"'), PLAIN, st.just('"')),
    st.sampled_from(["", "  ", "no equals sign", f"#{VARIABLE}=--node-ip=1.1.1.1", "A='multi\nline'", "A=con\\\ntinued"]),
)


@st.composite
def flag_files(draw: st.DrawFn) -> tuple[str, str, str, list[str]]:
    """A flags file as (what is before the value, the value, what is after it, its other arguments in order)."""
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    quote = draw(QUOTES)
    # A backslash continues a line outside single quotes only, and only in front of a bare newline inside double quotes.
    spaces = SPACES if quote == '"' or (not quote and newline == "\n") else st.sampled_from([" ", "\t"])
    arguments = draw(st.lists(st.one_of(OTHER_ARGUMENTS, NODE_IPS), max_size=8))
    value = "".join(argument + draw(spaces) for argument in arguments[:-1]) + "".join(arguments[-1:])
    lines_before = draw(st.lists(OTHER_LINES, max_size=4))
    lines_after = draw(st.lists(OTHER_LINES, max_size=4))
    before = "".join(line + newline for line in lines_before) + f"{VARIABLE}={quote}"
    after = quote + "".join(newline + line for line in lines_after) + draw(st.sampled_from(["", newline]))
    others = [argument for argument in arguments if argument.replace("_", "-").split("=")[0].split(" ")[0] != "--node-ip"]
    return before, value, after, others


def reading(text: str) -> tuple[list[str], list[str]]:
    """The kubelet's arguments without --node-ip, and the values of --node-ip."""
    assignment = [found for found in parse_assignments(text) if found.name == VARIABLE][-1]
    words = [word.text for word in split_words(assignment.chars)]
    flags = find_node_ip(words)
    taken = {index for flag in flags for index in range(flag.first, flag.after)}
    return [word for index, word in enumerate(words) if index not in taken], [flag.value for flag in flags]


@given(flag_files(), ADDRESSES)
def test_any_flag_file_gets_one_node_ip_and_keeps_the_rest(file: tuple[str, str, str, list[str]], address: str) -> None:
    before, value, after, others = file
    planned = plan(before + value + after, address)

    assert planned.text.startswith(before)
    assert planned.text.endswith(after)
    assert reading(planned.text) == (others, [planned.wanted])
    assert address in planned.wanted.split(",")
    assert plan(planned.text, address).text == planned.text


@given(st.lists(OTHER_LINES, max_size=6), st.sampled_from(["\n", "\r\n"]), st.booleans(), ADDRESSES)
def test_a_file_without_the_variable_gets_a_last_line(lines: list[str], newline: str, final: bool, address: str) -> None:
    text = newline.join(lines) + (newline if final else "")
    planned = plan(text, address)

    added = planned.text[len(text) :]
    assert planned.text.startswith(text)
    assert added.strip() == f'{VARIABLE}="--node-ip={address}"'
    assert added.endswith("\n")
    assert plan(planned.text, address).text == planned.text


@given(st.text("ab=#;\"'\\ \n\r-", max_size=20), st.text("ab=\"'\\ \n\r-", max_size=30), st.booleans(), ADDRESSES)
@example('A="', "--a", False, IP)
@example("", '"--node-ip=1.1.1.1" "--b"', False, IP)
def test_any_text_is_planned_right_or_refused(head: str, value: str, with_flag: bool, address: str) -> None:
    text = f"{head}\n{VARIABLE}={value}{'--node-ip=1.1.1.1 --node-ip 2.2.2.2' if with_flag else ''}\nlast=line"
    try:
        planned = plan(text, address)
    except HostError:
        return

    assert reading(planned.text)[1] == [planned.wanted]
    assert plan(planned.text, address).text == planned.text
    names = [found.name for found in parse_assignments(text)]
    assume(VARIABLE in names)
    assert [found.name for found in parse_assignments(planned.text)] == names
    assert reading(planned.text)[0] == reading(text)[0]
