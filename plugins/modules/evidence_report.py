#!/usr/bin/python
# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: evidence_report
short_description: Make a readable report of the evidence of a migration
version_added: "1.0.0"
author:
  - netops.cni_migration authors (@netops)
description:
  - Reads an evidence folder and writes C(report.html) into it, one file that opens offline in any browser.
  - Of the folder it needs C(summary.json) and reads C(nodes/*.json). Where there are C(disruption.json) of the disruption monitor and
    C(timeline.jsonl) of the callback P(netops.cni_migration.timeline#callback), the report tells of lost requests and of the
    course of the tasks, else it says that these were not measured.
  - The same evidence gives the same file, and a file that is right already is not written.
  - Runs on the controller.
requirements:
  - plotly (Python library) 7
attributes:
  check_mode:
    support: full
    description: Can run in check mode and tells whether the report would be written.
  diff_mode:
    support: none
    description: The report is too long to be compared line by line.
options:
  path:
    description: The evidence folder.
    type: path
    required: true
seealso:
  - plugin: netops.cni_migration.timeline
    plugin_type: callback
"""

EXAMPLES = r"""
- name: Make the report anew
  netops.cni_migration.evidence_report:
    path: evidence/20260117T093012Z
  delegate_to: localhost
"""

RETURN = r"""
report:
  description: The report's path.
  returned: success
  type: str
  sample: evidence/20260117T093012Z/report.html
verdict:
  description: Its first line.
  returned: success
  type: str
  sample: Migrated. 0 of 248,133 requests failed; longest gap 120 ms.
"""

import json
import os
import traceback
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.netops.cni_migration.plugins.module_utils import report, timeline
from ansible_collections.netops.cni_migration.plugins.module_utils.host import HostError, fail, read_text, write_atomic
from ansible_collections.netops.cni_migration.plugins.module_utils.report_model import Evidence, verdict

try:
    import plotly.io  # type: ignore[import-untyped]
    from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]
except ImportError:
    PLOTLY_IMPORT_ERROR = traceback.format_exc()
else:
    PLOTLY_IMPORT_ERROR = ""


def read_json(path: str) -> Any:
    """What is in a file, None when there is no such file."""
    text = read_text(path)
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise HostError(f"{path} is not JSON: {error}", path=path) from error


def read_evidence(folder: str) -> Evidence:
    """All there is in an evidence folder."""
    summary = read_json(os.path.join(folder, "summary.json"))
    if summary is None:
        raise HostError(f"{folder} is not an evidence folder: there is no summary.json in it", path=folder)
    nodes = os.path.join(folder, "nodes")
    try:
        names = sorted(os.listdir(nodes)) if os.path.isdir(nodes) else []
    except OSError as error:
        raise HostError(f"cannot list {nodes}: {error.strerror}", path=nodes) from error
    return Evidence(
        summary=summary,
        nodes=[read_json(os.path.join(nodes, name)) for name in names if name.endswith(".json")],
        disruption=read_json(os.path.join(folder, "disruption.json")),
        records=timeline.parse(read_text(os.path.join(folder, "timeline.jsonl")) or ""),
    )


def draw(name: str, figure: dict[str, Any]) -> str:
    """A figure as HTML, without the library, which is in the page once."""
    config = {"displaylogo": False, "displayModeBar": False, "responsive": True}
    html: str = plotly.io.to_html(figure, config=config, include_plotlyjs=False, full_html=False, div_id=f"plot-{name}")
    return html


def ensure(folder: str, check_mode: bool) -> dict[str, Any]:
    """Bring the report up to the evidence; the module's result."""
    evidence = read_evidence(folder)
    path = os.path.join(folder, "report.html")
    try:
        page = report.page(evidence, draw, get_plotlyjs())
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise HostError(f"the evidence in {folder} is not as this version writes it: {error!r}", path=folder) from error
    changed = read_text(path) != page
    if changed and not check_mode:
        write_atomic(path, page, 0o644)
    return {"changed": changed, "report": path, "verdict": verdict(evidence).sentence}


def main() -> None:
    module = AnsibleModule(argument_spec={"path": {"type": "path", "required": True}}, supports_check_mode=True)
    if PLOTLY_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("plotly", reason="to draw the report"), exception=PLOTLY_IMPORT_ERROR)
    try:
        module.exit_json(**ensure(module.params["path"], module.check_mode))
    except HostError as error:
        fail(module, error)


if __name__ == "__main__":
    main()
