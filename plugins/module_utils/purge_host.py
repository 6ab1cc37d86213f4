# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries a purge out on the node: reads all backends, applies a plan, writes the backup."""

from __future__ import annotations

import base64
import json
import os
import shutil
import struct
import time
from collections.abc import Collection, Iterable

from ansible_collections.netops.cni_migration.plugins.module_utils import (
    ipset_host,
    nft_kernel,
    nft_messages,
    ownership,
    purge_plan,
    purge_undo,
    xt_blob,
    xt_kernel,
    xt_undo,
)
from ansible_collections.netops.cni_migration.plugins.module_utils.host import HostError, read_text, run, write_atomic
from ansible_collections.netops.cni_migration.plugins.module_utils.nft_messages import Message
from ansible_collections.netops.cni_migration.plugins.module_utils.purge_plan import Plan, TablePlan
from ansible_collections.netops.cni_migration.plugins.module_utils.purge_undo import SavedTable, going_rules
from ansible_collections.netops.cni_migration.plugins.module_utils.ruleset import BOTH_FAMILIES, FAMILIES, Rule, Table, TableKey
from ansible_collections.netops.cni_migration.plugins.module_utils.xt_undo import Block

# Tables with more chains than this are not printed rule by rule.
_PRINTED_CHAINS = 2000
_SPACE_MARGIN = 1 << 20
_STATE = "state.json"
_PROCESSES = {"kube-proxy": ownership.KUBE_PROXY, "flanneld": ownership.FLANNEL, "cilium-agent": ownership.CILIUM}


class Node:
    """The packet filter of this machine, as far as ``owners``, ``backends`` and ``families`` reach.

    ``counted`` is the number of owned chains in an nft table up to which their rules are counted.
    """

    def __init__(self, owners: Collection[str], backends: Collection[str], families: Collection[str], counted: int) -> None:
        self.owners = frozenset(owners)
        self.backends = tuple(backends)
        self.families = tuple(families)
        self.counted = counted
        self._blobs: dict[TableKey, tuple[xt_blob.Blob, list[xt_blob.Span]]] = {}

    def plan(self) -> Plan:
        """Read the node and plan. Raises :class:`HostError` when something cannot be read or understood."""
        tables = []
        if "nft" in self.backends:
            # A table for both families cannot be purged of one.
            shared = (BOTH_FAMILIES,) if set(FAMILIES) <= set(self.families) else ()
            tables += nft_kernel.read_tables(
                self.families + shared,
                lambda name: purge_plan.goes_by_name(name, self.owners),
                lambda family, name: purge_plan.is_native(family, name, self.owners),
                self.counted,
            )
        if "legacy" in self.backends:
            tables += [self._read_legacy(TableKey("legacy", family, name)) for family in self.families for name in xt_kernel.table_names(family)]
        sets = purge_plan.owned_ipsets(ipset_host.set_names(), self.owners)
        return purge_plan.plan(tables, self.owners, ipset_host.set_numbers(sets))

    def remove(self, plan: Plan) -> None:
        """Remove all that ``plan``, the last one made here, says.

        All nft tables of both families change in one transaction, each legacy table in one exchange, so that a packet
        meets a table either as it was or as it will be. Raises :class:`HostError`.
        """
        nft_kernel.commit([message for entry in plan.tables if entry.table.key.backend == "nft" for message in nft_removal(entry)])
        for entry in _legacy(plan):
            self._cut(entry)
        for name in plan.ipsets:
            ipset_host.destroy(name)

    def unhook(self, plan: Plan, folder: str) -> None:
        """Take out of the packets' way all that goes, so that :meth:`undo` can bring it back; ``folder`` gets what that needs.

        On nft only what leads into owned chains is taken out; the chains stay, but no packet meets them, and native
        tables are put to sleep. A legacy table is only ever exchanged as a whole, so there all goes at once, and the
        process that would undo it keeps the table it read.
        """
        removed: dict[tuple[TableKey, int], Rule] = {}
        families = {number: family for family, number in nft_messages.FAMILY_NUMBERS.items()}
        for body in nft_kernel.commit([message for entry in plan.tables if entry.table.key.backend == "nft" for message in nft_unhooking(entry)]):
            number, table = nft_messages.parse_rule_place(body)
            rule = nft_messages.parse_rule(body)
            removed[TableKey("nft", families[number], table), rule.position] = rule
        self.keep(purge_undo.with_counters(purge_undo.saved(plan), removed), folder)
        for entry in _legacy(plan):
            counters = self._cut(entry)
            write_atomic(_counters_file(folder, entry.table.key), base64.b64encode(counters).decode(), 0o600)

    @staticmethod
    def keep(tables: Iterable[SavedTable], folder: str) -> None:
        """Put what goes back on nft into ``folder``."""
        write_atomic(os.path.join(folder, _STATE), json.dumps(purge_undo.as_json(table for table in tables if table.key.backend == "nft")), 0o600)

    def undo(self, plan: Plan, folder: str) -> None:
        """Bring back what :meth:`unhook` took out, each rule to its place and with its counters. Raises :class:`HostError`.

        What is there already is left alone, and so is a rule whose own chain or target chain has gone meanwhile.
        """
        tables = purge_undo.from_json(json.loads(read_text(os.path.join(folder, _STATE)) or "[]"))
        nft_kernel.commit([message for table in tables for message in _nft_hooking(table)])
        saved = {table.key: table for table in purge_undo.saved(plan)}
        for entry in _legacy(plan):
            key = entry.table.key
            blob, spans = self._blobs[key]
            counters = base64.b64decode(read_text(_counters_file(folder, key)) or "") or xt_blob.entry_counters(blob)
            _undo_legacy(Block(blob, spans, counters), entry, saved.get(key, SavedTable(key, {}, {})))

    def _cut(self, entry: TablePlan) -> memoryview:
        """Take what goes out of a legacy table; the counters all of its entries had then."""
        blob, spans = self._blobs[entry.table.key]
        rules = {rule.position for rule in going_rules(entry)}

        def chains(counters: memoryview) -> list[xt_blob.Chain]:
            return xt_blob.kept(blob, spans, set(entry.chains), rules, counters)

        new = xt_blob.assemble(blob, chains(memoryview(b"")), strict=True)
        return xt_kernel.replace(blob.number, new, lambda counters: xt_blob.counters_of(chains(counters)))

    def _read_legacy(self, key: TableKey) -> Table:
        blob = xt_kernel.read_blob(key)
        try:
            spans = xt_blob.spans(blob)
            table = xt_blob.table(blob, {span.name for span in spans if purge_plan.goes_by_name(span.name, self.owners)}, spans)
        except (ValueError, KeyError, IndexError, struct.error) as exc:
            raise HostError(f"legacy {key.family} table {key.name}: cannot understand what the kernel holds: {exc}") from exc
        self._blobs[key] = (blob, spans)
        return table


