# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a node's move began and ended, and what it took, kept on the Node in one annotation. Pure.

A move leads to Cilium or back. One that is interrupted keeps its first start, for so long the node was away. Each figure is written by
the patch that records the step it belongs to, or the next one, so no figure speaks of a step that was not reached.

=============  ================================================================================================
``started``    when it began, by the patch that cordons the node
``cordoned``   when the move took it out of service; absent when somebody else had cordoned it before
``earlier``    when the node was out of the network in moves before this one: pairs of ``left`` and ``finished``
``left``       when it was about to leave the network for its reboot, or, in place or on the way back, for its agent to take over or to let go
``finished``   when it was given back
``drain_s``    seconds until every pod that had to leave was gone
``reboot_s``   seconds from ``left`` until the node and its Cilium agent were Ready again after its reboot
``verify_s``   seconds until the verification pod had proved the network
=============  ================================================================================================

Moments are UTC as ``TIME_FORMAT`` has them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from ansible_collections.netops.cni_migration.plugins.module_utils.node_state import PREFIX, NodeView, Patch

TIMES = PREFIX + "times"
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def stamp(moment: float) -> str:
    """Seconds since the epoch as the annotation has them."""
    return datetime.fromtimestamp(moment, timezone.utc).strftime(TIME_FORMAT)


def epoch(text: str) -> float:
    """A stamp in seconds since the epoch. Raises :class:`ValueError`."""
    return datetime.strptime(text, TIME_FORMAT).replace(tzinfo=timezone.utc).timestamp()


def of(node: NodeView) -> dict[str, Any]:
    """What is recorded of the node's move; empty before it. Raises StateError."""
    return node.json_annotation(TIMES)


def begun(patch: Patch, node: NodeView, now: float) -> Patch:
    """The patch that cordons the node, which also begins its record; the one of an interrupted move goes on."""
    times = of(node)
    if times and "finished" not in times:
        return patch
    earlier = times.get("earlier", []) + ([[times["left"], times["finished"]]] if "left" in times else [])
    fresh = {"started": stamp(now), **({} if node.unschedulable else {"cordoned": stamp(now)}), **({"earlier": earlier} if earlier else {})}
    return _annotated(patch, fresh)


def departure(node: NodeView, now: float) -> dict[str, Any]:
    """What is to be recorded before the node leaves the network: nothing when it is not being moved, or was about to leave before."""
    return {"left": stamp(now)} if of(node) and "left" not in of(node) else {}


def arrival(node: NodeView, now: float) -> dict[str, Any]:
    """What is to be recorded when the node is given back: nothing when it was not being moved."""
    return {"finished": stamp(now)} if of(node) else {}


def reboot_seconds(node: NodeView, now: float) -> dict[str, float]:
    """How long the node has been away, when it left for a reboot."""
    left = of(node).get("left")
    return {"reboot_s": round(now - epoch(left), 1)} if left else {}


def noted(patch: Patch, node: NodeView, figures: Mapping[str, Any]) -> Patch:
    """The patch, which also adds the figures to what is recorded on ``node``."""
    return _annotated(patch, {**of(node), **figures}) if figures else patch


def _annotated(patch: Patch, times: Mapping[str, Any]) -> Patch:
    metadata = patch["metadata"]
    return {**patch, "metadata": {**metadata, "annotations": {**metadata.get("annotations", {}), TIMES: json.dumps(times)}}}
