#!/usr/bin/python
# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: etcd_health_info
short_description: Say whether etcd can spare this node of the control plane
version_added: "1.0.0"
description:
  - Asks etcd for its members, and each member for its health, over the addresses by which they serve the API servers. A member calls itself healthy
    when it has no alarm and can read what a quorum agrees on.
  - Says what keeps this node from being taken away. A node that carries no member, since etcd is external, can always be. Any other can be when every
    member votes and is healthy, and the others are a quorum without it.
  - With a single member there is nobody to stand in for it. That is known before, and no complaint.
  - Runs on a node of the control plane and changes nothing.
options:
  manifest:
    description: The manifest of the API server on this node. Its flags tell where etcd is, and by which certificate it may be asked.
    type: path
    default: /etc/kubernetes/manifests/kube-apiserver.yaml
  spare:
    description: Whether the node is to be away, so that the other members have to be a quorum. Else it is enough that all are healthy.
    type: bool
    default: true
  timeout:
    description: How long to wait for every member to be healthy, in seconds. Afterwards what was seen last is returned.
    type: float
    default: 0
attributes:
  platform:
    description: Target operating system that can be operated against.
    support: full
    platforms: linux
notes:
  - Needs root, to read the certificate of the API server. No right in the cluster is needed, and no other program than C(ip). Every client of etcd may do
    everything in it, so there is no lesser certificate; what is asked for is the list of members and C(/health), and no key is read.
  - The list of members is etcd's own, so one whose node is gone and that nobody removed is counted, as etcd counts it.
author:
  - netops.cni_migration authors (@netops)
extends_documentation_fragment:
  - netops.cni_migration.reading
seealso:
  - module: netops.cni_migration.cni_preflight_info
  - module: netops.cni_migration.cni_migrate_node
"""

EXAMPLES = r"""
- name: Wait until etcd can spare this node
  netops.cni_migration.etcd_health_info:
    timeout: 120
  become: true
  register: etcd
  failed_when: etcd.complaints | length > 0
"""

RETURN = r"""
members:
  description: The members that etcd lists. Empty when it cannot be asked.
  returned: always
  type: list
  elements: dict
  contains:
    id:
      description: Its number in hexadecimal digits, as C(etcdctl) takes it.
      type: str
    name:
      description: Its name, with kubeadm that of the node. Empty when it was never started.
      type: str
    urls:
      description: Where it serves clients.
      type: list
      elements: str
    learner:
      description: Whether it only follows, and has no vote yet.
      type: bool
    here:
      description: Whether it is on this node.
      type: bool
    trouble:
      description: Why it is not healthy, empty when it is.
      type: str
  sample:
    - {id: 2c2066bd4c36048b, name: cp-a, urls: ["https://192.0.2.11:2379"], learner: false, here: true, trouble: ""}
    - {id: a86f0ba6fb22cf67, name: cp-b, urls: ["https://192.0.2.12:2379"], learner: false, here: false, trouble: "it answers 503: RAFT NO LEADER"}
stacked:
  description: Whether this node carries a member.
  returned: always
  type: bool
quorum:
  description: How many members have to agree.
  returned: always
  type: int
complaints:
  description: What keeps this node from going. Empty when it may go.
  returned: always
  type: list
  elements: dict
  contains:
    fact:
      description: What was seen.
      type: str
    advice:
      description: What to do about it.
      type: str
  sample:
    - fact: "member cp-b of etcd (https://192.0.2.12:2379) is not healthy: it answers 503: RAFT NO LEADER"
      advice: "bring it back first (crictl logs of etcd on its node); if its node is gone for good, remove it: etcdctl member remove a86f0ba6fb22cf67"
summary:
  description: What was seen in one line, empty when there are complaints.
  returned: always
  type: str
  sample: all 3 members of etcd are healthy; 2 without this node, 2 are a quorum
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.netops.cni_migration.plugins.module_utils import etcd_quorum, etcd_reader, host
from ansible_collections.netops.cni_migration.plugins.module_utils.waiting import SystemClock

OPTIONS = {
    "manifest": {"type": "path", "default": "/etc/kubernetes/manifests/kube-apiserver.yaml"},
    "spare": {"type": "bool", "default": True},
    "timeout": {"type": "float", "default": 0},
}


def told(etcd: etcd_quorum.Etcd, *, spare: bool) -> dict[str, Any]:
    """What the module returns of an etcd that was seen."""
    complaints = etcd_quorum.complaints(etcd, spare=spare)
    return {
        "members": [{**asdict(member), "id": f"{member.id:x}", "urls": list(member.urls)} for member in etcd.members],
        "stacked": etcd.stacked,
        "quorum": etcd.quorum,
        "complaints": [asdict(complaint) for complaint in complaints],
        "summary": "" if complaints else etcd_quorum.summary(etcd),
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    options = module.params
    try:
        seen = etcd_reader.watch(options["manifest"], SystemClock(), options["timeout"])
    except host.HostError as error:
        host.fail(module, error)
    module.exit_json(changed=False, **told(seen, spare=options["spare"]))


if __name__ == "__main__":
    main()