def _nft_hooking(table: SavedTable) -> list[Message]:
    family = nft_messages.FAMILY_NUMBERS[table.key.family]
    chains = nft_kernel.chain_names(table.key.family, table.key.name)
    if not chains:
        return []
    messages = [nft_messages.set_dormant(family, table.key.name, False)] if table.slept else []
    for chain, order in table.orders.items():
        if chain not in chains:
            continue
        current = purge_undo.identities(table.key, nft_kernel.chain_rules(table.key.family, table.key.name, chain))
        missing = purge_undo.missing(table, chain, current, chains)
        for rule, after in purge_undo.insertions(purge_undo.merge(order, missing, current), missing):
            messages.append(nft_messages.insert_rule(family, table.key.name, rule, None if after is None else int(after)))
    return messages


def _undo_legacy(old: Block, entry: TablePlan, saved: SavedTable) -> None:
    """Bring back what was cut out of a legacy table."""
    blob = xt_kernel.read_blob(entry.table.key)
    spans = xt_blob.spans(blob)

    def chains(counters: memoryview) -> list[xt_blob.Chain]:
        return xt_undo.restored(old, Block(blob, spans, counters), entry.chains, saved)

    new = xt_blob.assemble(blob, chains(memoryview(b"")), strict=False)
    xt_kernel.replace(blob.number, new, lambda counters: xt_blob.counters_of(chains(counters)))


def _legacy(plan: Plan) -> list[TablePlan]:
    return [entry for entry in plan.tables if entry.table.key.backend == "legacy" and not entry.empty]


def _counters_file(folder: str, key: TableKey) -> str:
    return os.path.join(folder, f"{key.family}-{key.name}.counters")


