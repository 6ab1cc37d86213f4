#!/usr/bin/python
# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: service_rules_info
short_description: Read the iptables rules kube-proxy made for a Service
version_added: "1.0.0"
author:
  - netops.cni_migration authors (@netops)
description:
  - Follows a Service through the nat table of the node this runs on, from its cluster IP over its C(KUBE-SVC) chain
    to the C(KUBE-SEP) chain of each endpoint, and works out the share of the connections each endpoint gets.
  - Reads only. Both backends of iptables are looked at; the legacy one only if its nat table exists already, since
    merely listing it would create it.
requirements:
  - iptables on the node
attributes:
  check_mode:
    description: Can run in C(check_mode) and return what it would without it.
    support: full
  diff_mode:
    description: Nothing is changed, so there is nothing to show.
    support: none
options:
  service:
    description: Name of the Service.
    type: str
    required: true
  namespace:
    description: Namespace of the Service.
    type: str
    default: default
"""

EXAMPLES = r"""
- name: Follow the Service webpod through this node's rules
  netops.cni_migration.service_rules_info:
    service: webpod
  register: webpod_rules

- name: Show where its connections go
  ansible.builtin.debug:
    msg: "{{ webpod_rules.ports[0].endpoints }}"
"""

RETURN = r"""
backend:
  description: The iptables backend that holds the rules. Null when neither knows the Service.
  returned: success
  type: str
  sample: nft
ports:
  description: One entry for each port of the Service. Empty when no rule is about it.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Namespace, Service and, where it has one, the port's name.
      type: str
      sample: default/webpod
    protocol:
      description: Protocol of the port.
      type: str
      sample: tcp
    cluster_ip:
      description: Address of the Service.
      type: str
      sample: 10.96.46.189
    port:
      description: Port of the Service.
      type: int
      sample: 80
    chain:
      description: Chain of this Service port.
      type: str
      sample: KUBE-SVC-CNZCPOCNCNOROALA
    endpoints:
      description: Where its connections go, in the order the rules try.
      type: list
      elements: dict
      contains:
        chain:
          description: Chain of the endpoint.
          type: str
          sample: KUBE-SEP-PQBQBGZJJ5FKN3TB
        destination:
          description: Address and port of the endpoint.
          type: str
          sample: 10.244.1.2:80
        share:
          description: Share of all new connections, from 0 to 1.
          type: float
          sample: 0.5
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.netops.cni_migration.plugins.module_utils import host
from ansible_collections.netops.cni_migration.plugins.module_utils.service_rules import RulesError, ServicePort, service_ports

LEGACY_TABLES = "/proc/net/ip_tables_names"


def backends() -> list[str]:
    """The iptables backends that can be read without creating anything."""
    legacy_tables = (host.read_text(LEGACY_TABLES) or "").split()
    return ["nft", "legacy"] if "nat" in legacy_tables else ["nft"]


def read_ports(namespace: str, service: str) -> tuple[str | None, list[ServicePort]]:
    """The Service's ports and the backend that holds them: the first one that knows the Service."""
    for backend in backends():
        nat_table = host.run([f"iptables-{backend}-save", "-t", "nat"]).stdout
        ports = service_ports(nat_table, namespace, service)
        if ports:
            return backend, ports
    return None, []


def main() -> None:
    module = AnsibleModule(
        argument_spec={"service": {"type": "str", "required": True}, "namespace": {"type": "str", "default": "default"}},
        supports_check_mode=True,
    )
    try:
        backend, ports = read_ports(module.params["namespace"], module.params["service"])
    except host.HostError as error:
        host.fail(module, error)
    except RulesError as error:
        module.fail_json(msg=f"iptables-save wrote something that cannot be understood: {error}")
    module.exit_json(changed=False, backend=backend, ports=[asdict(port) for port in ports])


if __name__ == "__main__":
    main()
