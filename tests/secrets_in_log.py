# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks in logs for secrets of a cluster: as they are, and inside base64, however often it was applied.

Usage: ``python tests/secrets_in_log.py LOG...``. Prints a line for each that was found, without its value, and exits with 1 when there was one.
"""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Iterator
from pathlib import Path

SECRETS = {
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----"),
    "the client key of a kubeconfig": re.compile(r"client-key-data[\"']?: *[\"']?[A-Za-z0-9+/]{20}"),
    "a token of a service account": re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    # Six and sixteen random letters and digits. That the second part has both tells it from words, and from figures.
    "a token by which nodes join": re.compile(r"(?<![\w.-])[a-z0-9]{6}\.(?=[0-9]*[a-z])(?=[a-z]*[0-9])[a-z0-9]{16}(?![\w.-])"),
}
BASE64 = re.compile(r"[A-Za-z0-9+/]{32,}={0,2}")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
DEPTH = 3
"""A key in a kubeconfig in the result of a slurp is in base64 twice."""


def secrets_in(text: str, depth: int = DEPTH) -> set[str]:
    """The names of the secrets in ``text``, and in what it holds as base64, to this depth."""
    found = {name for name, pattern in SECRETS.items() if pattern.search(text)}
    if depth:
        for encoded in BASE64.findall(text):
            # A path or a word may stand before it without a border, so each of the four positions may be its first.
            for start in range(4):
                found |= secrets_in(_decoded(encoded[start:]), depth - 1)
    return found


def _decoded(encoded: str) -> str:
    """What the base64 stands for, a character for each byte."""
    encoded = encoded.rstrip("=")
    return base64.b64decode(encoded + "A" * (-len(encoded) % 4)).decode("latin-1")


def findings(log: Path) -> Iterator[str]:
    """A line for each secret in each line of the log."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            for name in sorted(secrets_in(COLOURS.sub("", line))):
                yield f"{log}:{number}: {name}"


def main() -> int:
    """Look through the logs of the command line; the exit status."""
    found = [finding for log in sys.argv[1:] for finding in findings(Path(log))]
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
