# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab, for who tests or measures on it: its playbooks, its machines and its cluster. Every command has a deadline."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from processes import ROOT, execute, tool

CONTROL_PLANE, WORKER, NODES = "k8s-ctr", "k8s-w1", ("k8s-ctr", "k8s-w1", "k8s-w2")
STEP_SECONDS = 1200
COMMAND_SECONDS = 60

MACHINE = ROOT / "roles" / "vm_provision" / "files" / "nspawn" / "machine.sh"
POWER_ON = "tests/faults/power_on.yml"


class Failed(Exception):
    """A command on the lab that did not end well; the text says which, and how."""


def playbook(path: str, *options: str, **variables: Any) -> tuple[str, ...]:
    """The command that runs a playbook of this checkout."""
    return (tool("ansible-playbook"), path, *options, *(("--extra-vars", json.dumps(variables)) if variables else ()))


# What brings the lab to a cluster on Flannel, as site.yml leaves it.
RESTORES = {
    "reset": (playbook("playbooks/lab_reset.yml"),),
    "rebuild": (playbook("playbooks/lab_destroy.yml"), playbook("site.yml")),
    "rollback": (
        playbook("rollback.yml", "--limit", WORKER),
        playbook("tests/bench/runbook/watch.yml", bench_step="stop", bench_folder=""),  # a run that failed leaves its monitor
    ),
}
"""By name: from a snapshot, from nothing, or, where only the first worker was moved, by taking it back."""


class Lab:
    """The lab of the default inventory. What it is told by, and the logs of what is run on it, go to a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._settings: dict[str, Any] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def play(self, name: str, command: tuple[str, ...], seconds: float = STEP_SECONDS) -> None:
        """Run a command, usually a :func:`playbook`, with its output in ``<name>.log``. Raises :class:`Failed`."""
        # What such a playbook does is no part of the timeline of a migration.
        env = {"CNI_MIGRATION_TIMELINE": str(self.folder / "other-timeline.jsonl")}
        status, began, ended = execute(command, self.folder / f"{name}.log", seconds=seconds, env=env)
        if status:
            raise Failed(f"{' '.join(command[1:3])} ended with exit {status} after {ended - began:.0f} s, see {self.folder / name}.log")

    def restore(self, way: str) -> None:
        """Bring the lab back to a cluster on Flannel, and read how it is reached if that is not known yet. Raises :class:`Failed`."""
        for command in RESTORES[way]:
            self.play("restore", command)
        if not self._settings:
            self._read()

    @property
    def settings(self) -> dict[str, Any]:
        """``{kubeconfig, helm, chart, lab, values_extra}``; known once the lab was restored."""
        return self._settings

    def _read(self) -> None:
        self.play("settings", playbook("tests/lab_settings.yml", lab_settings_folder=str(self.folder)))
        self._settings = json.loads((self.folder / "settings.json").read_text(encoding="utf-8"))

    def machine_folder(self, node: str) -> Path:
        """Where the driver keeps the machine."""
        return Path(self.settings["lab"]) / "machines" / node

    def on(self, node: str, script: str) -> str:
        """Run a shell script as root on a machine, by SSH; what it printed. Raises :class:`Failed`."""
        return self._run(("ssh", "-F", str(self.folder / "ssh_config"), node, "sh", "-eu", "-s"), script)

    def kubectl(self, *arguments: str, given: str = "") -> str:
        """Run kubectl; what it printed. Raises :class:`Failed`."""
        program = Path(self.settings["helm"]).parent / "kubectl"
        return self._run((str(program), "--kubeconfig", self.settings["kubeconfig"], "--request-timeout", "20s", *arguments), given)

    def power_off(self, node: str) -> None:
        """End the machine as a power cut does. Raises :class:`Failed`."""
        self._run((str(MACHINE), "kill", str(self.machine_folder(node))))

    def power_on(self) -> None:
        """Start the machines that do not run, as site.yml does first, and wait until they can be reached. Raises :class:`Failed`."""
        self.play("power_on", playbook(POWER_ON))

    @staticmethod
    def _run(command: tuple[str, ...], given: str = "") -> str:
        try:
            done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False, env={**os.environ, "LC_ALL": "C"})
        except subprocess.TimeoutExpired as exc:
            raise Failed(f"{' '.join(command)} did not end within {COMMAND_SECONDS} s") from exc
        if done.returncode:
            raise Failed(f"{' '.join(command)} ended with exit {done.returncode}: {done.stderr.strip()[-500:]}")
        return done.stdout
