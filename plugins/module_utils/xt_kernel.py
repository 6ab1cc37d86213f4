# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading legacy iptables tables from the kernel and replacing them, under the lock every iptables program takes."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ansible_collections.netops.cni_migration.plugins.module_utils.host import HostError, read_text
from ansible_collections.netops.cni_migration.plugins.module_utils.ruleset import TableKey
from ansible_collections.netops.cni_migration.plugins.module_utils.xt_blob import COUNTER, Blob

LOCK_FILE = "/run/xtables.lock"
LOCK_SECONDS = 10
# linux/netfilter_ipv4/ip_tables.h; the numbers are the same for IPv6
_SET_REPLACE, _SET_ADD_COUNTERS = 64, 65
_GET_INFO, _GET_ENTRIES = 64, 65
_INFO = struct.Struct("=32sI5I5III")
_REPLACE = struct.Struct("@32sIII5I5IIP")
_COUNTERS_HEAD = struct.Struct("=32sI4x")
_ENTRIES_HEAD = struct.Struct("=32sI4x")
_SOCKETS = {"ipv4": (socket.AF_INET, socket.IPPROTO_IP), "ipv6": (socket.AF_INET6, socket.IPPROTO_IPV6)}
_NAMES = {"ipv4": "/proc/net/ip_tables_names", "ipv6": "/proc/net/ip6_tables_names"}
_ATTEMPTS = 5

_libc = ctypes.CDLL(None, use_errno=True)


class TableChanged(HostError):
    """The table is no longer the one that was read."""

    def __init__(self, key: TableKey) -> None:
        super().__init__(f"{_describe(key)} changed while it was being worked on, by something that does not take the xtables lock", errno=errno.EAGAIN)


def table_names(family: str) -> list[str]:
    """The legacy tables that exist. Looking creates none, which asking for one by name would do."""
    return (read_text(_NAMES[family]) or "").split()


def read_blob(key: TableKey) -> Blob:
    """The table as it is now. Raises :class:`HostError` when the kernel refuses it."""
    if struct.calcsize("P") != 8:
        raise HostError("legacy iptables tables can only be read by a 64-bit Python")
    with _open(key.family) as handle:
        for _attempt in range(_ATTEMPTS):
            buffer = ctypes.create_string_buffer(key.name.encode(), _INFO.size)
            _call(_libc.getsockopt, handle, key, _GET_INFO, buffer, ctypes.byref(ctypes.c_uint(_INFO.size)))
            _name, valid_hooks, *offsets, number, size = _INFO.unpack(buffer.raw)
            buffer = ctypes.create_string_buffer(_ENTRIES_HEAD.pack(key.name.encode(), size), _ENTRIES_HEAD.size + size)
            try:
                _call(_libc.getsockopt, handle, key, _GET_ENTRIES, buffer, ctypes.byref(ctypes.c_uint(len(buffer))))
            except TableChanged:
                continue
            # A view, since at 100,000 services the block has 480 MB.
            return Blob(key, valid_hooks, tuple(offsets[:5]), tuple(offsets[5:]), number, memoryview(buffer).cast("B")[_ENTRIES_HEAD.size :])
    raise HostError(f"{_describe(key)} changed during each of {_ATTEMPTS} attempts to read it")


def replace(number: int, blob: Blob, counters: Callable[[memoryview], bytes]) -> memoryview:
    """Put ``blob`` in the place of a table of ``number`` entries in one step; the old counters.

    The kernel hands the old counters over at the moment of the exchange. From them ``counters`` makes those of the new
    entries, which are added to what has been counted since, so that no packet is forgotten. Raises
    :class:`TableChanged` when the table got or lost entries since it was read, :class:`HostError` otherwise, both with
    nothing changed.
    """
    name = blob.key.name.encode()
    old = ctypes.create_string_buffer(number * COUNTER.size)
    head = _REPLACE.pack(name, blob.valid_hooks, blob.number, len(blob.entries), *blob.hook_entry, *blob.underflow, number, ctypes.addressof(old))
    data = b"".join((head, blob.entries))
    with _open(blob.key.family) as handle:
        _call(_libc.setsockopt, handle, blob.key, _SET_REPLACE, data, len(data))
        view = memoryview(old).cast("B")
        back = _COUNTERS_HEAD.pack(name, blob.number) + counters(view)
        _call(_libc.setsockopt, handle, blob.key, _SET_ADD_COUNTERS, back, len(back))
    return view


@contextmanager
def xtables_lock(path: str = LOCK_FILE, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold the lock every iptables program takes, so that what they add comes before or after, and is never lost.

    Raises :class:`HostError` that names the holder when it is not free within ``seconds``.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise HostError(f"cannot open {path}: {exc.strerror}", path=path) from exc
    try:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise HostError(
                        f"{path} has been held for {seconds:g} s by {_holder(descriptor)}; nothing was changed. Try again when it has ended.", path=path
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def _open(family: str) -> socket.socket:
    try:
        return socket.socket(_SOCKETS[family][0], socket.SOCK_RAW, socket.IPPROTO_RAW)
    except OSError as exc:
        raise HostError(f"cannot open the {family} socket that legacy iptables is read through: {exc.strerror}") from exc


def _call(function: Callable[..., int], handle: socket.socket, key: TableKey, option: int, buffer: object, length: object) -> None:
    if function(handle.fileno(), _SOCKETS[key.family][1], option, buffer, length) == 0:
        return
    number = ctypes.get_errno()
    if number == errno.EAGAIN:
        raise TableChanged(key)
    raise HostError(f"{_describe(key)}: the kernel refuses: {os.strerror(number)}", errno=number)


def _describe(key: TableKey) -> str:
    return f"legacy {key.family} table {key.name}"


def _holder(descriptor: int) -> str:
    """Who holds the lock on an open file, from /proc/locks."""
    inode = os.fstat(descriptor).st_ino
    for line in (read_text("/proc/locks") or "").splitlines():
        fields = line.split()
        if len(fields) > 5 and fields[1] == "FLOCK" and fields[5].endswith(f":{inode}"):
            name = (read_text(f"/proc/{fields[4]}/comm") or "").strip()
            return f"process {fields[4]} ({name})" if name else f"process {fields[4]}"
    return "a process that cannot be seen from here"
