# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: vagrant
short_description: How SSH reaches the machines of Vagrant
version_added: "1.0.0"
author:
  - netops.cni_migration authors (@netops)
description:
  - Asks Vagrant for its machines and adds each of them as a host, with its state in Vagrant's words as C(vagrant_state).
  - One that runs gets the address, the port, the user and the private key that C(vagrant ssh-config) names. One that does not run gets none of
    it, and a warning says so.
  - The address is the one by which Vagrant reaches the machine, which with VirtualBox is a forwarded port of this host. Where a cluster
    has another, name it in C(cni_migration_node_ip).
  - Its host key is taken on the first connection, kept beside the machine's private key, and no other is accepted from then on.
    Both go with C(vagrant destroy). Vagrant's own answer would have no host key checked at all.
  - A connection that is dead is noticed after 15 seconds.
  - The groups are the business of another file in the same inventory folder.
options:
  plugin:
    description: The name of this plugin.
    type: str
    required: true
    choices: [netops.cni_migration.vagrant]
  directory:
    description: Folder of the Vagrantfile, or one below it. What is relative begins where Ansible was started.
    type: str
    default: .
    env:
      - name: VAGRANT_CWD
requirements:
  - vagrant on the path
  - a file whose name ends in C(vagrant.yml) or C(vagrant.yaml)
"""

EXAMPLES = r"""
# inventory/vagrant.yml
plugin: netops.cni_migration.vagrant
# Only for a Vagrantfile that lies elsewhere.
directory: ~/cilium-study
"""

import os
import subprocess
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin

from ansible_collections.netops.cni_migration.plugins.module_utils import vagrant


class InventoryModule(BaseInventoryPlugin):  # type: ignore[misc]
    """Runs Vagrant; what it says is understood by the module utility of the same name."""

    NAME = "netops.cni_migration.vagrant"

    def verify_file(self, path: str) -> bool:
        """Whether the file is meant for this plugin, by its name."""
        return bool(super().verify_file(path)) and path.endswith(("vagrant.yml", "vagrant.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Add the machines, and the way to those that run; AnsibleParserError in Vagrant's words where it fails."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        states = vagrant.machine_states(self._ask("status", "--machine-readable"))
        for name, state in states.items():
            self.inventory.add_host(name)
            self.inventory.set_variable(name, "vagrant_state", state)
        running = [name for name, state in states.items() if state == vagrant.RUNNING]
        if len(running) < len(states):
            others = ", ".join(f"{name} is {state}" for name, state in states.items() if state != vagrant.RUNNING)
            self.display.warning(f"Vagrant's machines do not all run, and no way leads to those that do not: {others}")
        if not running:
            return
        try:
            machines = vagrant.machines(self._ask("ssh-config", *running))
        except vagrant.VagrantError as error:
            raise AnsibleParserError(str(error)) from error
        for machine in machines:
            for variable, value in vagrant.connection_variables(machine).items():
                self.inventory.set_variable(machine.name, variable, value)

    def _ask(self, *arguments: str) -> str:
        directory = os.path.abspath(os.path.expanduser(self.get_option("directory")))
        try:
            result = subprocess.run(
                ("vagrant", *arguments), env={**os.environ, "VAGRANT_CWD": directory}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
        except FileNotFoundError as error:
            raise AnsibleParserError("Vagrant is not on the path") from error
        if result.returncode != 0:
            reason = vagrant.failure(result.stdout) or result.stderr.strip()
            raise AnsibleParserError(f"vagrant {' '.join(arguments)} failed in {directory}: {reason}")
        return result.stdout
