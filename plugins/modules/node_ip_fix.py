#!/usr/bin/python
# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_ip_fix
short_description: Put the right node IP into the kubelet's flags
version_added: "1.0.0"
author:
  - netops.cni_migration authors (@netops)
description:
  - Picks one IPv4 address of the node and makes it the only C(--node-ip) in the variable C(KUBELET_KUBEADM_ARGS) of the file that
    kubeadm wrote for the kubelet, whatever stands there already.
  - A right C(--node-ip) is left as it is written. A wrong one is replaced where it stands. Of several the last one stays, because the
    kubelet obeys the last. Without one it becomes the first argument. Every other argument, variable, comment and line keeps its bytes.
  - In a dual-stack pair only the IPv4 member is replaced, and the order of the families is kept. A lone IPv6 address is kept as the
    first of a pair. An unspecified IPv6 address (C(::)) is dropped, because the kubelet refuses it in a pair.
  - The module does not restart the kubelet. It tells with RV(ignore:restart_required) whether somebody must.
options:
  interface:
    description:
      - The network interface whose address is the node IP.
      - Having several usable addresses is an error that lists them. Use O(subnet) or O(address) then.
    type: str
  subnet:
    description:
      - An IPv4 network in CIDR notation. The node IP is the one address of this host inside it, on any interface.
    type: str
  address:
    description:
      - The IPv4 address itself. It must be on an interface of this host.
    type: str
  flags_file:
    description:
      - The environment file with the kubelet's flags. A symbolic link is followed.
    type: path
    default: /var/lib/kubelet/kubeadm-flags.env
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
    support: full
  platform:
    description: Target operating system that can be operated against.
    support: full
    platforms: linux
requirements:
  - C(ip) of iproute2 with JSON output on the node
notes:
  - Usable addresses are those of scope global that are neither link-local nor deprecated. Secondary addresses count, because a virtual
    IP, for example of keepalived, cannot be told from an address that is meant.
  - The file is read as systemd reads an C(EnvironmentFile). Where the variable is assigned twice, only the last assignment counts and
    is edited. A file that cannot be read without guessing is an error, and nothing is written.
  - The file is replaced in one step and keeps its mode and owner. It is read again and compared afterwards.
  - A C(--node-ip) in C(KUBELET_EXTRA_ARGS) (C(/etc/default/kubelet)) comes later on the kubelet's command line and wins. The module
    warns when the running kubelet shows one.
seealso:
  - name: Kubelet command line
    description: What C(--node-ip) means to the kubelet.
    link: https://kubernetes.io/docs/reference/command-line-tools-reference/kubelet/
  - name: Configuring each kubelet in your cluster using kubeadm
    description: Where the flags file comes from and who reads it.
    link: https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/kubelet-integration/
"""

EXAMPLES = r"""
- name: Use the address of the second network card
  netops.cni_migration.node_ip_fix:
    interface: eth1
  register: node_ip
  notify: Restart kubelet

# Notifying a handler is not enough: a run that was stopped after the file was written finds it unchanged the next time.
- name: Restart the kubelet when it does not run with that address yet
  ansible.builtin.systemd_service:
    name: kubelet
    state: restarted
  when: node_ip.restart_required

- name: Use the one address inside the cluster's network, whatever the interface is called
  netops.cni_migration.node_ip_fix:
    subnet: 192.168.10.0/24

- name: Use the address that the inventory knows, if the host really has it
  netops.cni_migration.node_ip_fix:
    address: "{{ ansible_host }}"
"""

RETURN = r"""
node_ip:
  description: The IPv4 address that was picked.
  type: str
  returned: success
  sample: 192.168.10.101
previous:
  description:
    - The values of every C(--node-ip) that stood in the file, in their order, as they were written. Empty when there was none.
    - A flag without a value counts as an empty string.
  type: list
  elements: str
  returned: success
  sample:
    - 10.0.2.15
restart_required:
  description:
    - Whether the kubelet has to be restarted before the node IP counts. True when the file was changed (in check mode would be
      changed), and also when it was right but a running kubelet was started without that C(--node-ip), for example because an
      earlier run was stopped before the restart.
    - With no kubelet running and the file right it is false, because the next start of the kubelet reads the file anyway.
  type: bool
  returned: success
  sample: true
