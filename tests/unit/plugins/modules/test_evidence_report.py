# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""evidence_report as a process of its own, on folders as the role writes them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils.host import HostError
from ansible_collections.netops.cni_migration.plugins.modules import evidence_report

MODULE = "ansible_collections.netops.cni_migration.plugins.modules.evidence_report"
COLLECTIONS = Path(evidence_report.__file__).parents[5]

SUMMARY = {"schema": 1, "started": "2026-01-17T09:30:12Z", "finished": "2026-01-17T09:37:21Z", "seconds": 429.0, "verdict": "migrated"}
NODE: dict[str, Any] = {"name": "w1", "state": "migrated", "times": {}, "before": {}, "after": {"pods": {}}, "decisions": []}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An evidence folder with the least there is."""
    path = tmp_path / "evidence"
    (path / "nodes").mkdir(parents=True)
    (path / "summary.json").write_text(json.dumps(SUMMARY))
    (path / "nodes" / "w1.json").write_text(json.dumps(NODE))
    return path


def call(folder: Path, *, check: bool = False, first_on_path: str = "") -> dict[str, Any]:
    """Run the module; its answer."""
    arguments = {"ANSIBLE_MODULE_ARGS": {"path": str(folder), "_ansible_check_mode": check, "_ansible_remote_tmp": str(folder.parent)}}
    path = os.pathsep.join(filter(None, (first_on_path, str(COLLECTIONS))))
    command = [sys.executable, "-m", MODULE]
    done = subprocess.run(command, input=json.dumps(arguments), capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, check=False)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_it_writes_once_and_only_what_is_new(folder: Path) -> None:
    report = folder / "report.html"
    assert (call(folder, check=True)["changed"], report.exists()) == (True, False)
    first = call(folder)
    assert (first["changed"], first["report"], first["verdict"]) == (True, str(report), "Migrated. Lost requests were not measured.")
    assert report.stat().st_mode & 0o777 == 0o644
    written = report.stat().st_mtime_ns
    assert (call(folder)["changed"], report.stat().st_mtime_ns) == (False, written)
    (folder / "summary.json").write_text(json.dumps({**SUMMARY, "verdict": "residue"}))
    assert call(folder)["changed"] is True


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("summary.json", None, "is not an evidence folder: there is no summary.json in it"),
        ("summary.json", "{", "summary.json is not JSON"),
        ("summary.json", '{"verdict": "migrated"}', "is not as this version writes it: KeyError('started')"),
        ("summary.json", "[]", "is not as this version writes it"),
        ("nodes/w1.json", "nonsense", "w1.json is not JSON"),
        ("nodes/w1.json", "{}", "is not as this version writes it"),
        ("disruption.json", '{"requests": 1}', "is not as this version writes it: KeyError('failed')"),
    ],
)
def test_what_it_cannot_read_it_names_and_writes_nothing(folder: Path, name: str, text: str | None, says: str) -> None:
    path = folder / name
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    with pytest.raises(HostError) as refusal:
        evidence_report.ensure(str(folder), False)
    assert says in str(refusal.value)
    assert not (folder / "report.html").exists()


def test_without_plotly_it_says_what_to_install(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent" / "plotly.py").write_text("raise ImportError('no plotly')")
    answer = call(folder, first_on_path=str(tmp_path / "absent"))
    assert answer["failed"] is True
    assert "Python library (plotly)" in answer["msg"]
