# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the tests of the collection, the cheap ones first, and ends in one line ``N passed, N failed``.

Usage: ``python tests/run.py [gate|unit|integration|molecule|long]...``; without a group, all of them in that order but ``long``.

What a test prints goes to the terminal as it comes and into ``tests/output/<group>-<name>.log``. A failure does not
stop the rest. The exit status is 0 when nothing failed, 1 when something did, 130 when the run was interrupted.
The tools are taken from the folder of the Python interpreter that runs this file.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TextIO

from processes import TOOK_TOO_LONG, take_termination_for_interruption, wait

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "tests" / "output"
COLLECTION = Path("ansible_collections") / "netops" / "cni_migration"
TREE = ROOT / ".ansible" / "ansible-test" / COLLECTION
TREE_HOME = ROOT / ".ansible" / "test-home"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

# The first three need a cluster on Flannel and share one lab, `limit` last because it ends with the cluster migrated.
# `default` starts from nothing by definition, so it has a lab of its own and destroys it.
SCENARIOS_ON_A_SHARED_LAB = ("node_ip_fix", "iptables_purge", "limit")
SCENARIO_FROM_NOTHING = "default"
# What would make a run of all tests too long to wait for. `vagrant` is in none of these: it needs a hypervisor.
LONG_SCENARIOS = ("preflight", "rollback", "existing")
# One of each ansible-core that meta/runtime.yml takes beside that of requirements-dev.txt, as far as it runs on Python 3.11.
OLDER_CORES = ("2.16.19", "2.17.14", "2.18.19")
# What they and the one of requirements-dev.txt would download, see `make_tree`.
PIPS_OF_ANSIBLE_TEST = ("23.1.2", "24.2")
# Those of the tests and benchmarks that are programs of their own; what they import is checked with them.
PROGRAMS = ("tests/run.py", "tests/faults/walk.py", "tests/faults/faults.py", "tests/bench/soak/soak.py")
PLUGIN_TESTS = "tests/unit/plugins"
DESTROY_LAB = ("ansible-playbook", "playbooks/lab_destroy.yml")


@dataclass(frozen=True)
class Count:
    """How many tests one run of a tool stands for."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Count) -> Count:
        """The sum of both, field by field."""
        return Count(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)


def by_exit_status(status: int) -> Count:
    """One test, which passed when the tool exited 0."""
    return Count(passed=1) if status == 0 else Count(failed=1)


def by_exit_status_or_skipped(status: int) -> Count:
    """One test, which was skipped when its tool exited 77."""
    return Count(skipped=1) if status == 77 else by_exit_status(status)


def by_junit(folder: Path, pattern: str, status: int) -> Count:
    """The tests in pytest's JUnit files of that pattern; a run that fails without a failed test, or leaves no file, counts as one failure."""
    reports = sorted(folder.glob(pattern))
    if not reports:
        return Count(failed=1)
    total = failed = skipped = 0
    for suite in (suite for report in reports for suite in ET.parse(report).getroot().iter("testsuite")):
        total += int(suite.get("tests", 0))
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
    if status != 0 and failed == 0:
        return Count(failed=1)
    return Count(total - failed - skipped, failed, skipped)


@dataclass(frozen=True)
class Test:
    """One tool run: its commands run in turn until one fails, within ``seconds`` each. With ``lab``, it takes the lab for itself."""

    group: str
    name: str
    commands: tuple[tuple[str, ...], ...]
    seconds: int = 600
    cwd: Path = ROOT
    env: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[], None] | None = None
    count: Callable[[int], Count] = by_exit_status
    lab: bool = False

    @property
    def log(self) -> Path:
        """The file that keeps what the test printed."""
        return OUTPUT / f"{self.group}-{self.name}.log"


def link_checkout() -> None:
    """Give the checkout the path that Ansible, mypy and pytest expect of a collection."""
    link = ROOT / ".ansible" / "collections" / COLLECTION
    if not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(ROOT)


def make_tree() -> None:
    """Copy what git would commit to a real collection path: ansible-test follows no link and takes no other place.

    Its virtual environments are kept in a home of their own. There the download of pip is replaced by the copy of pip that
    Python brings along, since the one site ansible-test downloads it from is not reachable everywhere.
    """
    shutil.rmtree(TREE, ignore_errors=True)
    listing = subprocess.run(("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"), cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listing.stdout.split("\0")):
        source, target = ROOT / name, TREE / name
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    # Without a repository of its own, ansible-test would ask the checkout's, which ignores this folder.
    subprocess.run(("git", "init", "--quiet", str(TREE)), check=True)
    cache = TREE_HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in PIPS_OF_ANSIBLE_TEST:
        (cache / f"get_pip_{version.replace('.', '_')}.py").write_text("import ensurepip\n\nensurepip.bootstrap()\n", encoding="utf-8")


