#!/usr/bin/python
# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module netops.cni_migration.cni_migration_lease."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: cni_migration_lease
short_description: Let one run at a time change the cluster
version_added: "1.0.0"
author:
  - netops.cni_migration authors (@netops)
description:
  - Takes, renews and gives back the Lease C(kube-system/cni-migration). Whoever holds it may change the cluster; of several who want it at the same
    time, exactly one gets it, and the others are told who that is.
  - The holder is a run of C(ansible-playbook), as C(user@host/machine/process/start). The same run renews the Lease.
  - A holder on this machine is refused to others for as long as its process lives, and not a moment longer. A run that was killed can thus be
    resumed at once. Where the process cannot be seen, the Lease has to run out.
  - Giving it back deletes the Lease, so nothing is left of it.
notes:
  - Runs on the controller. In a play that targets nodes, delegate it to C(localhost).
  - Rights needed in the cluster are get, create, patch and delete on leases of C(coordination.k8s.io) in C(kube-system).
  - When the Lease runs out is told by the clocks of the controllers, which should agree to a few minutes.
  - Processes of another container or virtual machine cannot be seen, nor any where there is no C(/proc), as on macOS.
extends_documentation_fragment:
  - netops.cni_migration.cluster
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying the cluster. A Lease of another run is told then, and no failure.
    support: full
  diff_mode:
    description: Returns who holds the Lease before and after.
    support: full
options:
  state:
    description:
      - V(held) takes the Lease or renews it. The module fails when another run holds it.
      - V(released) gives it back if this run holds it. A Lease of another run stays as it is.
    type: str
    required: true
    choices: [held, released]
  duration:
    description: Seconds that the Lease lasts from now. Renew it before. Matters for O(state=held) only.
    type: int
    default: 3600
  renew:
    description:
      - Whether this run must hold the Lease already. If it does not, it has lost it, even if nobody holds it now, and the module fails.
      - Matters for O(state=held) only.
    type: bool
    default: false
  take_over:
    description:
      - The identity of a holder that has to yield to this run, as the refusal and RV(holder) have it. Any other holder is respected.
      - Matters for O(state=held) without O(renew) only.
    type: str
    default: ""
  timeout:
    description: How long to wait for an API server that is away, in seconds.
    type: float
    default: 120
  _pid:
    description: The process that is the run. The action plugin of this module puts it in. Not for playbooks.
    type: int
seealso:
  - module: netops.cni_migration.cni_migrate_node
"""

EXAMPLES = r"""
- name: Take the Lease before anything is changed
  netops.cni_migration.cni_migration_lease:
    state: held
    duration: 3600
  delegate_to: localhost
  run_once: true

- name: Make sure that it was not lost meanwhile
  netops.cni_migration.cni_migration_lease:
    state: held
    renew: true
    duration: 3600
  delegate_to: localhost
  run_once: true

- name: Give it back
  netops.cni_migration.cni_migration_lease:
    state: released
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
holder:
  description:
    - The identity of the run that holds the Lease now, empty when nobody does; in check mode, that would.
    - After a failure, of the run that it was refused for.
  returned: when the Lease could be read
  type: str
  sample: root@controller/6d0a5ac5.4026531836/4242/118734
since:
  description: When that run took it (UTC), empty when that is not known.
  returned: when the Lease could be read
  type: str
  sample: "2026-01-17T20:30:12Z"
until:
  description: When it runs out unless it is renewed (UTC), empty when nobody holds it.
  returned: when the Lease could be read
  type: str
  sample: "2026-01-17T21:15:12Z"
refused:
  description: Why this run does not get the Lease, and what to do; empty otherwise. Outside check mode the module fails with these words.
  returned: when the Lease could be read
  type: str
"""

from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_lease import LeaseCluster
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_module import cluster_module, failures_told
from ansible_collections.netops.cni_migration.plugins.module_utils.lease_keeper import Keeper, Wish
from ansible_collections.netops.cni_migration.plugins.module_utils.processes import NoSuchRun, Processes
from ansible_collections.netops.cni_migration.plugins.module_utils.waiting import SystemClock, TimedOut


def main() -> None:
    """Run the module."""
    module = cluster_module(
        {
            "state": {"type": "str", "required": True, "choices": ["held", "released"]},
            "duration": {"type": "int", "default": 3600},
            "renew": {"type": "bool", "default": False},
            "take_over": {"type": "str", "default": ""},
            "timeout": {"type": "float", "default": 120},
            "_pid": {"type": "int"},
        }
    )
    options, processes = module.params, Processes()
    wish = Wish(**{name: options[name] for name in ("duration", "renew", "take_over", "timeout")}, check_mode=module.check_mode)
    with failures_told(module, NoSuchRun, TimedOut):
        keeper = Keeper(LeaseCluster(options["kubeconfig"]), SystemClock(), processes, processes.run(options["_pid"]), wish)
        module.exit_json(**(keeper.hold() if options["state"] == "held" else keeper.release()))


if __name__ == "__main__":
    main()
