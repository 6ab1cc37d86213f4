# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what Vagrant says of its machines, and says how SSH reaches them. It runs nothing.

``text`` is always the standard output of one ``vagrant`` command.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass

RUNNING = "running"
_COMMA = "%!(VAGRANT_COMMA)"


class VagrantError(ValueError):
    """What Vagrant said cannot be understood."""


@dataclass(frozen=True)
class Machine:
    """A running machine as ``vagrant ssh-config`` describes it; ``key`` is the file of the private key, with its folder."""

    name: str
    host: str
    port: int
    user: str
    key: str


def machine_states(text: str) -> dict[str, str]:
    """The state of each machine, by name, from ``vagrant status --machine-readable``.

    Every provider calls a machine that is on ``running``, and one that does not exist ``not_created``.
    """
    records = (line.split(",") for line in text.splitlines())
    return {record[1]: record[3] for record in records if len(record) == 4 and record[2] == "state"}


def failure(text: str) -> str:
    """Why a command with ``--machine-readable`` failed, in Vagrant's words on one line; empty if it does not say."""
    records = (line.split(",", 4) for line in text.splitlines())
    messages = [record[4] for record in records if len(record) == 5 and record[2] == "error-exit"]
    return " ".join(messages).replace(_COMMA, ",").replace("\\n", " ")


def machines(text: str) -> list[Machine]:
    """The machines of ``vagrant ssh-config``, in its order.

    Of several keys the first counts, as it does for ``ssh`` itself. Raises :class:`VagrantError` where an entry lacks
    its address, user, port or key.
    """
    entries: list[dict[str, str]] = []
    for line in text.splitlines():
        keyword, _rest, value = line.strip().partition(" ")
        if keyword == "Host":
            entries.append({"Host": value})
        elif entries:
            entries[-1].setdefault(keyword, value.strip('"'))
    return [_machine(entry) for entry in entries]


def _machine(entry: dict[str, str]) -> Machine:
    missing = [keyword for keyword in ("HostName", "Port", "User", "IdentityFile") if not entry.get(keyword)]
    if missing:
        raise VagrantError(f"vagrant ssh-config says of {entry['Host']} nothing of {', '.join(missing)}")
    if not entry["Port"].isdigit():
        raise VagrantError(f"vagrant ssh-config says of {entry['Host']} that its port is {entry['Port']}")
    return Machine(entry["Host"], entry["HostName"], int(entry["Port"]), entry["User"], entry["IdentityFile"])


def connection_variables(machine: Machine) -> dict[str, str | int]:
    """The variables by which Ansible reaches the machine, with its key and with its host key pinned.

    The pin lies beside the machine's own private key: ``vagrant destroy`` removes both, so a new machine of the same
    name is no stranger. It is kept by the machine's name, as the port that leads to it may be another one tomorrow.
    """
    pins = os.path.join(os.path.dirname(machine.key), "known_hosts")
    options = (
        f'UserKnownHostsFile="{pins}"',
        "GlobalKnownHostsFile=/dev/null",
        "StrictHostKeyChecking=accept-new",
        f"HostKeyAlias={machine.name}",
        "IdentitiesOnly=yes",
        "ServerAliveInterval=5",
        "ServerAliveCountMax=3",
    )
    return {
        "ansible_host": machine.host,
        "ansible_port": machine.port,
        "ansible_user": machine.user,
        "ansible_ssh_private_key_file": machine.key,
        "ansible_ssh_common_args": " ".join(f"-o {shlex.quote(option)}" for option in options),
    }
