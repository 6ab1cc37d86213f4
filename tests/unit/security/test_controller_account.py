# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The account in docs/rbac: it has every right that the code asks for, and no other."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rbac import Right, missing, rights, rights_of_account, rights_of_rules, rights_on
from repository import ROOT, Task, files, tasks

from ansible_collections.netops.cni_migration.plugins.module_utils.network_policies import KINDS

MONITOR = "cni-migration-monitor"
CHARTS = json.loads((Path(__file__).parent / "fixtures" / "charts.json").read_text(encoding="utf-8"))

# By method that makes a request: where, and on what.
CALLS = {
    "get_node": ["get nodes"],
    "list_nodes": ["list nodes"],
    "patch_node": ["patch nodes"],
    "list_pods": ["list pods", "kube-system: list pods", f"{MONITOR}: list pods"],
    "get_pod": ["kube-system: get pods"],
    "create_pod": ["kube-system: create pods"],
    # The verification pod and an agent's; in place, what a drain leaves in any namespace.
    "delete_pod": ["kube-system: delete pods", "delete pods"],
    "evict_pod": ["create pods/eviction"],
    "pod_log": ["kube-system: get pods/log"],
    "patch_pod_status": ["patch pods/status"],
    "list_budgets": ["list policy/poddisruptionbudgets"],
    "list_endpoint_slices": ["list discovery.k8s.io/endpointslices"],
    "list_services": ["list services"],
    "list_daemonsets": ["list apps/daemonsets"],
    "get_daemonset": ["kube-system: get apps/daemonsets cilium"],
    "list_deployments": ["list apps/deployments", "kube-system: list apps/deployments"],
    "patch_deployment": ["kube-system: patch apps/deployments coredns"],
    "list_replica_sets": ["kube-system: list apps/replicasets"],
    "list_secrets": ["kube-system: list secrets"],
    "list_events": ["kube-system: list events", "default: list events"],
    "get_config_map": ["kube-flannel: get configmaps kube-flannel-cfg", f"{MONITOR}: get configmaps"],
    "list_kind": [f"list {kind.group}/{kind.plural}" for kind in KINDS],
    "get_lease": ["kube-system: get coordination.k8s.io/leases cni-migration"],
    "create_lease": ["kube-system: create coordination.k8s.io/leases"],
    "patch_lease": ["kube-system: patch coordination.k8s.io/leases cni-migration"],
    "delete_lease": ["kube-system: delete coordination.k8s.io/leases cni-migration"],
    "ExecCluster._run": ["kube-system: get,create pods/exec"],
    "Monitor._get": [f"{MONITOR}: get pods/proxy"],
    # What the ending deletes, and the Secret that remembers it.
    "get_object": [
        "kube-system: get secrets cni-migration-old-network",
        "get namespaces kube-flannel",
        "get rbac.authorization.k8s.io/clusterroles flannel",
        "get rbac.authorization.k8s.io/clusterrolebindings flannel",
        "kube-system: get apps/daemonsets kube-proxy",
        "kube-system: get configmaps kube-proxy",
    ],
    "list_objects": [f"kube-flannel: list {resource}" for resource in ("serviceaccounts", "configmaps", "secrets", "apps/daemonsets")],
    "create_object": ["kube-system: create secrets"],
    "replace_object": ["kube-system: update secrets cni-migration-old-network"],
}

