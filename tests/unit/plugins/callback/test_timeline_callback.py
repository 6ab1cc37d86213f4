# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback under a real ansible-playbook: a collection of the same name, with the real plugins and a role that only plays the migration."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[4]

CONFIG = """\
[defaults]
inventory = hosts.yml
collections_path = collections
callbacks_enabled = netops.cni_migration.timeline
"""

HOSTS = """\
all:
  hosts: {w1: , w2: }
  vars: {ansible_connection: local, ansible_python_interpreter: "{{ ansible_playbook_python }}"}
"""

PLAYBOOK = """\
- name: A play
  hosts: all
  gather_facts: false
  tasks:
    - name: Something of nobody's
      ansible.builtin.debug:
    - name: Take the step
      ansible.builtin.import_role:
        name: netops.cni_migration.cilium_migration
"""

# The modules that tell of the cluster are stood in for by files of the same name.
ROLE = """\
- name: preflight | Look
  ansible.builtin.debug:
- name: prepare | Read where the cluster stands
  netops.cni_migration.cni_migration_info:
  delegate_to: localhost
  run_once: true
- name: prepare | Count
  netops.cni_migration.disruption_info:
  delegate_to: localhost
  run_once: true
- name: prepare | Change something
  ansible.builtin.command:
    argv: [echo, hush-hush]
  changed_when: changes | default(true) | bool
- name: move_node | Skip this
  ansible.builtin.reboot:
  when: false
- name: move_node | Fail at this
  ansible.builtin.command:
    argv: ["false"]
  ignore_errors: true
  when: inventory_hostname == 'w1'
- name: evidence | File it
  ansible.builtin.command:
    argv: ["true"]
- name: prepare | Come too late
  ansible.builtin.debug:
"""

STAND_IN = """\
#!/usr/bin/python
from ansible.module_utils.basic import AnsibleModule
AnsibleModule({{}}, supports_check_mode=True).exit_json(**{answer})
"""

ANSWERS: dict[str, dict[str, Any]] = {
    "cni_migration_info": {"nodes": [{"name": "w1", "state": "migrated"}, {"name": "w2", "state": "flannel"}], "evidence": {"verdict": "partial"}},
    "disruption_info": {"requests": 48210, "failed": 0, "by_path": {"pod/pod-other/new/cilium>cilium": {"failed": 0}}},
}


def make_tree(tmp_path: Path) -> Path:
    """A folder to run ansible-playbook in."""
    collection = tmp_path / "collections" / "ansible_collections" / "netops" / "cni_migration"
    (collection / "roles" / "cilium_migration" / "tasks").mkdir(parents=True)
    (collection / "roles" / "cilium_migration" / "tasks" / "main.yml").write_text(ROLE)
    (collection / "plugins" / "modules").mkdir(parents=True)
    for name in ("callback", "module_utils"):
        (collection / "plugins" / name).symlink_to(ROOT / "plugins" / name)
    for name, answer in ANSWERS.items():
        (collection / "plugins" / "modules" / f"{name}.py").write_text(STAND_IN.format(answer=answer))
    (tmp_path / "ansible.cfg").write_text(CONFIG)
    (tmp_path / "hosts.yml").write_text(HOSTS)
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    return tmp_path


def play(tree: Path, *arguments: str, **environment: str) -> SimpleNamespace:
    """Run the playbook; its output and the records it left."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    env.update(ANSIBLE_LOCAL_TEMP=str(tree / "tmp"), ANSIBLE_HOME=str(tree / "home"), ANSIBLE_LOCALHOST_WARNING="false", PWD=str(tree))
    env.update(environment)
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "play.yml", *arguments]
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    path = tree / "evidence" / "unfinished" / "timeline.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return SimpleNamespace(output=done.stdout, errors=done.stderr, records=records, shown=[line for line in done.stdout.splitlines() if line.startswith("[0:")])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of the test's own."""
    return make_tree(tmp_path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[SimpleNamespace, SimpleNamespace]:
    """Two runs, one after the other."""
    tree = make_tree(tmp_path_factory.mktemp("tree"))
    return play(tree), play(tree)


def test_each_task_of_the_role_is_a_line_for_each_host_and_the_rest_is_not(runs: tuple[SimpleNamespace, SimpleNamespace]) -> None:
    told = runs[0]
    seen = sorted((record["task"], record["host"], record["status"]) for record in told.records)
    assert seen == [
        ("move_node | Fail at this", "w1", "failed"),
        ("move_node | Fail at this", "w2", "skipped"),
        ("move_node | Skip this", "w1", "skipped"),
        ("move_node | Skip this", "w2", "skipped"),
        ("preflight | Look", "w1", "ok"),
        ("preflight | Look", "w2", "ok"),
        ("prepare | Change something", "w1", "changed"),
        ("prepare | Change something", "w2", "changed"),
        ("prepare | Count", "w1", "ok"),
        ("prepare | Read where the cluster stands", "w1", "ok"),
    ]
    by_task = {record["task"]: record for record in told.records}
    read, changed = by_task["prepare | Read where the cluster stands"], by_task["prepare | Change something"]
    assert (read["delegate"], read["phase"], read["action"]) == ("localhost", "prepare", "netops.cni_migration.cni_migration_info")
    assert (changed["delegate"], changed["play"]) == (None, "A play")
    assert 0 < changed["work"] < changed["end"] - changed["start"]
    assert read["end"] <= changed["start"]
    assert "hush" not in json.dumps(told.records), "no argument and no result is in it"


def test_a_second_run_appends_and_is_told_apart(runs: tuple[SimpleNamespace, SimpleNamespace]) -> None:
    first, both = (run.records for run in runs)
    assert both[: len(first)] == first
    assert len({record["run"] for record in both}) == 2


def test_the_terminal_shows_a_line_at_each_change_of_phase(runs: tuple[SimpleNamespace, SimpleNamespace]) -> None:
    shown = [line.split("] ")[1] for line in runs[0].shown]
    assert shown[:2] == ["cluster: preflight", "cluster: prepare"]
    assert shown[2].startswith("w1: reboot | 1 of 2 nodes moved | 48,210 requests, 0 failed | about ")
    assert shown[-1] == "end | 1 of 2 nodes moved | 48,210 requests, 0 failed"


def test_another_standard_output_is_left_alone(tree: Path) -> None:
    told = play(tree, ANSIBLE_STDOUT_CALLBACK="ansible.builtin.minimal")
    assert (told.shown, len(told.records)) == ([], 10)


def test_check_mode_leaves_nothing(tree: Path) -> None:
    assert play(tree, "--check").shown == []
    assert not (tree / "evidence").exists()


def test_a_run_that_changes_nothing_leaves_nothing(tree: Path) -> None:
    role = tree / "collections" / "ansible_collections" / "netops" / "cni_migration" / "roles" / "cilium_migration" / "tasks" / "main.yml"
    role.write_text(ROLE.partition("- name: move_node | Fail")[0])
    play(tree, "--extra-vars", "changes=false")
    assert not (tree / "evidence").exists()


def test_a_file_that_cannot_be_written_is_said_once_and_stops_nothing(tree: Path) -> None:
    (tree / "file").write_text("")
    told = play(tree, CNI_MIGRATION_TIMELINE=str(tree / "file" / "timeline.jsonl"))
    assert (told.output + told.errors).count("the timeline is not recorded any more") == 1


def test_the_timeline_lies_where_the_evidence_does_whatever_the_working_folder_is(tree: Path) -> None:
    play(tree, PWD=str(tree / "started"))
    assert (tree / "started" / "evidence" / "unfinished" / "timeline.jsonl").exists()
