# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nf_tables netlink messages a purge reads and writes, as pure functions over bytes.

The programs on top cannot serve here: ``nft`` does not show what an xtables match of an iptables rule says and cannot
write it back, and ``iptables-nft-save`` takes 45 s at 100,000 services. The kernel's own messages carry the rule as it
is. Numbers are from ``linux/netfilter/nf_tables.h``, ``nfnetlink.h`` and ``netlink.h``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ansible_collections.netops.cni_migration.plugins.module_utils.ruleset import Rule

NETFILTER = 12  # NETLINK_NETFILTER
FAMILY_NUMBERS = {"ipv4": 2, "ipv6": 10, "inet": 1}

REQUEST, ACK, ECHO, DUMP, DUMP_INTERRUPTED = 0x1, 0x4, 0x8, 0x300, 0x10
CREATE, APPEND = 0x400, 0x800
ERROR, DONE = 0x2, 0x3
BATCH_BEGIN, BATCH_END = 0x10, 0x11
SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
NEW_TABLE, GET_TABLE, DELETE_TABLE = 0, 1, 2
GET_CHAIN, DELETE_CHAIN = 4, 5
NEW_RULE, GET_RULE, DELETE_RULE = 6, 7, 8

_ATTRIBUTE = struct.Struct("=HH")
_HEADER = struct.Struct("=IHHII")
_BODY = struct.Struct(">BBH")
_TABLE_NAME, _TABLE_FLAGS = 1, 2
_DORMANT = 0x1
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_USE = 1, 3, 4, 6  # the table's is the same in rule messages
_RULE_TABLE, _RULE_CHAIN, _RULE_HANDLE, _RULE_EXPRESSIONS, _RULE_COMPAT, _RULE_POSITION, _RULE_USERDATA = 1, 2, 3, 4, 5, 6, 7
_HANDLE_SIZE = 12
_NESTED = 0x8000
_TYPE_MASK = 0x3FFF
_VERDICTS = {0: "DROP", 1: "ACCEPT", -5: "RETURN"}
_JUMP, _GOTO = -3, -4
# Offset and length of an address inside the network header.
_ADDRESSES = {(12, 4): "src", (16, 4): "dst", (8, 16): "src", (24, 16): "dst"}
_ADDRESS_PREFIXES = {12: "src", 16: "dst", 8: "src", 24: "dst"}
_META_MARK, _META_L4PROTO = 3, 16
_META_NAMES = {_META_MARK: "mark", 4: "iface", 5: "iface", 6: "iface", 7: "iface", _META_L4PROTO: "proto"}
# iptables writes some matches as native expressions; they are named after the match they stand for.
_NATIVE_NAMES = {"ct": "conntrack", "fib": "addrtype"}
# Names of targets that newer iptables writes as native expressions.
_NATIVE_TARGETS = {"masq": "MASQUERADE", "reject": "REJECT", "nat": "NAT", "log": "LOG", "queue": "NFQUEUE"}
_SILENT = frozenset({"cmp", "bitwise", "counter", "range", "lookup"})


def attribute(kind: int, data: bytes) -> bytes:
    """One netlink attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(len(data) + 4, kind) + data + b"\0" * (-len(data) % 4)


def text(kind: int, value: str) -> bytes:
    """An attribute that holds a string."""
    return attribute(kind, value.encode("utf-8", "surrogateescape") + b"\0")


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and payload of each attribute in ``data``. Raises :class:`ValueError` on a malformed one."""
    offset = 0
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > len(data):
            raise ValueError(f"netlink attribute of {length} bytes at {offset} of {len(data)}")
        yield kind & _TYPE_MASK, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


class Message(NamedTuple):
    """One nf_tables request without the numbers it gets when it is sent; ``body`` begins with the family."""

    kind: int
    flags: int
    body: bytes

    def alone(self) -> bytes:
        """The request as it is sent by itself."""
        return _HEADER.pack(16 + len(self.body), SUBSYSTEM << 8 | self.kind, self.flags, 0, 0) + self.body


def message(kind: int, flags: int, family: int, payload: bytes) -> Message:
    """One nf_tables request."""
    return Message(kind, flags, _BODY.pack(family, 0, 0) + payload)


def batch(requests: Sequence[Message]) -> bytes:
    """``requests`` as one transaction: the kernel applies all of them or none.

    Each gets its index, from 1, as sequence number, so that an error names the request; the last asks for an answer.
    """
    pack = _HEADER.pack
    parts = [pack(20, BATCH_BEGIN, REQUEST, 0, 0), _BODY.pack(0, 0, SUBSYSTEM)]
    for index, (kind, flags, body) in enumerate(requests, 1):
        parts += (pack(16 + len(body), SUBSYSTEM << 8 | kind, flags | ACK if index == len(requests) else flags, index, 0), body)
    parts += (pack(20, BATCH_END, REQUEST, len(requests) + 1, 0), _BODY.pack(0, 0, SUBSYSTEM))
    return b"".join(parts)


def messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Type, flags, sequence and body of each message in what the kernel sent."""
    offset, end = 0, len(data)
    while offset + 16 <= end:
        length, kind, flags, sequence, _port = _HEADER.unpack_from(data, offset)
        if length < 16 or offset + length > end:
            raise ValueError(f"netlink message of {length} bytes at {offset} of {end}")
        yield kind, flags, sequence, data[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def error_number(body: bytes) -> int:
    """The errno in the body of an error or done message; 0 is success."""
    return -struct.unpack_from("=i", body)[0] if len(body) >= 4 else 0


def list_tables(family: int) -> Message:
    """Request for all tables of a family."""
    return message(GET_TABLE, REQUEST | DUMP, family, b"")


def list_chains(family: int) -> Message:
    """Request for all chains of a family."""
    return message(GET_CHAIN, REQUEST | DUMP, family, b"")


def list_rules(family: int, table: str, chain: str) -> Message:
    """Request for the rules of one chain.

    Asking for a whole table at once takes the kernel quadratic time: it starts over for every 32 KiB of answer.
    """
    return message(GET_RULE, REQUEST | DUMP, family, text(_RULE_TABLE, table) + text(_RULE_CHAIN, chain))


def set_dormant(family: int, table: str, asleep: bool) -> Message:
    """Puts a table to sleep, so that no packet meets its chains, or wakes it; what it holds stays."""
    return message(NEW_TABLE, REQUEST, family, text(_TABLE_NAME, table) + attribute(_TABLE_FLAGS, struct.pack(">I", _DORMANT if asleep else 0)))


def delete_table(family: int, table: str) -> Message:
    """Removes a table with all it holds."""
    return message(DELETE_TABLE, REQUEST, family, text(_TABLE_NAME, table))


def delete_chains(family: int, table: str, chains: Iterable[str]) -> list[Message]:
    """Removes chains that only refer to each other: first what is in all of them, then themselves."""
    # The table is the first attribute of both messages, and there are two messages for each of up to 300,000 chains.
    start = _BODY.pack(family, 0, 0) + text(_RULE_TABLE, table)
    names = [chain.encode("utf-8", "surrogateescape") + b"\0" for chain in chains]
    padded = [(len(name) + 4, name + b"\0" * (-len(name) % 4)) for name in names]
    pack = _ATTRIBUTE.pack
    return [
        *(Message(DELETE_RULE, REQUEST, b"".join((start, pack(length, _RULE_CHAIN), name))) for length, name in padded),
        *(Message(DELETE_CHAIN, REQUEST, b"".join((start, pack(length, _CHAIN_NAME), name))) for length, name in padded),
    ]


def delete_rule(family: int, table: str, rule: Rule) -> Message:
    """Removes one rule by its handle, whatever has been added around it since; the kernel repeats it as it was then."""
    handle = attribute(_RULE_HANDLE, struct.pack(">Q", rule.position))
    return message(DELETE_RULE, REQUEST | ECHO, family, text(_RULE_TABLE, table) + text(_RULE_CHAIN, rule.chain) + handle)


def insert_rule(family: int, table: str, rule: Rule, after: int | None) -> Message:
    """Puts ``rule`` back with its counters, behind the rule with handle ``after``, or first in its chain."""
    place = b"" if after is None else attribute(_RULE_POSITION, struct.pack(">Q", after))
    protocol = _protocol(rule.raw)
    compat = b"" if protocol is None else attribute(_RULE_COMPAT | _NESTED, attribute(1, struct.pack(">I", protocol)) + attribute(2, struct.pack(">I", 0)))
    flags = REQUEST | CREATE | (0 if after is None else APPEND)
    return message(NEW_RULE, flags, family, text(_RULE_TABLE, table) + text(_RULE_CHAIN, rule.chain) + place + rule.raw + compat)


def parse_table(body: bytes) -> tuple[str, bool]:
    """Name of the table in the body of a table message, and whether it sleeps."""
    found = dict(attributes(body[4:]))
    return _string(found[_TABLE_NAME]), bool(struct.unpack(">I", found.get(_TABLE_FLAGS, bytes(4)))[0] & _DORMANT)


def parse_chain(body: bytes) -> tuple[str, str, bool]:
    """Table and name of a chain, and whether it is attached to a hook of the kernel.

    The kernel begins with table, name and handle (``nf_tables_fill_chain_info``), and then tells a hook if there is one;
    that is looked at first, since there may be 300,000 chains. In any other order it is read attribute by attribute.
    """
    length, kind = _ATTRIBUTE.unpack_from(body, 4)
    start = 4 + ((length + 3) & ~3)
    name_length, name_kind = _ATTRIBUTE.unpack_from(body, start)
    after = start + ((name_length + 3) & ~3) + _HANDLE_SIZE
    if kind == _CHAIN_TABLE and name_kind == _CHAIN_NAME and after + 4 <= len(body):
        fourth = _ATTRIBUTE.unpack_from(body, after)[1] & _TYPE_MASK
        if fourth in (_CHAIN_HOOK, _CHAIN_USE):
            return _string(body[8 : 4 + length]), _string(body[start + 4 : start + name_length]), fourth == _CHAIN_HOOK
    found = dict(attributes(body[4:]))
    return _string(found[_CHAIN_TABLE]), _string(found[_CHAIN_NAME]), _CHAIN_HOOK in found


def parse_rule_place(body: bytes) -> tuple[int, str]:
    """The family number and the table of a rule message."""
    return body[0], _string(dict(attributes(body[4:]))[_RULE_TABLE])


def parse_rule(body: bytes) -> Rule:
    """A rule, from the body of a rule message. Raises :class:`ValueError` or :class:`KeyError` when it is not one."""
    found = dict(attributes(body[4:]))
    raw = attribute(_RULE_EXPRESSIONS | _NESTED, found.get(_RULE_EXPRESSIONS, b""))
    comment = ""
    if _RULE_USERDATA in found:
        raw += attribute(_RULE_USERDATA, found[_RULE_USERDATA])
        comment = _userdata_comment(found[_RULE_USERDATA])
    conditions: set[str] = set()
    sets: list[int] = []
    target, jumps, packets, octets = "", False, 0, 0
    for name, data in _expressions(found.get(_RULE_EXPRESSIONS, b"")):
        if name == "immediate":
            target, jumps = _verdict(data) or (target, jumps)
        elif name == "counter":
            values = dict(attributes(data))
            octets, packets = (struct.unpack(">Q", values[index])[0] for index in (1, 2))
        elif name == "match":
            match = dict(attributes(data))
            label, info = _string(match[1]), match.get(3, b"")
            if label == "comment":
                comment = _string(info)
            else:
                conditions.add(label)
            if label == "set":
                sets.append(struct.unpack_from("=H", info)[0])
        elif name == "target":
            target = _string(dict(attributes(data))[1])
        elif name in _NATIVE_TARGETS:
            target = _NATIVE_TARGETS[name]
        elif name not in _SILENT:
            conditions.add(_condition(name, data))
    handle = struct.unpack(">Q", found[_RULE_HANDLE])[0]
    return Rule(_string(found[_RULE_CHAIN]), handle, target, jumps, comment, frozenset(conditions), tuple(sets), packets, octets, raw)


def _string(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _expressions(data: bytes) -> Iterator[tuple[str, bytes]]:
    for _kind, element in attributes(data):
        expression = dict(attributes(element))
        yield _string(expression[1]), expression.get(2, b"")


def _verdict(data: bytes) -> tuple[str, bool] | None:
    """Target and whether it is a chain, of an immediate expression; None when it only loads a value."""
    for kind, value in attributes(dict(attributes(data)).get(2, b"")):
        if kind == 2:
            verdict = dict(attributes(value))
            code = struct.unpack(">i", verdict[1])[0]
            if code in (_JUMP, _GOTO):
                return _string(verdict[2]), True
            return _VERDICTS.get(code, str(code)), False
    return None


def _condition(name: str, data: bytes) -> str:
    """What a loading expression reads, in the words of :class:`Rule`."""
    values = {kind: struct.unpack(">I", value)[0] for kind, value in attributes(data) if len(value) == 4}
    if name == "payload" and values.get(2) == 1:
        offset, length = values.get(3, 0), values.get(4, 0)
        if offset == 9 and length == 1:
            return "proto"
        # A prefix that ends on a byte boundary is compared as a shorter load from the same offset.
        return _ADDRESSES.get((offset, length)) or _ADDRESS_PREFIXES.get(offset, "header")
    if name == "meta":
        return _META_NAMES.get(values.get(2, 0), "meta")
    return _NATIVE_NAMES.get(name, name)


def _protocol(raw: bytes) -> int | None:
    """The layer 4 protocol a rule demands, which the kernel wants again beside an xtables match that needs it."""
    awaited = False
    for name, data in _expressions(dict(attributes(raw))[_RULE_EXPRESSIONS]):
        if name == "cmp" and awaited:
            values = dict(attributes(data))
            return dict(attributes(values[3]))[1][0] if struct.unpack(">I", values[2])[0] == 0 else None
        awaited = name in ("meta", "payload") and _condition(name, data) == "proto"
    return None


def _userdata_comment(data: bytes) -> str:
    """The comment in a rule's user data: a list of type, length, value, of which type 0 is the comment."""
    offset = 0
    while offset + 2 <= len(data):
        kind, length = data[offset], data[offset + 1]
        if kind == 0:
            return _string(data[offset + 2 : offset + 2 + length])
        offset += 2 + length
    return ""
