# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The netlink messages of nf_tables."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.netops.cni_migration.plugins.module_utils import nft_messages as wire
from ansible_collections.netops.cni_migration.plugins.module_utils.ruleset import Rule


def expression(name: str, data: bytes = b"") -> bytes:
    """One expression of a rule."""
    return wire.attribute(1, wire.text(1, name) + wire.attribute(2, data))


def number(kind: int, value: int) -> bytes:
    """An attribute with a number."""
    return wire.attribute(kind, struct.pack(">I", value))


COMMENT = expression("match", wire.text(1, "comment") + wire.attribute(3, b"kubernetes service portals".ljust(256, b"\0")))
COUNTER = expression("counter", wire.attribute(1, struct.pack(">Q", 420)) + wire.attribute(2, struct.pack(">Q", 7)))
JUMP = expression("immediate", number(1, 0) + wire.attribute(2, wire.attribute(2, wire.attribute(1, struct.pack(">i", -3)) + wire.text(2, "KUBE-SERVICES"))))
TCP = expression("meta", number(1, 1) + number(2, 16)) + expression("cmp", number(1, 1) + number(2, 0) + wire.attribute(3, wire.attribute(1, b"\x06")))
SOURCE = expression("payload", number(1, 1) + number(2, 1) + number(3, 12) + number(4, 4)) + expression("cmp")


def body(expressions: bytes) -> bytes:
    """The body of a rule message as the kernel sends it."""
    return bytes(4) + wire.text(1, "nat") + wire.text(2, "PREROUTING") + wire.attribute(3, struct.pack(">Q", 24)) + wire.attribute(4, expressions)


def test_a_rule() -> None:
    rule = wire.parse_rule(body(SOURCE + TCP + COMMENT + COUNTER + JUMP))
    assert rule._replace(raw=b"") == Rule("PREROUTING", 24, "KUBE-SERVICES", True, "kubernetes service portals", frozenset({"src", "proto"}), (), 7, 420, b"")


HOOK, USE = wire.attribute(4 | 0x8000, b""), number(6, 3)
HANDLE = wire.attribute(2, bytes(8))


@pytest.mark.parametrize(("rest", "base"), [(HANDLE + USE, False), (HANDLE + HOOK + USE, True), (HANDLE, False), (USE + HOOK + HANDLE, True), (b"", False)])
def test_a_chain_in_any_order(rest: bytes, base: bool) -> None:
    table, name = wire.text(1, "nat"), wire.text(3, "KUBE-SERVICES")
    assert wire.parse_chain(bytes(4) + table + name + rest) == ("nat", "KUBE-SERVICES", base)
    assert wire.parse_chain(bytes(4) + name + rest + table) == ("nat", "KUBE-SERVICES", base)


def test_putting_a_rule_back_repeats_it_and_says_the_protocol() -> None:
    rule = wire.parse_rule(body(TCP + COMMENT + COUNTER + JUMP))
    message = wire.insert_rule(2, "nat", rule, after=17)
    found = dict(wire.attributes(message.body[4:]))
    assert found[4] == TCP + COMMENT + COUNTER + JUMP
    assert struct.unpack(">Q", found[6])[0] == 17
    assert struct.unpack(">I", dict(wire.attributes(found[5]))[1])[0] == 6
    first = dict(wire.attributes(wire.insert_rule(2, "nat", wire.parse_rule(body(COMMENT)), after=None).body[4:]))
    assert 6 not in first and 5 not in first


def test_a_batch_numbers_its_messages_and_asks_for_one_answer() -> None:
    data = wire.batch(wire.delete_chains(2, "nat", ["A"]))
    listed = [(kind, flags & wire.ACK, sequence) for kind, flags, sequence, _body in wire.messages(data)]
    assert listed == [
        (wire.BATCH_BEGIN, 0, 0),
        (wire.SUBSYSTEM << 8 | wire.DELETE_RULE, 0, 1),
        (wire.SUBSYSTEM << 8 | wire.DELETE_CHAIN, wire.ACK, 2),
        (wire.BATCH_END, 0, 3),
    ]
    bodies = [dict(wire.attributes(body[4:])) for _kind, _flags, _sequence, body in wire.messages(data)]
    assert bodies[1] == {1: b"nat\0", 2: b"A\0"} and bodies[2] == {1: b"nat\0", 3: b"A\0"}


@given(st.binary(max_size=400))
def test_garbage_is_refused(garbage: bytes) -> None:
    for parse in (wire.parse_rule, wire.parse_chain, lambda data: list(wire.messages(data))):
        with contextlib.suppress(ValueError, KeyError, IndexError, struct.error):
            parse(garbage)


@given(st.integers(0, 300), st.binary(min_size=1, max_size=8))
def test_a_damaged_rule_is_refused_or_read(offset: int, noise: bytes) -> None:
    good = body(SOURCE + TCP + COMMENT + COUNTER + JUMP)
    damaged = good[:offset] + noise + good[offset + len(noise) :]
    with contextlib.suppress(ValueError, KeyError, IndexError, struct.error):
        wire.parse_rule(damaged)


def test_a_truncated_attribute_is_an_error() -> None:
    with pytest.raises(ValueError, match="attribute of 40 bytes"):
        list(wire.attributes(struct.pack("=HH", 40, 1)))