def pytests(group: str, name: str, folder: str, *options: str, seconds: int = 600) -> Test:
    """The tests that pytest finds in the folder, each of which counts."""
    report = OUTPUT / f"{group}-{name}.xml"
    command = ("pytest", folder, *options, "-q", f"--junitxml={report}")
    count = partial(by_junit, OUTPUT, report.name)
    return Test(group, name, (command,), seconds=seconds, prepare=lambda: report.unlink(missing_ok=True), count=count)


def sanity(group: str, name: str, folder: Path, before: tuple[tuple[str, ...], ...] = ()) -> Test:
    """The sanity tests of the ansible-test in the folder of programs, by the Python there, after the commands of ``before``."""
    env = {
        "HOME": str(TREE_HOME),
        "XDG_CONFIG_HOME": os.environ.get("XDG_CONFIG_HOME", str(Path.home() / ".config")),
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
    }
    command = (str(folder / "ansible-test"), "sanity", "--python", PYTHON, "--color", "no")
    return Test(group, name, (*before, command), seconds=900, cwd=TREE, env=env, prepare=make_tree)


def gates() -> Iterator[Test]:
    """What checks the files as they lie there, the build of the collection, and what checks it as others get to see it."""
    yield Test("gate", "yamllint", (("yamllint", "--strict", "."),))
    yield Test("gate", "ruff-check", (("ruff", "check", "."),))
    yield Test("gate", "ruff-format", (("ruff", "format", "--check", "."),))
    yield Test("gate", "reuse", (("reuse", "lint"),))
    yield Test("gate", "links", (("lychee", "--offline", "--include-fragments", "--no-progress", "--extensions", "md", "."),))
    yield Test("gate", "antsibull-changelog", (("antsibull-changelog", "lint"),))
    yield Test("gate", "mypy", (("mypy", "--package", "ansible_collections.netops.cni_migration.plugins"), ("mypy", *PROGRAMS)))
    yield Test("gate", "vagrant-validate", ((str(ROOT / "tests" / "vagrant" / "validate.sh"),),), count=by_exit_status_or_skipped)
    yield Test("gate", "ansible-lint", (("ansible-lint", "--strict", "--offline", "--profile", "production", "--nocolor"),))
    yield pytests("gate", "archive", "tests/archive")
    # A dependency that comes with the package `ansible` is unknown to it, so references to such a one cannot be forbidden.
    yield Test("gate", "antsibull-docs", (("antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs", "dependent", "."),))
    yield sanity("gate", "ansible-test-sanity", Path(sys.executable).parent)


def units() -> Iterator[Test]:
    """The unit tests, each of which counts once: those of the plugins as ansible-test runs them, a module without the controller's part of Ansible."""
    yield pytests("unit", "pytest", "tests/unit", f"--ignore={PLUGIN_TESTS}", seconds=900)
    command = ("ansible-test", "units", "--python", PYTHON, "--color", "no", f"{PLUGIN_TESTS}/")
    count = partial(by_junit, TREE / "tests" / "output" / "junit", "*-units.xml")
    yield Test("unit", "ansible-test-units", (command,), seconds=900, cwd=TREE, prepare=make_tree, count=count)


def integrations() -> Iterator[Test]:
    """The modules against the kernel of this machine, one target each: a script or a role, as ansible-test knows them."""
    targets = ROOT / "tests" / "integration" / "targets"
    env = {"ANSIBLE_ROLES_PATH": str(targets), "ANSIBLE_TEST_PYTHON_INTERPRETER": sys.executable}
    for target in sorted(path for path in targets.iterdir() if path.is_dir()):
        role = ("ansible-playbook", "tests/integration/run.yml", "--extra-vars", f"integration_target={target.name}")
        command = (str(target / "runme.sh"),) if (target / "runme.sh").exists() else role
        yield Test("integration", target.name, (command,), seconds=900, env=env)


def scenarios() -> Iterator[Test]:
    """The molecule scenarios, on a real cluster."""
    for position, name in enumerate(SCENARIOS_ON_A_SHARED_LAB):
        yield scenario("molecule", name, "--destroy", "never", before=() if position else (DESTROY_LAB,))
    yield scenario("molecule", SCENARIO_FROM_NOTHING)


def longs() -> Iterator[Test]:
    """What only runs when it is asked for: the sanity tests of other ansible-cores, and more molecule scenarios."""
    for version in OLDER_CORES:
        yield sanity_of_core(version)
    for name in LONG_SCENARIOS:
        yield scenario("long", name)


