#!/usr/bin/python
# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cni_node_info
short_description: Read what a CNI migration has to know of a node
version_added: "1.0.0"
description:
  - Reads what a CNI migration has to know of a node, such as its links, routes, ports in use, CNI files, kernel, packet filter, file systems
    and services.
  - Changes nothing.
notes:
  - Needs root, and C(ip) of iproute2.
author:
  - netops.cni_migration authors (@netops)
extends_documentation_fragment:
  - netops.cni_migration.reading
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
kernel_lacks:
  description: The kernel options that Cilium needs and the kernel was built without, V(null) when its configuration cannot be read.
  returned: always
  type: list
  elements: str
  sample: []
kubelet:
  description: The state of the kubelet's unit in systemd's words, empty without systemd.
  returned: always
  type: str
  sample: active
kubelet_version:
  description: The kubelet's version, empty where there is none on the path.
  returned: always
  type: str
  sample: v1.33.2
networkd_deletes:
  description: What of others systemd-networkd is configured to delete, V(routes) and V(rules). Empty where it does not run.
  returned: always
  type: list
  elements: str
  sample: []
rp_filter:
  description: The kernel's reverse path filter for all links, V(0) off, V(1) strict, V(2) loose.
  returned: always
  type: int
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
      description: The network identifier, of a VXLAN or Geneve tunnel only. It is V(null) where each packet has its own.
      type: int
    port:
      description: The UDP port, of a VXLAN or Geneve tunnel only.
      type: int
  sample:
    - {name: flannel.1, kind: vxlan, mtu: 1450, addresses: [10.244.1.0/32], vni: 1, port: 8472}
devices:
  description: The names of the links that Cilium should have as its C(devices), which are those it would choose by itself but for Flannel's.
  returned: always
  type: list
  elements: str
  sample: [eth0, eth1]
routes:
  description: The number of IPv4 routes of the main table, by device.
  returned: always
  type: dict
  sample: {cni0: 1, eth0: 1, eth1: 1, flannel.1: 2}
routed_networks:
  description: The IPv4 networks that the main table has routes to.
  returned: always
  type: list
  elements: dict
  contains:
    network:
      description: The network.
      type: str
    device:
      description: The link that the route leads out of.
      type: str
  sample:
    - {network: 10.244.1.0/24, device: cni0}
udp_ports:
  description: The bound local UDP ports.
  returned: always
  type: list
  elements: int
  sample: [8472]
tcp_listeners:
  description: The local TCP ports that are listened on.
  returned: always
  type: list
  elements: dict
  contains:
    port:
      description: The port.
      type: int
    process:
      description: The name of the process that listens, with its ID. Empty where none does, but the kernel itself.
      type: str
  sample:
    - {port: 22, process: sshd (612)}
    - {port: 10250, process: kubelet (1024)}
iptables:
  description: By backend, V(nft) and V(legacy), the iptables tables that hold rules, and how many. V(null) is a number that was not counted.
  returned: always
  type: dict
  sample: {nft: {ipv4 filter: 21, ipv4 nat: null}, legacy: {}}
filesystems:
  description: The file systems that the kubelet watches.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The kubelet's name for it, V(nodefs) or V(imagefs).
      type: str
    path:
      description: The folder that was looked at.
      type: str
    bytes:
      description: Its size.
      type: int
    bytes_free:
      description: What of it users may still fill.
      type: int
    inodes:
      description: The number of its inodes, V(0) where it has no fixed number.
      type: int
    inodes_free:
      description: The number of inodes that are free.
      type: int
  sample:
    - {name: imagefs, path: /var/lib/containerd, bytes: 21474836480, bytes_free: 9663676416, inodes: 1310720, inodes_free: 1190021}
eviction_thresholds:
  description: The kubelet's hard eviction thresholds for disks, by its names for them.
  returned: always
  type: dict
  sample: {nodefs.available: 10%, nodefs.inodesFree: 5%, imagefs.available: 15%, imagefs.inodesFree: 5%}
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
cni_plugins:
  description: The plugins that this file calls, by their type. Empty when it cannot be understood.
  returned: always
  type: list
  elements: str
  sample: [flannel, portmap]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.netops.cni_migration.plugins.module_utils import host, node_reader


def main() -> None:
    module = AnsibleModule(argument_spec={"cni_config_dir": {"type": "path", "default": "/etc/cni/net.d"}}, supports_check_mode=True)
    try:
        module.exit_json(changed=False, **node_reader.collect(module.params["cni_config_dir"]))
    except host.HostError as error:
        host.fail(module, error)


if __name__ == "__main__":
    main()
