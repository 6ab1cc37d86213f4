# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries a purge out on the node: reads all backends, applies a plan, writes the backup."""

from __future__ import annotations

import json
import os
import shutil
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
)
from ansible_collections.netops.cni_migration.plugins.module_utils.host import HostError, read_text, run, write_atomic
from ansible_collections.netops.cni_migration.plugins.module_utils.purge_plan import Plan, TablePlan
from ansible_collections.netops.cni_migration.plugins.module_utils.purge_undo import SavedTable, going_rules
from ansible_collections.netops.cni_migration.plugins.module_utils.ruleset import Rule, Table, TableKey

# Tables with more chains than this are not printed rule by rule.
_PRINTED_CHAINS = 2000
_SPACE_MARGIN = 1 << 20
_PROCESSES = {"kube-proxy": ownership.KUBE_PROXY, "flanneld": ownership.FLANNEL}


class Node:
    """The packet filter of this machine, as far as ``owners``, ``backends`` and ``families`` reach."""

    def __init__(self, owners: Collection[str], backends: Collection[str], families: Collection[str]) -> None:
        self.owners = frozenset(owners)
        self.backends = tuple(backends)
        self.families = tuple(families)
        self._blobs: dict[TableKey, tuple[xt_blob.Blob, list[xt_blob.Span]]] = {}

    def plan(self) -> Plan:
        """Read the node and plan. Raises :class:`HostError` when something cannot be read or understood."""
        tables = []
        if "nft" in self.backends:
            tables += nft_kernel.read_tables(
                self.families, lambda name: purge_plan.goes_by_name(name, self.owners), lambda family, name: purge_plan.is_native(family, name, self.owners)
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
        for entry in plan.tables:
            if entry.table.key.backend == "legacy" and not entry.empty:
                self._edit_legacy(entry, set(entry.chains))
        for name in plan.ipsets:
            ipset_host.destroy(name)

    def unhook(self, plan: Plan) -> list[SavedTable]:
        """Take only what leads into owned chains out of the chains that stay; what :meth:`hook` needs to put it back.

        Owned chains stay, with all that is in them, and no packet meets them any more; native tables are put to sleep.
        """
        removed: dict[tuple[TableKey, int], Rule] = {}
        families = {number: family for family, number in nft_messages.FAMILY_NUMBERS.items()}
        for body in nft_kernel.commit([message for entry in plan.tables if entry.table.key.backend == "nft" for message in nft_unhooking(entry)]):
            number, table = nft_messages.parse_rule_place(body)
            rule = nft_messages.parse_rule(body)
            removed[TableKey("nft", families[number], table), rule.position] = rule
        for entry in plan.tables:
            if entry.table.key.backend == "legacy" and going_rules(entry):
                removed.update(self._edit_legacy(entry, set()))
        return purge_undo.with_counters(purge_undo.saved(plan), removed)

    def _edit_legacy(self, entry: TablePlan, chains: set[str]) -> dict[tuple[TableKey, int], Rule]:
        """Cut ``chains`` and the hooks out of a legacy table; the rules that went, with their last counters."""
        blob, spans = self._blobs[entry.table.key]
        edit = xt_blob.edit(blob, spans, chains, {rule.position for rule in going_rules(entry)})
        counters = xt_kernel.replace(blob, edit)
        removed = {}
        for rule in going_rules(entry):
            packets, octets = xt_blob.COUNTER.unpack_from(counters, edit.gone[rule.position] * xt_blob.COUNTER.size)
            removed[entry.table.key, rule.position] = rule._replace(packets=packets, octets=octets)
        return removed

    def _read_legacy(self, key: TableKey) -> Table:
        blob = xt_kernel.read_blob(key)
        try:
            spans = xt_blob.spans(blob)
            table = xt_blob.table(blob, {span.name for span in spans if purge_plan.goes_by_name(span.name, self.owners)}, spans)
        except (ValueError, KeyError, IndexError) as exc:
            raise HostError(f"legacy {key.family} table {key.name}: cannot understand what the kernel holds: {exc}") from exc
        self._blobs[key] = (blob, spans)
        return table


def hook(tables: Iterable[SavedTable]) -> None:
    """Put back what :meth:`Node.unhook` took out, each rule to its place and with its counters. Raises :class:`HostError`.

    What is there already is left alone, and so is a rule whose own chain or target chain has gone meanwhile.
    """
    tables = list(tables)
    nft_kernel.commit([message for table in tables if table.key.backend == "nft" for message in _nft_hooking(table)])
    for table in tables:
        if table.key.backend == "legacy":
            _hook_legacy(table)


def _nft_hooking(table: SavedTable) -> list[bytes]:
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


def _hook_legacy(saved: SavedTable) -> None:
    blob = xt_kernel.read_blob(saved.key)
    spans = {span.name: span for span in xt_blob.spans(blob)}
    table = xt_blob.table(blob, set(spans).difference(saved.orders), list(spans.values()))
    added: dict[int, list[Rule]] = {}
    for chain, order in saved.orders.items():
        if chain not in spans:
            continue
        rules = [rule for rule in table.rules if rule.chain == chain]
        current = purge_undo.identities(saved.key, rules)
        missing = purge_undo.missing(saved, chain, current, set(spans))
        offsets = {name: rule.position for name, rule in zip(current, rules)}
        end = rules[-1].position + len(rules[-1].raw) if rules else spans[chain].first
        waiting: list[Rule] = []
        for name in purge_undo.merge(order, missing, current):
            if name in missing:
                waiting.append(missing[name])
            elif waiting:
                added[offsets[name]], waiting = waiting, []
        if waiting:
            added[end] = waiting
    if added:
        xt_kernel.replace(blob, xt_blob.edit(blob, list(spans.values()), set(), set(), added))


def nft_removal(entry: TablePlan) -> list[bytes]:
    """The messages that remove what a plan takes from one nft table: jumps by handle, then contents, then chains."""
    family, table = nft_messages.FAMILY_NUMBERS[entry.table.key.family], entry.table.key.name
    if entry.drop:
        return [nft_messages.delete_table(family, table)]
    return [
        *(nft_messages.delete_rule(family, table, rule) for rule in going_rules(entry)),
        *(nft_messages.flush_chain(family, table, name) for name in entry.chains),
        *(nft_messages.delete_chain(family, table, name) for name in entry.chains),
    ]


def nft_unhooking(entry: TablePlan) -> list[bytes]:
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
