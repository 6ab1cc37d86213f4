# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is the same in the documentation of every module that talks to the API server."""

from __future__ import annotations


class ModuleDocFragment:
    """The options and requirements that :mod:`cluster_module` takes care of."""

    DOCUMENTATION = r"""
options:
  kubeconfig:
    description: Path of the kubeconfig file on the controller. Its current context is used.
    type: path
    default: ~/.kube/config
requirements:
  - kubernetes >= 24.2.0 (Python, on the controller)
"""
