# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads every network policy of a cluster; :mod:`network_policies` says what follows from them."""

from __future__ import annotations

from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_reader import ClusterReader
from ansible_collections.netops.cni_migration.plugins.module_utils.network_policies import KINDS


def read_policies(api: ClusterReader) -> dict[str, list[dict[str, Any]]]:
    """The policies by the name of their kind, none for a kind that the API server does not know. Raises ClusterError."""
    return {kind.name: api.list_kind(kind.group, kind.version, kind.plural) for kind in KINDS}
