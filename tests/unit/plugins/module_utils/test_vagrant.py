# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Vagrant says, recorded from Vagrant 2.3.4 with ``tests/vagrant/bin/VBoxManage`` for VirtualBox; only the folder was renamed."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils.vagrant import (
    Machine,
    VagrantError,
    connection_variables,
    failure,
    machine_states,
    machines,
)

FIXTURES = Path(__file__).parent / "fixtures"
FOLDER = "/home/somebody/lab/.vagrant/machines"


def recorded(name: str) -> str:
    return (FIXTURES / f"vagrant-{name}.txt").read_text(encoding="utf-8")


def options(machine: Machine) -> dict[str, str]:
    """The options of SSH as a shell would split them."""
    words = shlex.split(str(connection_variables(machine)["ansible_ssh_common_args"]))
    assert set(words[::2]) == {"-o"}
    return dict(word.split("=", 1) for word in words[1::2])


def test_states_are_read_in_vagrants_order() -> None:
    assert list(machine_states(recorded("status")).items()) == [("k8s-ctr", "running"), ("k8s-w1", "not_created"), ("k8s-w2", "running")]


def test_nothing_said_is_no_machine() -> None:
    assert machine_states("") == {}
    assert machines("") == []


def test_machines_are_read() -> None:
    assert machines(recorded("ssh-config")) == [
        Machine("k8s-ctr", "127.0.0.1", 2222, "vagrant", f"{FOLDER}/k8s-ctr/virtualbox/private_key"),
        Machine("k8s-w2", "127.0.0.1", 2201, "vagrant", f"{FOLDER}/k8s-w2/virtualbox/private_key"),
    ]


def test_of_several_keys_the_first_counts_and_quotes_go() -> None:
    text = 'Host a\n  HostName 192.168.121.7\n  User vagrant\n  Port 22\n  IdentityFile "/a b/private_key"\n  IdentityFile /c/private_key\n'
    assert machines(text) == [Machine("a", "192.168.121.7", 22, "vagrant", "/a b/private_key")]


def test_a_machine_without_a_key_is_refused() -> None:
    with pytest.raises(VagrantError, match="of a nothing of IdentityFile"):
        machines("Host a\n  HostName 127.0.0.1\n  User vagrant\n  Port 2222\n")


def test_a_port_that_is_none_is_refused() -> None:
    with pytest.raises(VagrantError, match="its port is ssh"):
        machines("Host a\n  HostName 127.0.0.1\n  User vagrant\n  Port ssh\n  IdentityFile /c\n")


def test_a_failure_is_told_in_vagrants_words_on_one_line() -> None:
    reason = failure(recorded("no-vagrantfile"))
    assert reason.startswith("A Vagrant environment or target machine is required to run this command. ")
    assert "Or, get an ID" in reason
    assert "\\n" not in reason


def test_no_failure_is_told_where_there_is_none() -> None:
    assert failure(recorded("status")) == ""


def test_a_machine_is_reached_with_its_key_by_the_forwarded_port() -> None:
    variables = connection_variables(machines(recorded("ssh-config"))[0])
    assert {name: value for name, value in variables.items() if name != "ansible_ssh_common_args"} == {
        "ansible_host": "127.0.0.1",
        "ansible_port": 2222,
        "ansible_user": "vagrant",
        "ansible_ssh_private_key_file": f"{FOLDER}/k8s-ctr/virtualbox/private_key",
    }


def test_its_host_key_is_pinned_where_vagrant_destroys_it_with_the_machine() -> None:
    given = options(machines(recorded("ssh-config"))[0])
    assert given["UserKnownHostsFile"] == f'"{FOLDER}/k8s-ctr/virtualbox/known_hosts"'
    assert given["GlobalKnownHostsFile"] == "/dev/null"
    assert given["StrictHostKeyChecking"] == "accept-new"
    assert given["HostKeyAlias"] == "k8s-ctr"


def test_a_folder_with_a_space_is_one_argument_and_one_file() -> None:
    assert options(Machine("a", "127.0.0.1", 2222, "vagrant", "/a b/private_key"))["UserKnownHostsFile"] == '"/a b/known_hosts"'
