# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module that talks to the API server takes, and how it fails."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ansible_collections.netops.cni_migration.plugins.doc_fragments.cluster import ModuleDocFragment
from ansible_collections.netops.cni_migration.plugins.module_utils import cluster, cluster_module


class Failed(Exception):
    """The module failed."""


class Module:
    """Stands in for AnsibleModule."""

    def __init__(self, **arguments: Any) -> None:
        self.arguments = arguments

    def fail_json(self, **facts: Any) -> None:
        raise Failed(facts)


def test_the_fragment_says_what_the_modules_take() -> None:
    documented = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    assert {name: {key: value for key, value in option.items() if key != "description"} for name, option in documented.items()} == cluster_module.OPTIONS


def test_a_module_has_its_own_options_and_those_of_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "AnsibleModule", Module)
    module = cluster_module.cluster_module({"timeout": {"type": "float"}})
    assert module.arguments == {"argument_spec": {**cluster_module.OPTIONS, "timeout": {"type": "float"}}, "supports_check_mode": True}


def test_without_the_library_there_is_no_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "AnsibleModule", Module)
    monkeypatch.setattr(cluster, "HAS_KUBERNETES", False)
    monkeypatch.setattr(cluster, "KUBERNETES_IMPORT_ERROR", "no module of that name")
    with pytest.raises(Failed) as failed:
        cluster_module.cluster_module({})
    assert "(kubernetes)" in failed.value.args[0]["msg"]
    assert failed.value.args[0]["exception"] == "no module of that name"


@pytest.mark.parametrize(
    ("error", "facts"),
    [(cluster.NotFound("no node", status=404, reason="NotFound"), {"msg": "no node", "status": 404, "reason": "NotFound"}), (KeyError("x"), {"msg": "'x'"})],
)
def test_what_was_expected_is_told_with_its_facts(error: Exception, facts: dict[str, Any]) -> None:
    with pytest.raises(Failed) as failed, cluster_module.failures_told(Module(), KeyError):
        raise error
    assert failed.value.args[0] == facts


def test_what_was_not_expected_is_a_defect() -> None:
    with pytest.raises(TypeError), cluster_module.failures_told(Module(), KeyError):
        raise TypeError
