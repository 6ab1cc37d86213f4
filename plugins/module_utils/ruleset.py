# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a packet filter holds, in the terms that planning a purge needs, the same for both backends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

BACKENDS = ("nft", "legacy")
FAMILIES = ("ipv4", "ipv6")
BOTH_FAMILIES = "inet"  # an nftables table for both; iptables has no such thing
IPTABLES_TABLES = ("raw", "mangle", "nat", "filter", "security")


class Rule(NamedTuple):
    """One rule of a chain that stays.

    ``position`` identifies it in its table: the handle on nft, the byte offset on legacy. ``raw`` is what the
    kernel gave (nft: expression list and user data as attributes; legacy: the whole entry), from which the rule
    can be put back unchanged. ``conditions`` names what the rule matches on (``src``, ``dst``, ``mark``,
    ``conntrack``, ``addrtype``, ... or the name of another match); ``comment`` is not one of them.
    """

    chain: str
    position: int
    target: str
    jumps: bool
    comment: str
    conditions: frozenset[str]
    sets: tuple[int, ...]
    packets: int
    octets: int
    raw: bytes


class TableKey(NamedTuple):
    """Names one table on the machine: backend ``nft`` or ``legacy``, family ``ipv4``, ``ipv6`` or, of native ones, ``inet``, table name."""

    backend: str
    family: str
    name: str


@dataclass
class Table:
    """One table: how many rules each chain has (in the kernel's order; None: not counted), and the rules of the chains
    that were read in full.

    ``native`` is set for a table that no iptables program manages, which is owned or foreign as a whole; ``asleep`` for
    one that no packet meets (the ``dormant`` flag of nftables).
    """

    key: TableKey
    chains: dict[str, int | None] = field(default_factory=dict)
    base: set[str] = field(default_factory=set)
    rules: list[Rule] = field(default_factory=list)
    native: bool = False
    asleep: bool = False
