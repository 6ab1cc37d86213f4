#!/usr/bin/python
# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cni_node_info
short_description: Read a node's network state
version_added: "1.0.0"
description:
  - Reads what a CNI migration has to know of a node, such as its links, routes, bound UDP ports, CNI files and kernel.
  - Changes nothing.
author:
  - netops.cni_migration authors (@netops)
attributes:
  check_mode:
    support: full
    description: Can run in check mode and reads the same.
  diff_mode:
    support: none
    description: Nothing is changed.
options:
  cni_config_dir:
    description: The folder of the CNI configuration files.
    type: path
    default: /etc/cni/net.d
seealso:
  - module: netops.cni_migration.cni_preflight_info
"""

EXAMPLES = r"""
- name: Read the network of the node
  netops.cni_migration.cni_node_info:
  register: node
"""

RETURN = r"""
kernel:
  description: The kernel release.
  returned: always
  type: str
  sample: 6.1.0-37-amd64
bpf:
  description: Whether the kernel has the bpf system call.
  returned: always
  type: bool
btf:
  description: Whether the kernel carries its own type information.
  returned: always
  type: bool
networkd_deletes_rules:
  description: Whether systemd-networkd runs and would delete policy rules that are not its own.
  returned: always
  type: bool
links:
  description: The network links.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The link's name.
      type: str
    kind:
      description: The kernel's kind of link, empty for a plain device.
      type: str
    mtu:
      description: The maximum transmission unit in bytes.
      type: int
    addresses:
      description: Addresses with their prefix length.
      type: list
      elements: str
    vni:
      description: The network identifier, of a VXLAN only.
      type: int
    port:
      description: The UDP port, of a VXLAN only.
      type: int
  sample:
    - {name: flannel.1, kind: vxlan, mtu: 1450, addresses: [10.244.1.0/32], vni: 1, port: 8472}
routes:
  description: The number of IPv4 routes of the main table, by device.
  returned: always
  type: dict
  sample: {cni0: 1, eth0: 1, eth1: 1, flannel.1: 2}
udp_ports:
  description: The bound local UDP ports.
  returned: always
  type: list
  elements: int
  sample: [8472]
cni_files:
  description: The names in the folder of CNI configurations.
  returned: always
  type: list
  elements: str
  sample: [10-flannel.conflist]
cni_active:
  description: The configuration file that the container runtime uses, empty when there is none.
  returned: always
  type: str
  sample: 10-flannel.conflist
"""

import glob
import os
import platform

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.netops.cni_migration.plugins.module_utils import host, node_facts

NETWORKD_CONFIGS = ("/etc/systemd/networkd.conf", "/usr/lib/systemd/networkd.conf.d/*.conf", "/etc/systemd/networkd.conf.d/*.conf")


def networkd_deletes_rules() -> bool:
    """Whether networkd manages this node's links and was not told to leave foreign policy rules alone."""
    if not os.path.isdir("/run/systemd/netif/links"):
        return False
    paths = [path for pattern in NETWORKD_CONFIGS for path in sorted(glob.glob(pattern))]
    return not node_facts.networkd_keeps_foreign_rules(host.read_text(path) or "" for path in paths)


def collect(cni_config_dir: str) -> dict[str, object]:
    """The node's state as the module returns it. Raises HostError when a command fails, ValueError on unknown output."""
    names = sorted(os.listdir(cni_config_dir)) if os.path.isdir(cni_config_dir) else []
    return {
        "kernel": platform.release(),
        "bpf": os.path.exists("/proc/sys/kernel/unprivileged_bpf_disabled"),
        "btf": os.path.exists("/sys/kernel/btf/vmlinux"),
        "networkd_deletes_rules": networkd_deletes_rules(),
        "links": node_facts.parse_links(host.run(["ip", "-details", "-json", "address", "show"]).stdout),
        "routes": node_facts.routes_by_device(host.run(["ip", "-4", "route", "show"]).stdout.splitlines()),
        "udp_ports": node_facts.parse_udp_ports(host.read_text("/proc/net/udp") or "", host.read_text("/proc/net/udp6") or ""),
        "cni_files": names,
        "cni_active": node_facts.active_cni_file(names),
    }


def main() -> None:
    module = AnsibleModule(argument_spec={"cni_config_dir": {"type": "path", "default": "/etc/cni/net.d"}}, supports_check_mode=True)
    try:
        module.exit_json(changed=False, **collect(module.params["cni_config_dir"]))
    except host.HostError as error:
        host.fail(module, error)
    except ValueError as error:
        module.fail_json(msg=f"cannot read the output of 'ip -details -json address show': {error}")


if __name__ == "__main__":
    main()
