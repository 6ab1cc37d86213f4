# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils import host
from ansible_collections.netops.cni_migration.plugins.modules import service_rules_info

FIXTURES = Path(__file__).parents[1] / "module_utils" / "fixtures"
LEGACY_RULES = (FIXTURES / "nat_of_kube_proxy.legacy.txt").read_text(encoding="utf-8")


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A host whose rules are all in the legacy backend; collects the programs that were run."""
    ran: list[str] = []

    def run(argv: Sequence[str]) -> host.CommandResult:
        ran.append(argv[0])
        return host.CommandResult(tuple(argv), 0, LEGACY_RULES if "legacy" in argv[0] else "", "", 0.0)

    monkeypatch.setattr(host, "run", run)
    return ran


def test_the_backend_that_knows_the_service_is_told(commands: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "read_text", lambda path: "filter\nnat\n")
    backend, ports = service_rules_info.read_ports("default", "webpod")
    assert backend == "legacy"
    assert [endpoint.destination for endpoint in ports[0].endpoints] == ["10.244.1.2:80", "10.244.2.2:80"]


@pytest.mark.parametrize("tables", [None, "", "filter\n"])
def test_a_legacy_table_that_is_not_there_is_not_created_by_looking(commands: list[str], monkeypatch: pytest.MonkeyPatch, tables: str | None) -> None:
    monkeypatch.setattr(host, "read_text", lambda path: tables)
    assert service_rules_info.read_ports("default", "webpod") == (None, [])
    assert commands == ["iptables-nft-save"]