def sanity_of_core(version: str) -> Test:
    """The sanity tests of that ansible-core, from a virtual environment of its own that is kept."""
    folder = ROOT / ".ansible" / "cores" / version
    install = (str(folder / "bin" / "pip"), "install", "--quiet", f"ansible-core=={version}")
    before = ((sys.executable, "-m", "venv", str(folder)), install)
    return sanity("long", f"ansible-test-sanity-{version}", folder / "bin", before)


def scenario(group: str, name: str, *options: str, before: tuple[tuple[str, ...], ...] = ()) -> Test:
    """One molecule scenario, after the commands of ``before``.

    Molecule's notes of earlier runs are dropped: the lab they speak of may have been replaced since.
    """
    reset = ("molecule", "reset", "--scenario-name", name)
    test = ("molecule", "test", "--no-command-borders", "--scenario-name", name, *options)
    return Test(group, name, (*before, reset, test), seconds=2700, lab=True)


GROUPS: dict[str, Callable[[], Iterator[Test]]] = {
    "gate": gates,
    "unit": units,
    "integration": integrations,
    "molecule": scenarios,
    "long": longs,
}


def execute(command: tuple[str, ...], log: TextIO, *, seconds: int, cwd: Path, env: Mapping[str, str]) -> int:
    """Run the command, copying its output to the terminal and to ``log``; its exit status.

    A command that takes more than ``seconds`` is ended and has the status 124. An interruption ends it, too.
    """

    def copy(line: str) -> None:
        for stream in (sys.stdout, log):
            stream.write(line)
            stream.flush()

    def pump() -> None:
        for line in process.stdout or ():
            copy(line)

    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    copy(f"$ {' '.join(command)}\n")
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, "PATH": path, "PWD": str(cwd), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    # A thread reads, so that a process which outlives the command and holds its output open (an SSH master) holds up nobody.
    reader = threading.Thread(target=pump, daemon=True)
    reader.start()
    try:
        status = wait(process, seconds)
    finally:
        reader.join(timeout=5)
    if status == TOOK_TOO_LONG:
        copy(f"ended after {seconds} s\n")
    return status


def run(test: Test) -> Count:
    """Run one test with a heading above and its result below."""
    print(f"\n=== {test.group}: {test.name}", flush=True)
    started = time.monotonic()
    if test.prepare:
        test.prepare()
    status = 0
    with test.log.open("w", encoding="utf-8") as log:
        for command in test.commands:
            status = execute(command, log, seconds=test.seconds, cwd=test.cwd, env=test.env)
            if status != 0:
                break
    count = test.count(status)
    verdict = "FAIL" if count.failed else "PASS" if count.passed else "SKIP"
    skipped = f", {count.skipped} skipped" if count.skipped else ""
    print(f"{verdict} {test.group} {test.name} ({time.monotonic() - started:.1f} s{skipped})", flush=True)
    return count


def last_lines(log: Path, count: int = 40) -> str:
    """The end of a log: in the output of a whole run, what failed lies far above."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]) if log.exists() else ""


def clean_up(interrupted: Test) -> None:
    """Leave no lab behind when a scenario could not get to its own end."""
    if interrupted.lab:
        with interrupted.log.open("a", encoding="utf-8") as log:
            execute(DESTROY_LAB, log, seconds=300, cwd=ROOT, env={})


def main() -> int:
    """Parse the command line, run, report; the exit status."""
    parser = argparse.ArgumentParser(description="Run the tests of the collection; without a group, all of them but the long ones.")
    parser.add_argument("groups", nargs="*", metavar="group", help=f"any of {', '.join(GROUPS)}")
    chosen = parser.parse_args().groups or [group for group in GROUPS if group != "long"]
    if unknown := sorted(set(chosen) - set(GROUPS)):
        parser.error(f"no such group: {', '.join(unknown)}")
    take_termination_for_interruption()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    link_checkout()

    total, failed, interrupted = Count(), [], False
    for test in (test for group, tests in GROUPS.items() if group in chosen for test in tests()):
        try:
            count = run(test)
        except KeyboardInterrupt:
            count, interrupted = Count(failed=1), True
            clean_up(test)
        total += count
        if count.failed:
            failed.append(test)
        if interrupted:
            break

    for test in failed:
        print(f"\n=== the end of {test.log.relative_to(ROOT)}\n{last_lines(test.log)}")
    print()
    for test in failed:
        print(f"{'interrupted' if interrupted and test is failed[-1] else 'failed'}: {test.group} {test.name}, see {test.log.relative_to(ROOT)}")
    print(f"{total.passed} passed, {total.failed} failed")
    return 130 if interrupted else int(total.failed > 0)


if __name__ == "__main__":
    sys.exit(main())