backup_file:
  description: The copy (mode 0600) of the file as it was, beside it. Null when nothing was written.
  type: str
  returned: success
  sample: /var/lib/kubelet/kubeadm-flags.env.20260117T093012.482915Z.bak
"""

import os
import stat
from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.netops.cni_migration.plugins.module_utils.host import HostError, fail, read_text, run, write_atomic
from ansible_collections.netops.cni_migration.plugins.module_utils.node_ip import Plan, choose_address, node_ip_values, parse_addresses, plan

DEFAULT_FLAGS_FILE = "/var/lib/kubelet/kubeadm-flags.env"


def read_flags(path: str) -> str:
    """The text of the flags file; its absence is an error that says what to do."""
    text = read_text(path)
    if text is None:
        raise HostError(f"{path} does not exist: kubeadm writes it, so run kubeadm init or kubeadm join on this node first, or set flags_file", path=path)
    return text


def make_plan(path: str, text: str, address: str) -> Plan:
    """Plan the file's new text; errors name the file."""
    try:
        return plan(text, address)
    except HostError as exc:
        raise HostError(f"{path}: {exc}; nothing was written", path=path) from exc


def replace_flags(path: str, before: str, after: str) -> str:
    """Back up ``before``, write ``after``, and prove that it is what a reader finds. Returns the backup's path."""
    moment = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
    backup_file = f"{path}.{moment}.bak"
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except OSError as exc:
        raise HostError(f"cannot read the mode of {path}: {exc.strerror}", path=path) from exc
    write_atomic(backup_file, before, 0o600)
    write_atomic(path, after, mode)
    if read_flags(path) != after:
        raise HostError(f"{path} does not hold what was just written: something else writes it too; its former text is in {backup_file}", path=path)
    return backup_file


def running_kubelets(proc: str = "/proc") -> list[list[str]]:
    """The argument vectors of the kubelets that run on this host itself.

    A process in a PID namespace below this one (several numbers in ``NSpid`` of its status, see proc(5)) belongs to a
    container or a nested machine and is none of the node's. A process that ends meanwhile is not one either.
    """
    found = []
    for pid in filter(str.isdigit, os.listdir(proc)):
        try:
            arguments = (read_text(f"{proc}/{pid}/cmdline") or "").split("\0")[:-1]
            if not arguments or os.path.basename(arguments[0]) != "kubelet":
                continue
            status = read_text(f"{proc}/{pid}/status") or ""
        except HostError:
            continue
        nested = any(line.startswith("NSpid:") and len(line.split()) > 2 for line in status.splitlines())
        if status and not nested:
            found.append(arguments)
    return found


def ensure(module: AnsibleModule) -> dict[str, Any]:
    """Bring the flags file to the chosen node IP and return the module's result."""
    path = os.path.realpath(module.params["flags_file"])
    before = read_flags(path)
    addresses = parse_addresses(run(["ip", "-j", "-4", "addr", "show"]).stdout)
    node_ip = choose_address(addresses, **{name: module.params[name] for name in ("interface", "subnet", "address")})
    planned = make_plan(path, before, node_ip)

    changed = planned.text != before
    backup_file = replace_flags(path, before, planned.text) if changed and not module.check_mode else None

    started_with = [node_ip_values(arguments) for arguments in running_kubelets()]
    for values in started_with:
        if planned.wanted in values[:-1] and values[-1] != planned.wanted:
            module.warn(f"the running kubelet obeys a later --node-ip={values[-1]}; remove that from KUBELET_EXTRA_ARGS (/etc/default/kubelet)")
    result: dict[str, Any] = {
        "changed": changed,
        "node_ip": node_ip,
        "previous": list(planned.previous),
        "restart_required": changed or any(planned.wanted not in values for values in started_with),
        "backup_file": backup_file,
    }
    if module._diff:
        result["diff"] = {"before_header": path, "after_header": path, "before": before, "after": planned.text}
    return result


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "interface": {"type": "str"},
            "subnet": {"type": "str"},
            "address": {"type": "str"},
            "flags_file": {"type": "path", "default": DEFAULT_FLAGS_FILE},
        },
        mutually_exclusive=[("interface", "subnet", "address")],
        required_one_of=[("interface", "subnet", "address")],
        supports_check_mode=True,
    )
    try:
        result = ensure(module)
    except HostError as exc:
        fail(module, exc)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
