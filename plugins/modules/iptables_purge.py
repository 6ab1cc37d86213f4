#!/usr/bin/python
# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: iptables_purge
short_description: Remove the packet filter rules of kube-proxy, Flannel and the CNI plugins, and nothing else
version_added: "1.0.0"
author:
  - netops.cni_migration authors (@netops)
description:
  - Removes from a node the chains, jumps, ipsets and nftables tables that kube-proxy, Flannel and the CNI plugins own, in every table, for
    both backends of iptables and both families.
  - A chain is owned by its name, a jump by its whole shape; no rule goes because of a word in its comment.
  - Everything else stays exactly as it is, with its order, its packet and byte counters and its policies. Tables that are empty stay too.
  - All nft tables change in one transaction and each legacy table in one exchange under the xtables lock, so that no packet meets a table
    that is half changed, and rules that somebody adds meanwhile are not lost.
  - Rules that somebody appended to an owned chain go with the chain. C(CNI-ADMIN) is kept while it has rules, since those are the administrator's.
options:
  owners:
    description:
      - Whose rules go.
      - V(kube_proxy) covers the iptables, ipvs and nftables modes of kube-proxy.
      - V(kubelet) covers the chains the kubelet keeps and restores by itself. They are useful with any CNI, and so not in the default.
      - V(flannel) covers Flannel's chains, its nftables tables, and the rules it wrote before it had chains of its own.
      - V(cni_plugins) covers the masquerade chains of bridge and ptp, portmap and firewall.
      - V(cilium) covers the chains of Cilium's agent and its ipsets. A migration keeps them; they go when one was rolled back.
    type: list
    elements: str
    choices: [kube_proxy, kubelet, flannel, cni_plugins, cilium]
    default: [kube_proxy, flannel, cni_plugins]
  backends:
    description: The backends of iptables to look at. Tables of the legacy backend that do not exist are not created by looking.
    type: list
    elements: str
    choices: [nft, legacy]
    default: [nft, legacy]
  families:
    description: The address families to look at. Tables of nftables for both, C(inet), are looked at when both are named.
    type: list
    elements: str
    choices: [ipv4, ipv6]
    default: [ipv4, ipv6]
  force:
    description: Purge even while a daemon of O(owners) runs on the node. It will write its rules again.
    type: bool
    default: false
  drop_foreign_jumps:
    description: Also remove rules of somebody else that jump into an owned chain. Without it the module refuses and lists them.
    type: bool
    default: false
  backup_dir:
    description: Folder on the node for the backup, made with mode 0700 when it is missing.
    type: path
    default: /var/backups/cni-migration
  full_backup:
    description:
      - Also keep all tables in the backup, as C(iptables-save -c) prints them. At 30,000 services that takes longer than the purge.
      - Without it the backup holds the rules that are taken out of chains that stay.
    type: bool
    default: false
  confirm_timeout:
    description:
      - How many seconds the node waits for the controller to come back over a new connection before it puts the rules back.
      - First everything is taken out of the packets' way such that it can be brought back exactly; on the nft backend the chains themselves go
        only once the controller has confirmed.
      - With V(0) everything goes in one step, and nothing is put back.
    type: int
    default: 60
  _phase:
    description: What the action plugin of this module asks of it. Not for playbooks.
    type: str
    choices: [unhook, delete]
  _armed:
    description: What the action plugin of this module got from its first step. Not for playbooks.
    type: path
attributes:
  action:
    description: Indicates this has a corresponding action plugin so some parts of the options can be executed on the controller.
    support: full
  async:
    description: Supports being used with the C(async) keyword.
    support: none
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target. What would make it refuse is a warning then.
    support: full
  diff_mode:
    description: Returns the rules that go, by table and owner. Lists of more than 400 lines are cut, and tables of more than 2,000 chains show chains only.
    support: full
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: linux
notes:
  - Needs root. The rules are read from the kernel directly; C(iptables-save) of each backend in use must be installed to print them.
  - It waits up to 10 seconds for the xtables lock, and names the holder when it does not get it.
  - The process that would put the rules back belongs to no session, but C(KillUserProcesses=yes) of systemd-logind ends it with the login;
    then set O(confirm_timeout=0).
  - The daemons of kube-proxy, Flannel and Cilium are looked for in the network namespace the module runs in.
seealso:
  - module: netops.cni_migration.cni_residue_info
