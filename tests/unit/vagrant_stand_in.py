# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder whose ``bin/vagrant`` plays Vagrant: machines are files below ``machines`` with their state, commands are noted in ``asked``."""

from __future__ import annotations

from pathlib import Path

NAMES = ("k8s-ctr", "k8s-w1", "k8s-w2")

SCRIPT = """\
#!/bin/sh
cd "$(dirname "$0")/.." || exit 1
echo "$*" >>asked
verb=$1; shift
case $verb in
status) for machine in machines/*; do echo "1,${machine#machines/},state,$(cat "$machine")"; done ;;
ssh-config)
  for name in "$@"; do
    printf 'Host %s\\n  HostName 127.0.0.1\\n  User vagrant\\n  Port 2222\\n  IdentityFile /keys/%s/private_key\\n\\n' "$name" "$name"
  done
  ;;
up) for name in "$@"; do echo running >"machines/$name"; done ;;
destroy) shift; for name in "$@"; do echo not_created >"machines/$name"; done ;;
esac
[ ! -e broken ] || { echo '1,,error-exit,Vagrant::Errors::Broken,It is\\\\nbroken%!(VAGRANT_COMMA) it is.'; exit 1; }
"""


class Vagrant:
    """The folder, with machines in the states that are given; the others do not exist."""

    def __init__(self, folder: Path, **states: str) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        (self.bin / "vagrant").write_text(SCRIPT, encoding="utf-8")
        (self.bin / "vagrant").chmod(0o755)
        (folder / "machines").mkdir()
        for name in NAMES:
            (folder / "machines" / name).write_text(states.get(name.replace("-", "_"), "not_created"), encoding="utf-8")

    @property
    def asked(self) -> list[str]:
        """The commands so far, in their order."""
        asked = self.folder / "asked"
        return asked.read_text(encoding="utf-8").splitlines() if asked.exists() else []

    @property
    def states(self) -> list[str]:
        """The machines' states, in the order of their names."""
        return [(self.folder / "machines" / name).read_text(encoding="utf-8").strip() for name in NAMES]
