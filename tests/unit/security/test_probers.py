# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disruption monitor's pods: what they may do on a node, and with the API server."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import jinja2
import pytest
import yaml
from repository import ROOT

IMAGE = "docker.io/library/python@sha256:" + "0" * 64
KINDS = ("target", "pod", "host")
FOLDER = "/var/lib/cni-migration/monitor"


def specs(*pull_secrets: str) -> dict[str, dict[str, Any]]:
    """The pods' specs by kind."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(ROOT / "roles" / "disruption_monitor" / "templates"), undefined=jinja2.StrictUndefined)
    environment.filters["hash"] = lambda text, name: hashlib.new(name, text.encode()).hexdigest()
    rendered = environment.get_template("probers.yaml.j2").render(
        __disruption_monitor_kinds=KINDS,
        __disruption_monitor_program="program",
        __disruption_monitor_config="{}",
        __disruption_monitor_config_map="monitor",
        __disruption_monitor_folder=FOLDER,
        __disruption_monitor_drain_seconds=5,
        disruption_monitor_namespace="monitor",
        disruption_monitor_image=IMAGE,
        disruption_monitor_image_pull_secrets=pull_secrets,
        disruption_monitor_port=9470,
    )
    return {each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in yaml.safe_load_all(rendered) if each}


SPECS = specs()


@pytest.fixture(params=KINDS)
def spec(request: pytest.FixtureRequest) -> dict[str, Any]:
    return SPECS[f"probe-{request.param}"]


def test_it_has_no_token(spec: dict[str, Any]) -> None:
    assert spec["automountServiceAccountToken"] is False and "serviceAccountName" not in spec


def test_its_image_is_pulled_by_the_secrets_that_are_named_and_by_none_else(spec: dict[str, Any]) -> None:
    assert "imagePullSecrets" not in spec
    assert {json.dumps(each["imagePullSecrets"]) for each in specs("regcred", "mirror").values()} == {'[{"name": "regcred"}, {"name": "mirror"}]'}


def test_it_has_no_privileges(spec: dict[str, Any]) -> None:
    (container,) = spec["containers"]
    assert "initContainers" not in spec
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}
    assert container["resources"]["limits"]["memory"]


def test_it_sees_of_the_host_only_a_folder_of_its_own(spec: dict[str, Any]) -> None:
    assert not {"hostPID", "hostIPC"} & spec.keys()
    assert [volume["hostPath"]["path"] for volume in spec["volumes"] if "hostPath" in volume] == [FOLDER]


def test_only_the_one_that_probes_from_the_host_is_in_its_network() -> None:
    assert [name for name, spec in SPECS.items() if spec.get("hostNetwork")] == ["probe-host"]


def test_its_image_may_be_named_by_its_digest(spec: dict[str, Any]) -> None:
    assert spec["containers"][0]["image"] == IMAGE
