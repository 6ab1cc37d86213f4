#!/usr/bin/python
# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cni_residue_info
short_description: Tell what kube-proxy, Flannel and the CNI plugins, or Cilium, have left on a node
version_added: "1.0.0"
author:
  - netops.cni_migration authors (@netops)
description:
  - Lists the packet filter rules, ipsets, network links, routes, neighbours, forwarding entries, IPVS services and files of the old network.
  - Of Cilium, after a migration was rolled back, also its routing rules, and its programs and maps in the kernel.
  - What counts as whose is the same table that M(netops.cni_migration.iptables_purge) works by.
  - Changes nothing.
options:
  owners:
    description: Whose residue counts. Rules and settings that the kubelet keeps are useful with any CNI, and so not in the default.
    type: list
    elements: str
    choices: [kube_proxy, kubelet, flannel, cni_plugins, cilium]
    default: [kube_proxy, flannel, cni_plugins]
  pod_cidr:
    description: Cilium's pod CIDR. With V(cilium) among O(owners), the routes to its parts count as Cilium's over whichever link they lead.
    type: str
    default: ""
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Returns details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: none
    details: This module changes nothing.
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: linux
notes:
  - Needs root, and C(ip), C(bridge) and, for V(cilium), C(tc) of iproute2.
seealso:
  - module: netops.cni_migration.iptables_purge
"""

EXAMPLES = r"""
- name: See what is left of the old network
  netops.cni_migration.cni_residue_info:
  register: old_network

- name: Insist that nothing is
  ansible.builtin.assert:
    that: old_network.residue | length == 0
    fail_msg: "{{ inventory_hostname }} still has {{ old_network.residue | map(attribute='name') | join(', ') }}"
"""

RETURN = r"""
residue:
  description: All that is left, empty on a clean node.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description:
        - What it is, one of C(rules), C(ipset), C(link), C(route), C(neighbour), C(fdb), C(ipvs), C(file), C(directory); and of Cilium
          C(routing_rule), C(filter) (a program on a device, by tc) and C(bpf) (a folder or pattern of the BPF file system).
      type: str
      sample: link
    name:
      description:
        - Its name, which for C(rules) is backend, family and table, for files the path, and for C(routing_rule) and C(filter) how C(ip rule)
          and, after C(dev), C(tc filter) take it.
      type: str
      sample: flannel.1
    owner:
      description: Whose it is.
      type: str
      sample: flannel
    detail:
      description: What else is known of it, for people.
      type: str
      sample: vxlan
by_kind:
  description: The same, by kind; a kind of which there is nothing is not there.
  returned: success
  type: dict
  sample: {link: [{kind: link, name: flannel.1, owner: flannel, detail: vxlan}]}
rules:
  description:
    - Counts of owned chains and rules by backend, family, table and owner, as M(netops.cni_migration.iptables_purge) would remove them.
    - C(rules) is null in an nft table of more than 20,000 owned chains.
  returned: success
  type: dict
  sample: {nft: {ipv4: {nat: {kube_proxy: {chains: 18, rules: 47}}}}}
kept_rules:
  description: The same counts of all other chains and rules, those of nobody under C(foreign).
  returned: success
  type: dict
  sample: {nft: {ipv4: {nat: {foreign: {chains: 5, rules: 2}}}}}
sysctls:
  description:
    - Kernel settings the owners change and do not change back, with their values now.
    - They are not residue, since their former values are unknown, others set them too, and a reboot resets them.
  returned: success
  type: dict
  sample: {net.ipv4.conf.all.route_localnet: "1"}
seconds:
  description: How long reading took.
  returned: success
  type: float
  sample: 0.03
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.netops.cni_migration.plugins.module_utils import purge_host, purge_plan, residue, residue_host
from ansible_collections.netops.cni_migration.plugins.module_utils.host import HostError, fail
from ansible_collections.netops.cni_migration.plugins.module_utils.ownership import IPSETS, OWNERS
from ansible_collections.netops.cni_migration.plugins.module_utils.ruleset import BACKENDS, FAMILIES

# Owned chains in one nft table up to which their rules are counted, which takes about a second.
_COUNTED = 20_000


def gather(owners: list[str], pod_cidr: str) -> dict[str, object]:
    """The module's result. Raises :class:`HostError`."""
    started = time.monotonic()
    plan = purge_host.Node(owners, BACKENDS, FAMILIES, _COUNTED).plan()
    counts = purge_plan.removed(plan)
    items = [
        *residue.rules(counts),
        *(residue.Item("ipset", name, IPSETS[name]) for name in plan.ipsets),
        *residue_host.network_items(owners),
        *residue_host.cilium_items(owners, pod_cidr),
        *residue_host.virtual_server_items(owners),
        *residue_host.file_items(owners),
    ]
    listed = [item._asdict() for item in items]
    by_kind: dict[str, list[dict[str, str]]] = {}
    for entry in listed:
        by_kind.setdefault(entry["kind"], []).append(entry)
    return {
        "residue": listed,
        "by_kind": by_kind,
        "rules": counts,
        "kept_rules": purge_plan.kept(plan),
        "sysctls": residue_host.sysctls(owners),
        "seconds": round(time.monotonic() - started, 3),
    }


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "owners": {"type": "list", "elements": "str", "choices": list(OWNERS), "default": ["kube_proxy", "flannel", "cni_plugins"]},
            "pod_cidr": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(changed=False, **gather(module.params["owners"], module.params["pod_cidr"]))
    except HostError as exc:
        fail(module, exc)


if __name__ == "__main__":
    main()
