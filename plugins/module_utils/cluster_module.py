# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is the same in every module that talks to the API server. Documented by the fragment ``cluster``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.netops.cni_migration.plugins.module_utils import cluster

OPTIONS = {"kubeconfig": {"type": "path", "default": "~/.kube/config"}}


def cluster_module(options: Mapping[str, Any]) -> AnsibleModule:
    """The module with ``options`` and those of a cluster. It fails here when the library is missing."""
    module = AnsibleModule(argument_spec={**OPTIONS, **options}, supports_check_mode=True)
    if not cluster.HAS_KUBERNETES:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=cluster.KUBERNETES_IMPORT_ERROR)
    return module


@contextmanager
def failures_told(module: AnsibleModule, *expected: type[Exception]) -> Iterator[None]:
    """Let the module fail with the words of a :class:`cluster.ClusterError`, which brings its facts along, or of an ``expected`` error."""
    try:
        yield
    except cluster.ClusterError as error:
        module.fail_json(msg=str(error), **error.facts)
    except expected as error:
        module.fail_json(msg=str(error))
