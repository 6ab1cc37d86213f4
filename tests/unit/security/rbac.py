# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an account may do by its roles, decided as the API server decides it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

RBAC = "rbac.authorization.k8s.io"
PLURALS = {
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "ConfigMap": "configmaps",
    "DaemonSet": "daemonsets",
    "Deployment": "deployments",
    "Namespace": "namespaces",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "Secret": "secrets",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
}


@dataclass(frozen=True)
class Right:
    """To do one thing. No namespace means in all of them, or what is in none; no name means whatever the name is."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""

    def covers(self, other: Right) -> bool:
        """Whether who has this right has the other one, too."""
        return (
            (self.verb, self.group, self.resource) == (other.verb, other.group, other.resource)
            and self.namespace in ("", other.namespace)
            and self.name in ("", other.name)
        )


def rights(text: str) -> list[Right]:
    """The rights in words: ``[NAMESPACE: ]VERB[,VERB...] [GROUP/]RESOURCE[/SUBRESOURCE][ NAME]``; a group has a dot or is apps or policy."""
    namespace, _colon, rest = text.rpartition(": ")
    verbs, path, *name = rest.split(" ")
    group, _slash, resource = path.partition("/")
    if "." not in group and group not in ("apps", "policy"):
        group, resource = "", path
    return [Right(verb, group, resource, namespace, "" if verb == "create" else "".join(name)) for verb in verbs.split(",")]


def rights_on(verbs: str, item: Mapping[str, Any]) -> list[Right]:
    """The rights to ``verbs`` on one object of the API."""
    group = item["apiVersion"].rpartition("/")[0]
    metadata = item["metadata"]
    name, namespace = metadata["name"], metadata.get("namespace", "")
    return [Right(verb, group, PLURALS[item["kind"]], namespace, "" if verb == "create" else name) for verb in verbs.split(",")]


def rights_of_rules(rules: Iterable[Mapping[str, Any]], namespace: str = "") -> Iterator[Right]:
    """What the rules of a role give, one by one."""
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    for name in rule.get("resourceNames", [""]):
                        yield Right(verb, group, resource, namespace, name)


def rights_of_account(objects: Iterable[Mapping[str, Any]], account: Mapping[str, Any]) -> list[Right]:
    """What the bindings among ``objects`` give to a ServiceAccount. Raises KeyError for a binding to a role that is not among them."""
    objects = list(objects)
    subject = {"kind": "ServiceAccount", "name": account["metadata"]["name"], "namespace": account["metadata"]["namespace"]}
    roles = {(each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): each["rules"] for each in objects if "rules" in each}
    given: list[Right] = []
    for binding in objects:
        if "roleRef" in binding and subject in binding["subjects"]:
            kind, namespace = binding["roleRef"]["kind"], binding["metadata"].get("namespace", "")
            given += rights_of_rules(roles[kind, namespace if kind == "Role" else "", binding["roleRef"]["name"]], namespace)
    return given


def missing(needed: Iterable[Right], given: Iterable[Right]) -> list[Right]:
    """Those of the needed rights that are not given."""
    given = list(given)
    return [right for right in needed if not any(each.covers(right) for each in given)]
