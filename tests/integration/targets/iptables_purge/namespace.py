# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network namespace of its own for each test, and the module run in it as Ansible runs it: a process fed with JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

COLLECTION = Path(__file__).resolve().parents[4]
COLLECTIONS = COLLECTION.parents[2] if COLLECTION.parent.name == "netops" else COLLECTION / ".ansible" / "collections"
PROGRAMS = {"ipv4": "iptables", "ipv6": "ip6tables"}


class Namespace:
    """A network namespace; a context manager that removes it."""

    def __init__(self) -> None:
        self.name = f"cnim-purge-{uuid.uuid4().hex[:8]}"

    def __enter__(self) -> Namespace:
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        return self

    def __exit__(self, *_exc: object) -> None:
        subprocess.run(["ip", "netns", "del", self.name], check=True)

    def run(self, *argv: str, stdin: str | None = None, check: bool = True, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program inside."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.name, *argv], input=stdin, capture_output=True, text=True, check=False, env={**os.environ, **(env or {})}
        )
        assert not check or done.returncode == 0, f"{argv}: {done.stderr}"
        return done

    def restore(self, backend: str, family: str, text: str, *options: str) -> None:
        """Load rules with their counters."""
        self.run(f"{PROGRAMS[family]}-{backend}-restore", "-c", *options, stdin=text)

    def save(self, backend: str, family: str) -> str:
        """All tables with counters, without the lines that carry the time."""
        output = self.run(f"{PROGRAMS[family]}-{backend}-save", "-c").stdout
        return "".join(line for line in output.splitlines(keepends=True) if not line.startswith("#"))

    def module(self, name: str, *, check: bool = False, diff: bool = False, env: dict[str, str] | None = None, **options: object) -> dict:
        """Run a module of this collection and return its result; ``failed`` is always there."""
        done = self.run(*self.module_argv(name), stdin=self.arguments(check, diff, **options), check=False, env={**self.module_env(), **(env or {})})
        assert done.stdout.strip().startswith("{"), f"{done.stdout}\n{done.stderr}"
        return {"failed": False, **json.loads(done.stdout)}

    @staticmethod
    def module_argv(name: str) -> list[str]:
        """The process a module of this collection runs in."""
        return [sys.executable, "-m", f"ansible_collections.netops.cni_migration.plugins.modules.{name}"]

    @staticmethod
    def module_env() -> dict[str, str]:
        """The environment that process needs."""
        return {"PYTHONPATH": str(COLLECTIONS)}

    @staticmethod
    def arguments(check: bool = False, diff: bool = False, **options: object) -> str:
        """Standard input of that process."""
        return json.dumps({"ANSIBLE_MODULE_ARGS": {**options, "_ansible_check_mode": check, "_ansible_diff": diff, "_ansible_remote_tmp": "/tmp"}})
