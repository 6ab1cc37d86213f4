# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the files of this repository do with secrets, and with the keys by which machines and downloads are known."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from repository import ROOT, files, tasks

UNCHECKED_HOSTS = re.compile(
    r"StrictHostKeyChecking[ =]+\S?(no|off)\b|UserKnownHostsFile[ =]+\S?/dev/null|host_key_checking\s*=\s*(false|no|0)\b|ANSIBLE_HOST_KEY_CHECKING|ssh-keyscan",
    re.IGNORECASE,
)
UNCHECKED_DOWNLOADS = re.compile(
    r"validate_certs: *(false|no)\b|insecure_skip_tls_verify|allow_unauthenticated|trusted=yes|gpgcheck|GONOSUM|GOINSECURE|GOFLAGS\S*-insecure", re.IGNORECASE
)

HANDLERS = {"ansible.builtin.command", "ansible.builtin.copy", "ansible.builtin.slurp", "ansible.builtin.template", "ansible.builtin.fetch"}
CONTENT = re.compile(r'join_token|admin_kubeconfig|kubeadm-join-config|admin_conf_file|"kubeadm", "token"|"create", "token"')
"""In the arguments of a task: the token by which nodes join or the administrator's kubeconfig, not only the name of a file."""
WRITERS = {"ansible.builtin.copy", "ansible.builtin.template", "ansible.builtin.get_url", "ansible.builtin.fetch"}
SECRET_FILE = re.compile(r"kubeconfig|kubeadm_cluster_(init|join)_config|/ssh/")
FOLDERS = ("roles", "playbooks", "molecule", "tests/bench", "tests/integration")


def offences(pattern: re.Pattern[str]) -> list[str]:
    """The lines of code that the pattern finds; documentation quotes what others do."""
    found = []
    for path in files():
        name = str(path.relative_to(ROOT))
        if path.suffix in (".md", ".txt", ".png", ".svg") or path.parent == Path(__file__).parent:
            continue
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        found += [f"{name}:{number}: {line.strip()}" for number, line in enumerate(lines, 1) if pattern.search(line)]
    return found


def arguments(task: dict[str, Any], modules: set[str]) -> str:
    """What the task gives to its module, as text, if that is one of ``modules``."""
    return "".join(json.dumps(task[module]) for module in modules & task.keys())


def test_host_keys_are_checked_everywhere() -> None:
    assert offences(UNCHECKED_HOSTS) == []


def test_the_lab_takes_no_key_but_those_that_its_driver_made() -> None:
    inventory = yaml.safe_load((ROOT / "inventories" / "lab" / "group_vars" / "k8s_nodes.yml").read_text(encoding="utf-8"))
    options = inventory["ansible_ssh_common_args"].split("-o ")
    assert {"StrictHostKeyChecking=yes ", "GlobalKnownHostsFile=/dev/null "} <= set(options)
    (pinned,) = (option.partition("=")[2].strip() for option in options if option.startswith("UserKnownHostsFile="))
    written = [task["ansible.builtin.copy"]["dest"] for _path, task in tasks("roles/vm_provision") if "known_hosts" in json.dumps(task)]
    assert written == [pinned]


def test_downloads_are_checked_everywhere() -> None:
    assert offences(UNCHECKED_DOWNLOADS) == []


def test_only_one_task_downloads_a_file_and_apt_checks_what_it_is() -> None:
    downloads = [task["name"] for _path, task in tasks("roles", "playbooks") if {"ansible.builtin.get_url", "ansible.builtin.uri"} & task.keys()]
    assert downloads == ["packages | Fetch the key of Kubernetes' repository"]
    (source,) = (task["ansible.builtin.deb822_repository"] for _path, task in tasks("roles") if "ansible.builtin.deb822_repository" in task)
    assert source["signed_by"] == "{{ __kubeadm_cluster_repository_keyring }} {{ __kubeadm_cluster_repository_fingerprint }}"


def test_what_handles_a_secret_is_not_logged() -> None:
    found = {task["name"]: task.get("no_log") for _path, task in tasks(*FOLDERS) if CONTENT.search(arguments(task, HANDLERS))}
    assert found == {
        "join | Make a token for this node alone": True,
        "join | Write the configuration": True,
        "join | Withdraw the token": True,
        "kubeconfig | Read the administrator's kubeconfig": True,
        "kubeconfig | Write it on the controller": True,
    }


def test_secrets_are_written_for_their_owner_alone() -> None:
    found = {task["name"]: '"mode": "0600"' in text for _path, task in tasks(*FOLDERS) if SECRET_FILE.search(text := arguments(task, WRITERS))}
    assert found == {
        "init | Write the configuration": True,
        "join | Write the configuration": True,
        "kubeconfig | Write it on the controller": True,
        "Api_server | Write a kubeconfig that leads to a closed port": True,
        "Nspawn_keys | Pin the machines' host keys": True,
        "Nspawn_machine | Install the keys": True,
    }


@pytest.mark.parametrize(
    "line",
    [
        "-o StrictHostKeyChecking=no",
        'StrictHostKeyChecking "off"',
        "host_key_checking = False",
        '"ANSIBLE_HOST_KEY_CHECKING": "0"',
        "ssh-keyscan host >>known_hosts",
    ],
)
def test_an_unchecked_host_is_seen(line: str) -> None:
    assert UNCHECKED_HOSTS.search(line)


@pytest.mark.parametrize(
    "line", ["-o StrictHostKeyChecking=yes", "StrictHostKeyChecking=accept-new", "GlobalKnownHostsFile=/dev/null", "host_key_checking = true"]
)
def test_a_checked_host_is_no_offence(line: str) -> None:
    assert not UNCHECKED_HOSTS.search(line)
