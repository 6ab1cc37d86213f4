# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ipsets of a node, through the ``ipset`` program and the kernel's table of their numbers."""

from __future__ import annotations

import ctypes
import shutil
import socket
import struct
from collections.abc import Iterable
from typing import Callable

from ansible_collections.netops.cni_migration.plugins.module_utils.host import run

# linux/netfilter/ipset/ip_set.h: SO_IP_SET, IP_SET_OP_GET_BYNAME, IP_SET_OP_VERSION
_SO_IP_SET, _BY_NAME, _VERSION = 83, 6, 0x100
_NO_SET = 0xFFFF

_libc = ctypes.CDLL(None, use_errno=True)


def set_names() -> list[str]:
    """The names of all ipsets; none where there is no ``ipset`` program or the kernel has no ipsets."""
    if not shutil.which("ipset"):
        return []
    listed = run(["ipset", "list", "-name"], check=False)
    return listed.stdout.split() if listed.rc == 0 else []


def set_numbers(names: Iterable[str], lookup: Callable[[str], int | None] | None = None) -> dict[str, int]:
    """The number by which rules refer to each set. One that has gone meanwhile is left out."""
    found = {name: (lookup or _number)(name) for name in names}
    return {name: number for name, number in found.items() if number is not None}


def destroy(name: str) -> None:
    """Remove a set. Raises :class:`HostError` while something still refers to it."""
    run(["ipset", "destroy", name])


def _number(name: str) -> int | None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as handle:
        version = ctypes.create_string_buffer(struct.pack("=II", _VERSION, 0), 8)
        if _libc.getsockopt(handle.fileno(), socket.IPPROTO_IP, _SO_IP_SET, version, ctypes.byref(ctypes.c_uint(8))):
            return None
        request = ctypes.create_string_buffer(struct.pack("=II32s", _BY_NAME, struct.unpack("=II", version.raw)[1], name.encode()), 40)
        if _libc.getsockopt(handle.fileno(), socket.IPPROTO_IP, _SO_IP_SET, request, ctypes.byref(ctypes.c_uint(40))):
            return None
        number = struct.unpack_from("=H", request.raw, 8)[0]
        return None if number == _NO_SET else number
