# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module's shell: options in, results and failures out."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.module_utils.basic import AnsibleModule

from ansible_collections.netops.cni_migration.plugins.module_utils import cluster
from ansible_collections.netops.cni_migration.plugins.module_utils.migration_run import Outcome
from ansible_collections.netops.cni_migration.plugins.module_utils.node_state import BOOT_ID, CILIUM_LABEL, STATE_LABEL, NodeView, Phase
from ansible_collections.netops.cni_migration.plugins.modules import cni_migrate_node

PARAMS: dict[str, Any] = {
    "node": "k8s-w1",
    "state": "drained",
    "rebooted": False,
    "switch": "reboot",
    "kubeconfig": "/k",
    "pod_cidr": "10.245.0.0/16",
    "flannel_pod_cidr": "10.244.0.0/16",
    "namespace": "kube-system",
    "verify_image": "netshoot",
    "verify_image_pull_secrets": ["regcred"],
    "evict": {"delete_emptydir_data": True, "unmanaged_pods": False},
    "timeouts": {"api": 1, "drain": 0, "agent": 3, "reboot": 4, "verify": 5},
}
SETTINGS = cni_migrate_node.settings_of(PARAMS)


class Ended(Exception):
    """The module ended."""


def documented(options: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {**{k: v for k, v in option.items() if k not in ("description", "suboptions")}, "options": documented(option.get("suboptions", {}))}
        for name, option in options.items()
    }


def specified(options: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {**{k: v for k, v in option.items() if k not in ("options", "apply_defaults", "no_log")}, "options": specified(option.get("options", {}))}
        for name, option in options.items()
    }


def test_the_documentation_says_what_the_module_takes() -> None:
    assert documented(yaml.safe_load(cni_migrate_node.DOCUMENTATION)["options"]) == specified(cni_migrate_node.argument_spec())


def test_every_result_is_documented() -> None:
    node = NodeView("n", "1", {}, {}, False, "b", True)
    result = cni_migrate_node.result_of(Outcome(before=node, after=node), SETTINGS)
    assert set(result) - {"changed", "diff"} == set(yaml.safe_load(cni_migrate_node.RETURN))


def test_options_reach_the_planner() -> None:
    settings = cni_migrate_node.settings_of(PARAMS)
    assert settings.wanted is Phase.DRAINED and settings.policy.delete_emptydir_data and not settings.policy.unmanaged_pods
    assert settings.timeouts.drain == 0, "zero is a value, not a wish for the default"


def test_a_node_that_is_switched_in_place_needs_no_reboot() -> None:
    node = NodeView("n", "1", {STATE_LABEL: "switched", CILIUM_LABEL: "true"}, {BOOT_ID: "b"}, True, "b", True)
    in_place = cni_migrate_node.settings_of({**PARAMS, "switch": "in_place"})
    assert cni_migrate_node.result_of(Outcome(before=node, after=node), SETTINGS)["reboot_required"] is True
    assert cni_migrate_node.result_of(Outcome(before=node, after=node), in_place)["reboot_required"] is False


def test_a_diff_shows_pods_only_when_they_were_looked_at() -> None:
    node = NodeView("n", "1", {"theirs": "x"}, {}, False, "b", True)
    unseen = cni_migrate_node.result_of(Outcome(before=node, after=node), SETTINGS)["diff"]["before"]
    seen = cni_migrate_node.result_of(Outcome(before=node, after=node, pods_before=["a/b"]), SETTINGS)["diff"]["before"]
    assert unseen == {"unschedulable": False, "labels": {}, "annotations": {}} and seen == {**unseen, "pods": ["a/b"]}


def run(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    failures: list[dict[str, Any]] = []

    def fail_json(self: AnsibleModule, **facts: Any) -> None:
        failures.append(facts)
        raise Ended

    def init(self: AnsibleModule, **_spec: Any) -> None:
        self.params, self.check_mode = PARAMS, False

    monkeypatch.setattr(AnsibleModule, "__init__", init)
    monkeypatch.setattr(AnsibleModule, "fail_json", fail_json)
    with pytest.raises(Ended):
        cni_migrate_node.main()
    return failures[0]


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "HAS_KUBERNETES", False)
    assert "kubernetes" in run(monkeypatch)["msg"]


def test_a_bad_kubeconfig_names_node_and_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise cluster.ClusterError(f"cannot use the kubeconfig {path}: no", kubeconfig=path)

    monkeypatch.setattr(cluster, "KubernetesCluster", refuse)
    assert run(monkeypatch) == {"msg": "node k8s-w1, step connect: cannot use the kubeconfig /k: no. Nothing was changed.", "kubeconfig": "/k"}