# By task of the roles that calls the API server: what it does there.
TASKS = {
    "api_endpoint | Read how kubeadm made the cluster": ["kube-system: get configmaps kubeadm-config"],
    "clean_node | Record it on the node": ["get,patch nodes"],
    "evidence | Record on each node that it is told of": ["get,patch nodes"],
    "install_cilium | Read Cilium's live configuration": ["kube-system: get configmaps cilium-config"],
    "kubeadm_proxy | Read how kubeadm made the cluster": ["kube-system: get configmaps kubeadm-config"],
    "kubeadm_proxy | Tell kubeadm of kube-proxy": ["kube-system: get,patch configmaps kubeadm-config"],
    "node_config | Look for the definition of CiliumNodeConfig": ["get apiextensions.k8s.io/customresourcedefinitions ciliumnodeconfigs.cilium.io"],
    "node_config | Create the CiliumNodeConfigs": [
        "kube-system: get,create,patch cilium.io/ciliumnodeconfigs cilium-default",
        "kube-system: get,create,patch cilium.io/ciliumnodeconfigs cni-migration-moved",
    ],
    "record_before | Record it on the node": ["get,patch nodes"],
    "release | Drop revisions that were never finished": ["kube-system: get,delete secrets"],
    "release | Install or upgrade Cilium": ["kube-system: get,list,create,update,delete secrets"],  # and what the chart makes, below
    "remove_old | Look for Flannel's namespace": ["get namespaces kube-flannel"],
    "remove_old | Uninstall Flannel's release": ["kube-flannel: get,list,update,delete secrets"],  # and what the chart made, below
    "remove_old | Delete Flannel's namespace, and what belongs to no release": [
        "get,delete namespaces kube-flannel",
        "get,delete rbac.authorization.k8s.io/clusterroles flannel",
        "get,delete rbac.authorization.k8s.io/clusterrolebindings flannel",
    ],
    "remove_old | Delete kube-proxy and the CiliumNodeConfigs": [
        "kube-system: get,delete apps/daemonsets kube-proxy",
        "kube-system: get,delete configmaps kube-proxy",
        "kube-system: get,delete cilium.io/ciliumnodeconfigs cilium-default",
        "kube-system: get,delete cilium.io/ciliumnodeconfigs cni-migration-moved",
    ],
    "remove_old | Wait until Flannel's namespace is gone": ["get,delete namespaces kube-flannel"],
    "return_node | Forget what was recorded of the move": ["get,patch nodes"],
    "rejoin | Wait until the probers run again on {{ disruption_monitor_node }}": [f"{MONITOR}: list pods"],
    "start | Look for the namespace": [f"get namespaces {MONITOR}"],
    "start | Create the namespace": [],  # it is there
    "start | Create the Service": [f"{MONITOR}: get,create,patch services"],
    "start | Read the nodes": ["list nodes"],
    "start | Look for a run that has begun": [f"{MONITOR}: get configmaps"],
    "start | Deploy the targets": [f"{MONITOR}: get,create,patch configmaps", f"{MONITOR}: get,create,patch apps/daemonsets"],
    "start | Deploy the probers": [f"{MONITOR}: get,create,patch apps/daemonsets"],
    "start | Note that the monitor is complete from now on": [f"{MONITOR}: get,patch configmaps"],
    "start | Read what the probers wait for": [f"{MONITOR}: list pods"],
    "stop | Look for the namespace": [f"get namespaces {MONITOR}"],
    "stop | Remove the monitor": [f"{MONITOR}: get,delete apps/daemonsets", f"{MONITOR}: get,delete configmaps", f"{MONITOR}: get,delete services"],
}

# What only the way back of the whole cluster does beside: an administrator's work, for which the account gets no right.
ADMINISTRATORS_CALLS = {
    "get_object": ["kube-flannel: get serviceaccounts", "kube-flannel: get configmaps", "kube-flannel: get secrets", "kube-flannel: get apps/daemonsets"],
    "create_object": [
        "create namespaces",
        "create rbac.authorization.k8s.io/clusterroles",
        "create rbac.authorization.k8s.io/clusterrolebindings",
        *(f"{namespace}: create {resource}" for namespace in ("kube-flannel", "kube-system") for resource in ("configmaps", "apps/daemonsets")),
        "kube-flannel: create serviceaccounts",
        "kube-flannel: create secrets",
    ],
    "delete_object": ["kube-flannel: delete secrets"],  # Helm's record of a release that was being uninstalled
}
ADMINISTRATORS_TASKS = {
    "remove_cilium | Uninstall the release": [  # and what else the chart made
        "kube-system: get,list,update,delete secrets",
        "delete rbac.authorization.k8s.io/clusterroles cilium",
        "delete rbac.authorization.k8s.io/clusterrolebindings cilium",
        "kube-system: delete apps/daemonsets cilium",
        "delete namespaces cilium-secrets",
    ],
    "remove_cilium | Look for what Helm has not finished": ["kube-system: list secrets"],
    "remove_cilium | Go on with an uninstall that was killed": [],  # as above
    "remove_cilium | Wait until neither an agent nor the operator runs": ["kube-system: list pods"],
    "remove_cilium | Take the operator's taint off the nodes": ["get,patch nodes"],
    "remove_cilium | Read the definitions of the cluster": ["list apiextensions.k8s.io/customresourcedefinitions"],
    "remove_cilium | Delete the CiliumNodeConfigs of the migration": [
        "kube-system: get,delete cilium.io/ciliumnodeconfigs cilium-default",
        "kube-system: get,delete cilium.io/ciliumnodeconfigs cni-migration-moved",
    ],
    "remove_cilium | Look for objects of kinds that are not Cilium's own books": ["list cilium.io/*"],
    "remove_cilium | Delete the definitions nobody needs": ["get,delete apiextensions.k8s.io/customresourcedefinitions"],
    "remove_cilium | Delete what the operator and the migration have left in kube-system": [
        "kube-system: get,delete coordination.k8s.io/leases cilium-operator-resource-lock",
        "kube-system: get,delete secrets cni-migration-old-network",
    ],
    "undo_ending | Forget what was recorded of the ending": ["get,patch nodes"],
    "undo_ending | Wait until kube-proxy and Flannel run on every node": [
        "kube-system: get apps/daemonsets kube-proxy",
        "kube-flannel: get apps/daemonsets kube-flannel-ds",
    ],
}


