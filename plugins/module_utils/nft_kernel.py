# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading nf_tables from the kernel and changing it, each change one transaction."""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Callable

from ansible_collections.netops.cni_migration.plugins.module_utils import nft_messages as wire
from ansible_collections.netops.cni_migration.plugins.module_utils.host import HostError
from ansible_collections.netops.cni_migration.plugins.module_utils.ruleset import FAMILIES, IPTABLES_TABLES, Rule, Table, TableKey

_RECEIVE = 1 << 16
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
# The kernel repeats each rule removed by its handle, in less than this with what it takes to keep the message.
_REPEATED = 4096
_ATTEMPTS = 5
# What a kernel without nf_tables, or without this family in it, answers.
_NO_NFTABLES = (errno.EOPNOTSUPP, errno.EINVAL, errno.EAFNOSUPPORT)


def read_tables(families: tuple[str, ...], owned: Callable[[str], bool], native: Callable[[str, str], bool], counted: int) -> list[Table]:
    """The iptables tables of ``families`` and the tables for which ``native(family, name)`` holds.

    Rules are read in full, except in the chains for which ``owned`` holds, where they are only counted, or, in a table
    with more than ``counted`` of them, not even that: a chain takes about 40 us, more than removing it. Tables without
    any owned chain are read too, since a rule of theirs may be owned by itself or refer to an ipset.
    Raises :class:`HostError` when the kernel refuses or says what cannot be understood.
    """
    try:
        return [table for family in families for table in _read_family(family, owned, native, counted)]
    except HostError as exc:
        if exc.facts.get("errno") == errno.EPROTONOSUPPORT:
            return []  # a kernel without netfilter's netlink holds no nf_tables either
        raise
    except (ValueError, KeyError, IndexError, struct.error) as exc:
        raise HostError(f"nf_tables: cannot understand what the kernel lists: {exc}") from exc


def chain_names(family: str, table: str) -> set[str]:
    """The chains of a table; none when there is no such table."""
    with _open() as handle:
        parsed = [wire.parse_chain(body) for body in _dump(handle, wire.list_chains(wire.FAMILY_NUMBERS[family]))]
    return {name for table_name, name, _base in parsed if table_name == table}


def chain_rules(family: str, table: str, chain: str) -> list[Rule]:
    """The rules of one chain."""
    with _open() as handle:
        return [wire.parse_rule(body) for body in _dump(handle, wire.list_rules(wire.FAMILY_NUMBERS[family], table, chain))]


def commit(messages: list[wire.Message]) -> list[bytes]:
    """Apply ``messages`` as one transaction; the bodies of the rules the kernel repeats, as they were at that moment.

    Raises :class:`HostError` (``errno`` among its facts) with nothing changed.
    """
    repeated: list[bytes] = []
    if not messages:
        return repeated
    data = wire.batch(messages)
    with _open() as handle:
        try:
            handle.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, len(data) + 4096)
            # What finds no room is lost, and with it the answer to the last message.
            handle.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE + sum(bool(message.flags & wire.ECHO) for message in messages) * _REPEATED)
            handle.send(data)
        except OSError as exc:
            raise HostError(f"nf_tables does not take a transaction of {len(data)} bytes: {exc.strerror}; nothing was changed", errno=exc.errno) from exc
        # The kernel has finished when send() returns, so every answer is already waiting; the last is that of the last message.
        while True:
            for kind, _flags, sequence, body in wire.messages(_answer(handle)):
                if kind == wire.ERROR:
                    number = wire.error_number(body)
                    if number:
                        raise HostError(
                            f"nf_tables refused the transaction at message {sequence} of {len(messages)}: {os.strerror(number)}; nothing was changed",
                            errno=number,
                        )
                    return repeated
                if kind == wire.SUBSYSTEM << 8 | wire.DELETE_RULE:
                    repeated.append(body)


def _open() -> socket.socket:
    try:
        return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, wire.NETFILTER)
    except OSError as exc:
        raise HostError(f"cannot talk to the kernel's packet filter: {exc.strerror}", errno=exc.errno) from exc


def _answer(handle: socket.socket) -> bytes:
    """The next answer to a transaction. Raises :class:`HostError` when it got lost.

    Of a transaction each message may be an error, and there is no room for all of them; the first, which says why, is kept.
    """
    for _attempt in range(2):
        try:
            return handle.recv(_RECEIVE, socket.MSG_DONTWAIT)
        except OSError as exc:
            failure = exc
    raise HostError(f"the kernel's answer to a transaction got lost: {failure.strerror}", errno=errno.ENOBUFS) from failure


def _dump(handle: socket.socket, request: wire.Message) -> list[bytes]:
    """The body of each message the kernel answers ``request`` with; a kernel without nf_tables holds nothing.

    A listing that was interrupted by a change is taken again a few times, and then as it is: what a transaction is
    made of need not be complete, since the kernel refuses to remove a chain that something still refers to, and the
    caller reads again after it.
    """
    for _attempt in range(_ATTEMPTS):
        bodies, interrupted = _dump_once(handle, request)
        if not interrupted:
            break
    return bodies


def _dump_once(handle: socket.socket, request: wire.Message) -> tuple[list[bytes], bool]:
    """One listing, and whether something changed meanwhile."""
    handle.send(request.alone())
    bodies: list[bytes] = []
    interrupted = False
    while True:
        for kind, flags, _sequence, body in wire.messages(handle.recv(_RECEIVE)):
            interrupted = interrupted or bool(flags & wire.DUMP_INTERRUPTED)
            if kind in (wire.DONE, wire.ERROR):
                number = wire.error_number(body)
                if number and number not in _NO_NFTABLES:
                    raise HostError(f"nf_tables cannot be listed: {os.strerror(number)}", errno=number)
                return bodies, interrupted
            bodies.append(body)


def _read_family(family: str, owned: Callable[[str], bool], native: Callable[[str, str], bool], counted: int) -> list[Table]:
    number = wire.FAMILY_NUMBERS[family]
    tables: dict[str, Table] = {}
    with _open() as handle:
        for body in _dump(handle, wire.list_tables(number)):
            name, asleep = wire.parse_table(body)
            alone = native(family, name)
            if alone or (family in FAMILIES and name in IPTABLES_TABLES):
                tables[name] = Table(TableKey("nft", family, name), native=alone, asleep=asleep)
        for body in _dump(handle, wire.list_chains(number)) if tables else ():
            table_name, name, base = wire.parse_chain(body)
            if table_name in tables:
                tables[table_name].chains[name] = None
                if base:
                    tables[table_name].base.add(name)
        for table in tables.values():
            _read_rules(handle, number, table, owned, counted)
    return list(tables.values())


def _read_rules(handle: socket.socket, family: int, table: Table, owned: Callable[[str], bool], counted: int) -> None:
    going = set(table.chains) if table.native else {name for name in table.chains if owned(name)}
    for name in table.chains:
        if name not in going:
            rules = [wire.parse_rule(body) for body in _dump(handle, wire.list_rules(family, table.key.name, name))]
            table.rules += rules
            table.chains[name] = len(rules)
        elif len(going) <= counted:
            table.chains[name] = len(_dump(handle, wire.list_rules(family, table.key.name, name)))