"""

EXAMPLES = r"""
- name: Show what would go
  netops.cni_migration.iptables_purge:
  check_mode: true
  diff: true

- name: Remove what kube-proxy, Flannel and the CNI plugins left
  netops.cni_migration.iptables_purge:

- name: Remove kube-proxy's rules only, and keep a printable copy of all tables
  netops.cni_migration.iptables_purge:
    owners: [kube_proxy]
    full_backup: true
"""

RETURN = r"""
removed:
  description:
    - What went, or would go in check mode, as counts by backend, family, table and owner. Rules of somebody else that were dropped are under C(foreign).
    - C(rules) is null in an nft table of more than 1,000 owned chains (in check mode, 20,000), where counting would take longer than removing.
  returned: success
  type: dict
  sample: {nft: {ipv4: {nat: {kube_proxy: {chains: 18, rules: 47}, flannel: {chains: 1, rules: 7}}}}}
kept:
  description: What stayed, as counts by backend, family, table and owner; what nobody of these owns is under C(foreign).
  returned: success
  type: dict
  sample: {nft: {ipv4: {nat: {foreign: {chains: 5, rules: 2}}, filter: {kubelet: {chains: 2, rules: 3}}}}}
ipsets:
  description: The ipsets that went, or would go.
  returned: success
  type: list
  elements: str
  sample: [KUBE-CLUSTER-IP, KUBE-LOOP-BACK]
refusals:
  description: In check mode, why the module would refuse.
  returned: success
  type: list
  elements: str
  sample: []
backup_file:
  description: The backup, mode 0600; empty when nothing had to change and in check mode.
  returned: success
  type: str
  sample: /var/backups/cni-migration/iptables-purge-20260101T120000Z-4711.json
confirmed:
  description: Whether the controller came back over a new connection. Only there when a roll-back was armed.
  returned: when something changed and O(confirm_timeout) is not 0
  type: bool
  sample: true
rolled_back:
  description: Whether the node put the rules back because nobody confirmed in time.
  returned: when the confirmation came too late
  type: bool
  sample: true
seconds:
  description: How long reading, planning, removing and verifying took.
  returned: success
  type: float
  sample: 0.04