def manifest(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / "docs" / "rbac" / name).read_text(encoding="utf-8")))


OBJECTS = manifest("controller.yaml")
GIVEN = rights_of_account(OBJECTS, OBJECTS[0])


def called_methods() -> set[str]:
    """The methods of the plugins that make a request to the API server, those that are not public with their class."""
    found = set()
    for path in files("plugins"):
        for each in ast.walk(ast.parse(path.read_text(encoding="utf-8")) if path.suffix == ".py" else ast.Module()):
            if isinstance(each, ast.ClassDef):
                found |= {f"{each.name}.{method}" if method.startswith("_") else method for method in _requesting(each)}
    return found - {"KubernetesCluster._json"}


def _requesting(each: ast.ClassDef) -> Iterator[str]:
    for method in each.body:
        names = {node.id if isinstance(node, ast.Name) else getattr(node, "attr", "") for node in ast.walk(method)}
        if isinstance(method, ast.FunctionDef) and names & {"_json", "_request", "stream"}:
            yield method.name


def calls_the_api(task: Task) -> bool:
    return any(str(key).startswith("kubernetes.core.") for key in task) or "--kubeconfig" in json.dumps(task.get("ansible.builtin.command"))


def tasks_at_the_api(*names: str) -> set[str]:
    """Those of the roles, or only those in files of these names."""
    found = tasks("roles/cilium_migration", "roles/disruption_monitor")
    return {task["name"] for path, task in found if calls_the_api(task) and (not names or path.name in names)}


def in_words(table: dict[str, list[str]]) -> Iterator[Right]:
    return (right for texts in table.values() for text in texts for right in rights(text))


def by_the_charts() -> Iterator[Right]:
    """What Helm does with the objects of the charts, and what these hand on."""
    for each in CHARTS["cilium"]:
        yield from rights_on("get,patch" if each["kind"] == "Namespace" else "get,create,patch", each)  # the namespace is there
        yield from rights_of_rules(each.get("rules", ()), each["metadata"].get("namespace", ""))
    for each in CHARTS["flannel"]:
        yield from rights_on("delete", each)


def test_the_table_knows_every_call_of_the_modules() -> None:
    assert called_methods() == CALLS.keys() | ADMINISTRATORS_CALLS.keys(), "say in CALLS where it is called, and let docs/rbac/controller.yaml allow it"


def test_no_other_file_makes_requests_in_another_way() -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in files("plugins") if path.suffix == ".py"}
    ways = r"DynamicClient|\w+Api\b(?<!CoreV1Api)|\bcall_api\b|\.request\(|urlopen|^import requests"
    assert [name for name, text in texts.items() if re.search(ways, text, re.MULTILINE)] == ["cluster.py", "etcd_reader.py"], "the second asks etcd, on a node"
    assert [name for name, text in texts.items() if "CoreV1Api" in text] == ["cluster_exec.py"], "for the stream of a command alone"