def nft_removal(entry: TablePlan) -> list[Message]:
    """The messages that remove what a plan takes from one nft table: jumps by handle, then contents, then chains."""
    family, table = nft_messages.FAMILY_NUMBERS[entry.table.key.family], entry.table.key.name
    if entry.drop:
        return [nft_messages.delete_table(family, table)]
    return [
        *(nft_messages.delete_rule(family, table, rule) for rule in going_rules(entry)),
        *nft_messages.delete_chains(family, table, entry.chains),
    ]


def nft_unhooking(entry: TablePlan) -> list[Message]:
    """The messages that take away what leads into owned chains."""
    family, table = nft_messages.FAMILY_NUMBERS[entry.table.key.family], entry.table.key.name
    if entry.drop:
        return [] if entry.table.asleep else [nft_messages.set_dormant(family, table, True)]
    return [nft_messages.delete_rule(family, table, rule) for rule in going_rules(entry)]


def running_owners(owners: Collection[str]) -> list[tuple[int, str]]:
    """Process number and name of each owner's daemon in this network namespace."""
    ours = os.stat("/proc/self/ns/net")
    found = []
    for entry in sorted(filter(str.isdigit, os.listdir("/proc")), key=int):
        try:
            name = (read_text(f"/proc/{entry}/comm") or "").strip()
            theirs = os.stat(f"/proc/{entry}/ns/net") if _PROCESSES.get(name) in owners else None
        except (HostError, OSError):
            continue  # ended while being looked at
        if theirs and (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino):
            found.append((int(entry), name))
    return found


def save_program(backend: str, family: str) -> list[str]:
    """The program that prints the tables of a backend and family. Raises :class:`HostError` when there is none."""
    prefix = "iptables" if family == "ipv4" else "ip6tables"
    if shutil.which(f"{prefix}-{backend}-save"):
        return [f"{prefix}-{backend}-save"]
    # Distributions with one backend install only the plain name.
    if shutil.which(f"{prefix}-save") and ("nf_tables" in run([f"{prefix}-save", "--version"]).stdout) == (backend == "nft"):
        return [f"{prefix}-save"]
    raise HostError(
        f"this node holds {family} rules in the {backend} backend, but neither {prefix}-{backend}-save nor {prefix}-save of that backend is installed; "
        "nothing was changed. Install iptables, which the printed rules and the backup need."
    )


def require_programs(plan: Plan) -> None:
    """Raise :class:`HostError` unless all that ``plan`` touches can be printed."""
    for backend, family in sorted({(entry.table.key.backend, entry.table.key.family) for entry in plan.tables if not entry.empty and not entry.drop}):
        save_program(backend, family)


def rule_lines(plan: Plan) -> dict[TableKey, str]:
    """``iptables-save`` output of each table that ``plan`` touches and that is small enough to be printed."""
    return {
        entry.table.key: run([*save_program(entry.table.key.backend, entry.table.key.family), "-t", entry.table.key.name]).stdout
        for entry in plan.tables
        if not entry.empty and not entry.drop and len(entry.chains) <= _PRINTED_CHAINS
    }


def write_backup(plan: Plan, folder: str, full: bool) -> str:
    """Write what undoing needs into a new file of ``folder`` with mode 0600 and return its path.

    It holds, as JSON, each rule that goes out of a chain that stays, with its place and the kernel's own bytes; with
    ``full``, also all tables as ``iptables-save -c`` prints them. Raises :class:`HostError` when there is no room.
    """
    content = {
        "format": 1,
        "tables": purge_undo.as_json(purge_undo.saved(plan)),
        "ipsets": plan.ipsets,
        "dump": _dump(plan) if full else {},
    }
    data = json.dumps(content, indent=1) + "\n"
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    path = os.path.join(folder, f"iptables-purge-{stamp}-{os.getpid()}.json")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        room = os.statvfs(folder)
    except OSError as exc:
        raise HostError(f"cannot use {folder} for the backup: {exc.strerror}; nothing was changed", path=folder) from exc
    free, needed = room.f_bavail * room.f_frsize, len(data) + _SPACE_MARGIN
    if free < needed:
        raise HostError(f"{folder} has {free} bytes free and the backup needs {needed}; nothing was changed. Make room, or set backup_dir.", path=folder)
    write_atomic(path, data, 0o600)
    return path


def _dump(plan: Plan) -> dict[str, str]:
    pairs: Iterable[tuple[str, str]] = sorted({(entry.table.key.backend, entry.table.key.family) for entry in plan.tables if not entry.drop})
    return {f"{backend} {family}": run([*save_program(backend, family), "-c"]).stdout for backend, family in pairs}