"""

import errno
import gc
import time
from contextlib import nullcontext
from functools import partial

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.netops.cni_migration.plugins.module_utils import purge_arm, purge_host, purge_plan, purge_report, purge_undo
from ansible_collections.netops.cni_migration.plugins.module_utils.host import HostError, fail
from ansible_collections.netops.cni_migration.plugins.module_utils.ownership import OWNERS
from ansible_collections.netops.cni_migration.plugins.module_utils.purge_plan import Plan
from ansible_collections.netops.cni_migration.plugins.module_utils.ruleset import BACKENDS, FAMILIES
from ansible_collections.netops.cni_migration.plugins.module_utils.xt_kernel import TableChanged, xtables_lock

# Somebody else removed a rule or referred to a chain between reading and writing: read again.
_RACES = (errno.ENOENT, errno.EBUSY, errno.EAGAIN)
_ATTEMPTS = 3
# Owned chains in one nft table up to which their rules are counted; more would take longer to count than to remove.
_COUNTED = 1_000
_COUNTED_IN_CHECK_MODE = 20_000


class Purge:
    """One run of the module."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.params = module.params
        counted = _COUNTED_IN_CHECK_MODE if module.check_mode else 0 if self.params["_phase"] == "delete" else _COUNTED
        self.node = purge_host.Node(self.params["owners"], self.params["backends"], self.params["families"], counted)
        self.started = time.monotonic()

    def run(self) -> dict[str, object]:
        """Purge, or say what would be purged; the module's result."""
        if self.params["_phase"] == "delete":
            return self._delete()
        with nullcontext() if self.module.check_mode else xtables_lock():
            plan = self.node.plan()
            if plan.empty:
                return self._result(plan, [])
            refusals = self._refusals(plan)
            purge_host.require_programs(plan)
            result = self._result(plan, refusals)
            if self.module._diff:
                texts = {key: purge_report.saved_rules(output) for key, output in purge_host.rule_lines(plan).items()}
                result["diff"] = purge_report.diff(plan, texts)
            if self.module.check_mode:
                for reason in refusals:
                    self.module.warn(f"iptables_purge would refuse: {reason}")
                return result
            if refusals:
                raise HostError(f"nothing was changed: {'. '.join(refusals)}", refusals=refusals)
            result["backup_file"] = purge_host.write_backup(plan, self.params["backup_dir"], self.params["full_backup"])
            if self.params["_phase"] == "unhook" and self.params["confirm_timeout"] > 0:
                result["_armed"] = self._unhook(plan)
            else:
                self._apply(plan)
        result["seconds"] = self._seconds()
        return result

    def _unhook(self, plan: Plan) -> str:
        """Take what goes out of the packets' way, with the roll-back armed; the folder that stands for it."""
        for attempt in range(1, _ATTEMPTS + 1):
            folder = purge_arm.prepare()
            self.node.keep(purge_undo.saved(plan), folder)
            purge_arm.arm(folder, self.params["confirm_timeout"], partial(self.node.undo, plan))
            try:
                self.node.unhook(plan, folder)
            except TableChanged:
                # What was taken out of other tables before comes back when nobody confirms.
                raise
            except HostError as exc:
                if attempt == _ATTEMPTS or exc.facts.get("errno") not in _RACES:
                    raise
                purge_arm.call_off(folder)
            else:
                break
            plan = self.node.plan()
            self._refuse_new_references(plan)
        return folder

    def _delete(self) -> dict[str, object]:
        """The second step: the controller is back, so call the roll-back off and delete what nothing refers to any more."""
        purge_arm.confirm(self.params["_armed"])
        with xtables_lock():
            plan = self.node.plan()
            refusals = self._refusals(plan) if not plan.empty else []
            if refusals:
                raise HostError(f"confirmed, but not deleted: {'. '.join(refusals)}", refusals=refusals)
            self._apply(plan)
        return {"changed": True, "seconds": self._seconds()}

    def _apply(self, plan: Plan) -> None:
        """Remove what ``plan`` says and read again, until nothing owned is left."""
        for _attempt in range(_ATTEMPTS):
            try:
                self.node.remove(plan)
            except HostError as exc:
                if exc.facts.get("errno") not in _RACES:
                    raise
                failure = exc
            else:
                failure = HostError("owned rules are there again right after the purge, so something on this node still writes them")
            plan = self.node.plan()
            if plan.empty:
                return
            self._refuse_new_references(plan)
        failure.facts["left"] = purge_plan.removed(plan)
        raise failure

    def _refusals(self, plan: Plan) -> list[str]:
        running = purge_host.running_owners(self.node.owners)
        return purge_report.refusals(plan, running, force=self.params["force"], drop_foreign_jumps=self.params["drop_foreign_jumps"])

    def _refuse_new_references(self, plan: Plan) -> None:
        reasons = purge_report.refusals(plan, (), force=True, drop_foreign_jumps=self.params["drop_foreign_jumps"])
        if reasons:
            raise HostError(f"rules of somebody else have come to refer to what goes: {'. '.join(reasons)}", refusals=reasons)

    def _result(self, plan: Plan, refusals: list[str]) -> dict[str, object]:
        return {
            "changed": not plan.empty,
            "removed": purge_plan.removed(plan),
            "kept": purge_plan.kept(plan),
            "ipsets": plan.ipsets,
            "refusals": refusals,
            "backup_file": "",
            "seconds": self._seconds(),
        }

    def _seconds(self) -> float:
        return round(time.monotonic() - self.started, 3)


def main() -> None:
    """Entry point."""
    # Hundreds of thousands of small objects, none of them in a cycle, in a process that ends soon.
    gc.disable()
    module = AnsibleModule(
        argument_spec={
            "owners": {"type": "list", "elements": "str", "choices": list(OWNERS), "default": ["kube_proxy", "flannel", "cni_plugins"]},
            "backends": {"type": "list", "elements": "str", "choices": list(BACKENDS), "default": list(BACKENDS)},
            "families": {"type": "list", "elements": "str", "choices": list(FAMILIES), "default": list(FAMILIES)},
            "force": {"type": "bool", "default": False},
            "drop_foreign_jumps": {"type": "bool", "default": False},
            "backup_dir": {"type": "path", "default": "/var/backups/cni-migration"},
            "full_backup": {"type": "bool", "default": False},
            "confirm_timeout": {"type": "int", "default": 60},
            # What the action plugin and the module say to each other.
            "_phase": {"type": "str", "choices": ["unhook", "delete"]},
            "_armed": {"type": "path"},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**Purge(module).run())
    except HostError as exc:
        fail(module, exc)


if __name__ == "__main__":
    main()
