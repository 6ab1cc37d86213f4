# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module over an API server that counts what it is asked, and over none."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_api_server import FakeApiServer
from preflight_objects import FLANNEL_CONFIG, SETTINGS, VALUES, all_facts, cluster, facts, manifests, pod

from ansible_collections.netops.cni_migration.plugins.module_utils.cluster import ClusterError
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_reader import ClusterReader
from ansible_collections.netops.cni_migration.plugins.modules import cni_preflight_info

LISTS = {
    "/api/v1/nodes": "nodes",
    "/api/v1/pods": "pods",
    "/apis/policy/v1/poddisruptionbudgets": "budgets",
    "/apis/apps/v1/daemonsets": "daemonsets",
    "/apis/apps/v1/deployments": "deployments",
}
# The kinds of network policies: where one is not defined, the API server says that it is not found.
POLICIES = [
    "/apis/networking.k8s.io/v1/networkpolicies",
    "/apis/cilium.io/v2/ciliumnetworkpolicies",
    "/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies",
    "/apis/policy.networking.k8s.io/v1alpha1/adminnetworkpolicies",
    "/apis/policy.networking.k8s.io/v1alpha1/baselineadminnetworkpolicies",
]
CONFIG_MAP = "/api/v1/namespaces/kube-flannel/configmaps/kube-flannel-cfg"


class Exit(Exception):
    """The module ended."""


class Module:
    """Stands in for AnsibleModule."""

    def __init__(self, **params: Any) -> None:
        self.params = params

    def exit_json(self, **facts: Any) -> None:
        raise Exit(facts)

    fail_json = exit_json


def server(*pods: dict[str, Any]) -> FakeApiServer:
    seen = cluster(*pods)
    lists = {path: {"items": list(getattr(seen, name))} for path, name in LISTS.items()}
    return FakeApiServer({**lists, CONFIG_MAP: FLANNEL_CONFIG}, {})


def options(kubeconfig: str, **changes: Any) -> dict[str, Any]:
    defaults = {name: option.get("default") for name, option in yaml.safe_load(cni_preflight_info.DOCUMENTATION)["options"].items()}
    given = {"pod_cidr": SETTINGS.pod_cidr, "tunnel_port": SETTINGS.tunnel_port, "node_facts": all_facts(), "manifests": manifests()}
    return {**defaults, **given, "images": list(SETTINGS.images), "kubeconfig": kubeconfig, **changes}


def result(monkeypatch: pytest.MonkeyPatch, params: dict[str, Any]) -> dict[str, Any]:
    monkeypatch.setattr(cni_preflight_info, "cluster_module", lambda _options: Module(**params))
    with pytest.raises(Exit) as ended:
        cni_preflight_info.main()
    return ended.value.args[0]


def test_options_are_documented_as_they_are() -> None:
    documented = yaml.safe_load(cni_preflight_info.DOCUMENTATION)["options"]
    assert {name: {key: value for key, value in option.items() if key != "description"} for name, option in documented.items()} == cni_preflight_info.OPTIONS


def test_each_kind_is_listed_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    api = server()
    with api.running(tmp_path) as kubeconfig:
        found = result(monkeypatch, options(kubeconfig))
    assert Counter(path for path, _query in api.asked) == Counter([*LISTS, *POLICIES, CONFIG_MAP])
    assert [name for name in found if name != "changed"] == list(yaml.safe_load(cni_preflight_info.RETURN))
    assert (found["changed"], found["refused"]) == (False, False)
    assert {each["level"] for each in found["findings"]} == {"ok"}
    assert all(set(each) == set(yaml.safe_load(cni_preflight_info.RETURN)["findings"]["contains"]) for each in found["findings"])
    assert found["table"][0].split() == ["LEVEL", "CHECK", "WHERE", "FACT"]


def test_what_is_accepted_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    api = server(pod("bare", owner="", volumes=[{"name": "v", "emptyDir": {}}]))
    with api.running(tmp_path) as kubeconfig:
        refused = result(monkeypatch, options(kubeconfig))
        accepted = result(monkeypatch, options(kubeconfig, evict_unmanaged_pods=True, evict_emptydir_data=True))
    assert (refused["refused"], accepted["refused"]) == (True, False)
    assert [each["check"] for each in refused["findings"][:2]] == ["local_data", "unmanaged"]
    assert [each["level"] for each in accepted["findings"][:2]] == ["warning", "warning"]


def test_every_option_reaches_the_checks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    api = server()
    changes: dict[str, Any] = {
        "pod_cidr": "10.244.0.0/16",
        "tunnel_port": 8472,
        "routing_changes": True,
        "images": ["example.org/missing:1"],
        "manifests": [],
        "chart_error": "Error: no such chart",
        "node_facts": all_facts(k8s_w1=facts("k8s-w1", kubelet="failed")),
        "flannel_namespace": "net",
        "monitor_port": 10250,
        "values_initial": VALUES,
        "values_final": VALUES,
    }
    with api.running(tmp_path) as kubeconfig:
        found = result(monkeypatch, options(kubeconfig, **changes))
    noted = {each["check"] for each in found["findings"] if each["level"] != "ok"}
    assert noted == {"cidr", "cni", "tunnel", "routing", "image", "chart", "kubelet", "ports", "values"}


def test_an_api_server_that_is_away_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with server().running(tmp_path) as kubeconfig:
        pass
    found = result(monkeypatch, options(kubeconfig))
    assert found["msg"].startswith("The API server does not answer, so nothing was checked, and nothing was changed. list daemonsets: ")
    assert "Connection refused" in found["msg"]
    assert "crictl ps" in found["msg"]


def test_a_missing_kubeconfig_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = result(monkeypatch, options(str(tmp_path / "none")))
    assert found["msg"].startswith(f"cannot use the kubeconfig {tmp_path}/none: ")


def test_a_right_that_is_missing_is_no_absence(tmp_path: Path) -> None:
    api = server()
    del api.objects["/api/v1/pods"]
    with api.running(tmp_path) as kubeconfig, pytest.raises(ClusterError, match="list pods : 404"):
        cni_preflight_info.read_cluster(ClusterReader(kubeconfig), ["final"])