def test_the_table_knows_every_task_that_calls_the_api_server() -> None:
    known = TASKS.keys() | ADMINISTRATORS_TASKS.keys()
    assert tasks_at_the_api() == known, "say in TASKS what it does, and let docs/rbac/controller.yaml allow it"


def test_only_what_takes_the_whole_cluster_back_is_left_to_an_administrator() -> None:
    assert tasks_at_the_api("remove_cilium.yml", "undo_ending.yml") == ADMINISTRATORS_TASKS.keys()
    assert not TASKS.keys() & ADMINISTRATORS_TASKS.keys()


@pytest.mark.parametrize(
    "needed",
    [pytest.param([*in_words(CALLS)], id="modules"), pytest.param([*in_words(TASKS)], id="tasks"), pytest.param([*by_the_charts()], id="charts")],
)
def test_the_account_has_every_right_that_is_needed(needed: list[Right]) -> None:
    assert missing(needed, GIVEN) == []


def test_the_account_has_no_right_that_nobody_needs() -> None:
    needed = [*in_words(CALLS), *in_words(TASKS), *by_the_charts()]
    assert [right for right in GIVEN if not any(right.namespace == each.namespace and right.covers(each) for each in needed)] == []


def test_the_account_cannot_take_the_whole_cluster_back() -> None:
    lacking = missing([*in_words(ADMINISTRATORS_CALLS), *in_words(ADMINISTRATORS_TASKS)], GIVEN)
    assert {"create namespaces", "delete clusterroles", "delete customresourcedefinitions"} <= {f"{right.verb} {right.resource}" for right in lacking}


def test_the_account_cannot_give_itself_more() -> None:
    given = {right.verb for right in GIVEN} | {right.resource for right in GIVEN} | {right.group for right in GIVEN}
    assert given.isdisjoint({"*", "escalate", "bind", "impersonate", "nodes/proxy", "serviceaccounts/token"})


def test_the_bindings_are_of_this_account_alone() -> None:
    bindings = [each for each in OBJECTS if "roleRef" in each]
    roles = {(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in OBJECTS if "rules" in each}
    assert all(len(binding["subjects"]) == 1 for binding in bindings)
    assert {(binding["roleRef"]["kind"], binding["metadata"].get("namespace"), binding["roleRef"]["name"]) for binding in bindings} == roles
    assert OBJECTS[0]["kind"] == "ServiceAccount" and OBJECTS[0]["automountServiceAccountToken"] is False


def test_the_namespaces_are_those_that_the_roles_and_charts_use() -> None:
    defaults = yaml.safe_load((ROOT / "roles" / "disruption_monitor" / "defaults" / "main.yml").read_text(encoding="utf-8"))
    monitor, cilium = manifest("namespaces.yaml")
    assert monitor["metadata"]["name"] == defaults["disruption_monitor_namespace"] == MONITOR
    # The monitor does not remove what it did not make, see its vars.
    assert "cni-migration.netops/own" not in monitor["metadata"]["labels"]
    assert [each["metadata"]["name"] for each in CHARTS["cilium"] if each["kind"] == "Namespace"] == [cilium["metadata"]["name"]]
    # By these Helm knows what it may take over.
    assert cilium["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
    assert cilium["metadata"]["annotations"] == {"meta.helm.sh/release-name": "cilium", "meta.helm.sh/release-namespace": "kube-system"}


@pytest.mark.parametrize(
    ("given", "needed", "lacks"),
    [
        ("get pods", "kube-system: get pods", False),
        ("kube-system: get pods", "get pods", True),
        ("kube-system: get pods", "default: get pods", True),
        ("kube-system: get secrets", "kube-system: get secrets cilium-ca", False),
        ("kube-system: get secrets cilium-ca", "kube-system: get secrets other", True),
        ("kube-system: get secrets cilium-ca", "kube-system: get secrets", True),
        ("patch pods", "patch pods/status", True),
        ("get apps/daemonsets", "get daemonsets", True),
        ("get,list nodes", "list,patch nodes", True),
    ],
)
def test_a_right_covers_what_it_says(given: str, needed: str, lacks: bool) -> None:
    assert bool(missing(rights(needed), rights(given))) is lacks
