# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries a purge out on the node: reads all backends, applies a plan, writes the backup."""

from __future__ import annotations

import base64
import json
import os
import shutil
import time
from collections.abc import Collection, Iterable

from ansible_collections.netops.cni_migration.plugins.module_utils import ipset_host, nft_kernel, nft_messages, ownership, purge_plan, xt_blob, xt_kernel
from ansible_collections.netops.cni_migration.plugins.module_utils.host import HostError, read_text, run, write_atomic
from ansible_collections.netops.cni_migration.plugins.module_utils.purge_plan import Plan, TablePlan
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

    def apply(self, plan: Plan) -> None:
        """Remove what ``plan``, the last one made here, says.

        All nft tables of both families change in one transaction, each legacy table in one exchange, so that a packet
        meets a table either as it was or as it will be. Raises :class:`HostError`.
        """
        nft_kernel.commit([message for entry in plan.tables if entry.table.key.backend == "nft" for message in nft_removal(entry)])
        for entry in plan.tables:
            if entry.table.key.backend == "legacy" and not entry.empty:
                blob, spans = self._blobs[entry.table.key]
                rules = {rule.position for rule in going_rules(entry)}
                xt_kernel.replace(blob, xt_blob.cut(blob, spans, set(entry.chains), rules))
        for name in plan.ipsets:
            ipset_host.destroy(name)

    def _read_legacy(self, key: TableKey) -> Table:
        blob = xt_kernel.read_blob(key)
        try:
            spans = xt_blob.spans(blob)
            table = xt_blob.table(blob, {span.name for span in spans if purge_plan.goes_by_name(span.name, self.owners)}, spans)
        except (ValueError, KeyError, IndexError) as exc:
            raise HostError(f"legacy {key.family} table {key.name}: cannot understand what the kernel holds: {exc}") from exc
        self._blobs[key] = (blob, spans)
        return table


def going_rules(entry: TablePlan) -> list[Rule]:
    """The rules a table plan takes out of chains that stay."""
    return [rule for rule, _owner in entry.hooks] + entry.references


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

    It holds, as JSON, each rule that goes out of a chain that stays, with its neighbours and the kernel's own bytes;
    with ``full``, also all tables as ``iptables-save -c`` prints them. Raises :class:`HostError` when there is no room.
    """
    content = {
        "format": 1,
        "tables": [_saved_table(entry) for entry in plan.tables if not entry.empty],
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


def _saved_table(entry: TablePlan) -> dict[str, object]:
    neighbours = _predecessors(entry)
    return {
        **entry.table.key._asdict(),
        "dropped": entry.drop,
        "rules": [
            {
                "chain": rule.chain, "target": rule.target, "packets": rule.packets, "bytes": rule.octets,
                "after": neighbours[rule.position], "raw": base64.b64encode(rule.raw).decode(),
            }
            for rule in going_rules(entry)
        ],
    }


def _predecessors(entry: TablePlan) -> dict[int, int | None]:
    """For each rule of the table, by position, the position of the nearest rule before it that stays."""
    going = {rule.position for rule in going_rules(entry)}
    last: dict[str, int | None] = {}
    found: dict[int, int | None] = {}
    for rule in entry.table.rules:
        found[rule.position] = last.get(rule.chain)
        if rule.position not in going:
            last[rule.chain] = rule.position
    return found


def _dump(plan: Plan) -> dict[str, str]:
    pairs: Iterable[tuple[str, str]] = sorted({(entry.table.key.backend, entry.table.key.family) for entry in plan.tables if not entry.drop})
    return {f"{backend} {family}": run([*save_program(backend, family), "-c"]).stdout for backend, family in pairs}
