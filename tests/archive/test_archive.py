# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as its users get it: the archive, and what is installed from it, away from the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAME = "netops.cni_migration"
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
DOCUMENTED = {"module": "plugins/modules/*.py", "inventory": "plugins/inventory/*.py", "callback": "plugins/callback/*.py", "role": "roles/*"}

# What git has and a user has no use for.
LEFT_OUT = {".ci/run", "galaxy.yml"}
MADE_BY_THE_BUILD = {"FILES.json", "MANIFEST.json"}
# It says so of every ignore file. Which lines ours may have is for review, and ansible-test refuses those that it does not need.
IGNORE_FILES = "WARNING: Ignore files skip ansible-test sanity tests"


@dataclass(frozen=True)
class User:
    """Somebody with a home, a working folder and Ansible, who has never seen the checkout."""

    folder: Path

    @property
    def collection(self) -> Path:
        """Where the collection is installed."""
        return self.folder / "collections" / "ansible_collections" / "netops" / "cni_migration"

    def run(self, *command: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the command, which has to succeed. The collections that this one needs are those that the package `ansible` brings."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        env.update(
            ANSIBLE_COLLECTIONS_PATH=str(self.folder / "collections"),
            HOME=str(self.folder),
            PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            NO_COLOR="1",
            **environment,
        )
        done = subprocess.run(command, cwd=cwd or self.folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done


def in_git() -> set[str]:
    """What git has, or would take."""
    command = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {name for name in listed.split("\0") if name and (ROOT / name).exists()}


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> User:
    """A user with an empty folder."""
    return User(tmp_path_factory.mktemp("user"))


@pytest.fixture(scope="module")
def archive(user: User) -> Path:
    """The archive, built from the checkout."""
    user.run("ansible-galaxy", "collection", "build", "--output-path", str(user.folder), cwd=ROOT)
    (path,) = user.folder.glob("netops-cni_migration-*.tar.gz")
    return path


@pytest.fixture(scope="module")
def installed(user: User, archive: Path) -> User:
    """The user with nothing but the archive installed."""
    user.run("ansible-galaxy", "collection", "install", "--no-deps", "--offline", "--collections-path", str(user.folder / "collections"), str(archive))
    return user


def test_the_archive_has_what_git_has_and_nothing_besides(installed: User) -> None:
    folder = installed.collection
    has = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir() or not any(path.iterdir())}
    assert has == in_git() - LEFT_OUT | MADE_BY_THE_BUILD


def test_programs_in_the_archive_can_be_run(installed: User) -> None:
    names = in_git() - LEFT_OUT
    assert {name for name in names if os.access(installed.collection / name, os.X_OK)} == {name for name in names if os.access(ROOT / name, os.X_OK)}


def test_galaxy_takes_the_archive_without_complaint(user: User, archive: Path) -> None:
    # Its ansible-lint is looser than ours, which sees the same files.
    said = user.run(sys.executable, "-m", "galaxy_importer.main", str(archive), GALAXY_IMPORTER_RUN_ANSIBLE_LINT="false").stdout
    complaints = [line for line in said.splitlines() if line.startswith(("WARNING", "ERROR", "CRITICAL"))]
    assert [line for line in complaints if not line.startswith(IGNORE_FILES)] == []


@pytest.mark.parametrize("kind", DOCUMENTED)
def test_every_page_of_the_documentation_is_rendered_without_a_warning(installed: User, kind: str) -> None:
    listed = installed.run("ansible-doc", "--type", kind, "--list", "--json", NAME)
    names = sorted(json.loads(listed.stdout))
    assert names == sorted(f"{NAME}.{path.stem}" for path in ROOT.glob(DOCUMENTED[kind]))
    rendered = installed.run("ansible-doc", "--type", kind, *names)
    assert listed.stderr + rendered.stderr == ""


@pytest.mark.parametrize("option", ["--syntax-check", "--list-tasks"])
@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_a_playbook_is_found_by_its_full_name(installed: User, playbook: str, option: str) -> None:
    inventory = installed.collection / "inventories" / ("lab" if playbook == "site" or playbook.startswith("lab_") else "example") / "hosts.yml"
    done = installed.run("ansible-playbook", "--inventory", str(inventory), option, f"{NAME}.{playbook}")
    assert done.stderr == ""


def test_a_module_runs(installed: User) -> None:
    interpreter = f"ansible_python_interpreter={sys.executable}"
    done = installed.run("ansible", "--inventory", "localhost,", "--connection", "local", "-e", interpreter, "-m", f"{NAME}.cni_node_info", "localhost")
    assert '"kernel"' in done.stdout
    assert done.stderr == ""
