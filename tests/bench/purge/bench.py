# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long removing kube-proxy's rules takes, beside the common pipeline and kube-proxy's own --cleanup.

Each row is a network namespace of its own with N services of two endpoints (8 rules and 3 chains each) and a few rules of
somebody else. ``seconds`` is what the module reports, which for the others is the same as ``process``: the whole process,
in the module's case with the start of Python. The ratio is that of ``seconds`` to the pipeline's in the same run.
``kube-proxy --cleanup`` is measured when --kube-proxy names its program, and, since it takes quadratic time on nft, up to
--cleanup-up-to services. Needs root, iptables of both backends and nftables.

    python bench.py [--services 1000 10000] [--backends nft legacy] [--kube-proxy PATH] [--json FILE] [--svg FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from plot import draw

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "integration" / "targets" / "iptables_purge"))
import rulesets
from namespace import Namespace

PIPELINE = "iptables-{backend}-save | grep -v KUBE | grep -v FLANNEL | iptables-{backend}-restore"


@dataclass
class Row:
    """One measurement. ``memory`` is in MiB, of the largest process; ``left`` counts owned lines, ``lost`` changed foreign rules."""

    backend: str
    services: int
    method: str
    seconds: float
    process: float
    cpu: float
    memory: float
    left: int
    lost: int


@dataclass
class Run:
    """One process, or several in a row: wall clock and processor seconds, peak memory in MiB, what it printed last."""

    seconds: float = 0.0
    process: float = 0.0
    cpu: float = 0.0
    memory: float = 0.0
    output: str = ""

    def then(self, other: Run) -> Run:
        """Both, one after the other."""
        return Run(self.seconds + other.seconds, self.process + other.process, self.cpu + other.cpu, max(self.memory, other.memory), other.output)


def timed(namespace: Namespace, argv: list[str], stdin: str = "", env: dict[str, str] | None = None) -> Run:
    """Run a process in the namespace."""
    with tempfile.TemporaryFile("w+") as source, tempfile.TemporaryFile("w+") as sink, tempfile.TemporaryFile("w+") as errors:
        source.write(stdin)
        source.seek(0)
        started = time.monotonic()
        process = subprocess.Popen(["ip", "netns", "exec", namespace.name, *argv], stdin=source, stdout=sink, stderr=errors, env={**os.environ, **(env or {})})
        _pid, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        sink.seek(0)
        errors.seek(0)
        output = sink.read()
        if process.returncode:
            raise RuntimeError(f"{argv}: exit {process.returncode}: {errors.read()[-2000:]}{output[-2000:]}")
    return Run(seconds, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output)


def purge(namespace: Namespace, *phases: dict[str, object]) -> Run:
    """The module, once for each phase."""
    total, token = Run(), ""
    with tempfile.TemporaryDirectory() as backup:
        for phase in phases:
            options = {"backup_dir": backup, **phase, **({"_armed": token} if phase.get("_phase") == "delete" else {})}
            run = timed(namespace, namespace.module_argv("iptables_purge"), namespace.arguments(**options), namespace.module_env())
            answer = json.loads(run.output)
            token, run.seconds = answer.get("_armed", ""), answer["seconds"]
            total = total.then(run)
    return total


def cleanup(namespace: Namespace, backend: str, program: str) -> Run:
    """kube-proxy --cleanup, with the iptables of one backend on its path."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("iptables", "ip6tables"):
            for suffix in ("", "-save", "-restore"):
                Path(folder, name + suffix).symlink_to(shutil.which(f"{name}-{backend}{suffix}") or "")
        return timed(namespace, [program, "--cleanup"], env={"PATH": f"{folder}:{os.environ['PATH']}"})


def measure(backend: str, services: int, method: str, kube_proxy: str) -> Row:
    """One row, in a fresh namespace."""
    with Namespace() as namespace, tempfile.NamedTemporaryFile("w") as rules:
        expected = own_lines(namespace, backend, rulesets.ruleset())
        # In a process of its own, since a child's peak memory is never less than that of the process it was forked from.
        generate = [sys.executable, "-c", f"import rulesets; print(rulesets.ruleset({services}), end='')"]
        subprocess.run(generate, stdout=rules, check=True, env={**os.environ, "PYTHONPATH": os.path.dirname(rulesets.__file__)})
        namespace.run("sh", "-c", f"iptables-{backend}-restore -c < {rules.name}")
        if method == "pipeline":
            run = timed(namespace, ["sh", "-c", PIPELINE.format(backend=backend)])
        elif method == "kube-proxy --cleanup":
            run = cleanup(namespace, backend, kube_proxy)
        elif method == "iptables_purge, two steps":
            run = purge(namespace, {"_phase": "unhook", "confirm_timeout": 600}, {"_phase": "delete"})
        else:
            run = purge(namespace, {"confirm_timeout": 0})
        after = {line for line in namespace.save(backend, "ipv4").splitlines() if "-A " in line}
    owned = [line for line in after.difference(expected) if re.search(r" -A (KUBE|FLANNEL|CNI)-|-j (KUBE|FLANNEL|CNI)-", line)]
    lost = len(set(expected) - after)
    return Row(backend, services, method, *(round(value, 3) for value in (run.seconds, run.process, run.cpu, run.memory)), len(owned), lost)


def own_lines(namespace: Namespace, backend: str, text: str) -> list[str]:
    """The rules that have to be left, counters included, as they are listed."""
    namespace.restore(backend, "ipv4", text)
    return [line for line in namespace.save(backend, "ipv4").splitlines() if "-A " in line]


def main() -> None:
    """Measure, print the table with its ratios, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--backends", nargs="+", default=["nft", "legacy"], choices=["nft", "legacy"])
    parser.add_argument("--kube-proxy", default="", help="program whose --cleanup is measured too")
    parser.add_argument("--cleanup-up-to", type=int, default=10000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", type=Path)
    arguments = parser.parse_args()
    methods = ["pipeline", "iptables_purge", "iptables_purge, two steps", *(["kube-proxy --cleanup"] if arguments.kube_proxy else [])]
    rows: list[Row] = []
    print(f"{'backend':8}{'services':>9}  {'method':26}{'seconds':>9}{'ratio':>7}{'process':>9}{'cpu':>8}{'MiB':>7}{'owned left':>12}{'foreign changed':>17}")
    for backend in arguments.backends:
        for services in arguments.services:
            baseline = 0.0
            for method in methods:
                if method == "kube-proxy --cleanup" and services > arguments.cleanup_up_to:
                    continue
                row = measure(backend, services, method, arguments.kube_proxy)
                rows.append(row)
                baseline = baseline or row.seconds
                times = f"{row.seconds:>9.2f}{row.seconds / baseline:>7.2f}{row.process:>9.2f}{row.cpu:>8.2f}"
                print(f"{row.backend:8}{row.services:>9}  {row.method:26}{times}{row.memory:>7.0f}{row.left:>12}{row.lost:>17}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    if arguments.svg:
        arguments.svg.write_text(draw([asdict(row) for row in rows]))


if __name__ == "__main__":
    main()
