# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module makes of its options, and what it tells. What it does is tested with the keeper."""

from __future__ import annotations

import os
from typing import Any

import pytest
import yaml

from ansible_collections.netops.cni_migration.plugins.module_utils import cluster
from ansible_collections.netops.cni_migration.plugins.module_utils.lease import Run
from ansible_collections.netops.cni_migration.plugins.module_utils.lease_keeper import Refused, Wish
from ansible_collections.netops.cni_migration.plugins.module_utils.processes import NoSuchRun, Processes
from ansible_collections.netops.cni_migration.plugins.module_utils.waiting import TimedOut
from ansible_collections.netops.cni_migration.plugins.modules import cni_migration_lease

HOLDER = "ann@bastion/6d0a5ac5.4026531836/4242/118734"


class Exit(Exception):
    """The module ended."""


class Module:
    """Stands in for AnsibleModule, with the defaults that the documentation names."""

    def __init__(self, spec: dict[str, Any], given: dict[str, Any]) -> None:
        self.spec = spec
        self.params = {"kubeconfig": "config", **{name: option.get("default") for name, option in spec.items()}, **given}
        self.check_mode = False

    def exit_json(self, **facts: Any) -> None:
        raise Exit({"failed": False, **facts})

    def fail_json(self, **facts: Any) -> None:
        raise Exit({"failed": True, **facts})


class Keeper:
    """Stands in for the keeper: remembers what is wanted of it, and answers or fails."""

    made: Keeper
    answer: dict[str, Any] = {"changed": True, "holder": HOLDER}  # noqa: RUF012
    error: Exception | None = None

    def __init__(self, _api: object, _clock: object, _processes: object, me: Run, wish: Wish) -> None:
        self.me, self.wish, self.asked = me, wish, ""
        Keeper.made = self

    def hold(self) -> dict[str, Any]:
        self.asked = "hold"
        if self.error is not None:
            raise self.error
        return self.answer

    def release(self) -> dict[str, Any]:
        self.asked = "release"
        return {"changed": True, "holder": ""}


def run(monkeypatch: pytest.MonkeyPatch, **given: Any) -> dict[str, Any]:
    monkeypatch.setattr(cni_migration_lease, "cluster_module", lambda spec: Module(spec, {"_pid": os.getpid(), **given}))
    monkeypatch.setattr(cni_migration_lease, "LeaseCluster", lambda kubeconfig: kubeconfig)
    monkeypatch.setattr(cni_migration_lease, "Keeper", Keeper)
    with pytest.raises(Exit) as ended:
        cni_migration_lease.main()
    facts: dict[str, Any] = ended.value.args[0]
    return facts


def test_the_options_are_as_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    documented = yaml.safe_load(cni_migration_lease.DOCUMENTATION)["options"]
    specs: list[dict[str, Any]] = []

    def take(spec: dict[str, Any]) -> Module:
        specs.append(spec)
        return Module(spec, {"state": "held", "_pid": os.getpid()})

    monkeypatch.setattr(cni_migration_lease, "cluster_module", take)
    monkeypatch.setattr(cni_migration_lease, "LeaseCluster", lambda kubeconfig: kubeconfig)
    monkeypatch.setattr(cni_migration_lease, "Keeper", Keeper)
    with pytest.raises(Exit):
        cni_migration_lease.main()
    kept = ("type", "required", "choices", "default")
    assert specs == [{name: {key: option[key] for key in kept if key in option} for name, option in documented.items()}]


def test_it_is_held_for_the_process_that_the_action_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, state="held", renew=True, take_over="x") == {"failed": False, "changed": True, "holder": HOLDER}
    assert Keeper.made.asked == "hold"
    assert Keeper.made.me == Processes().run(os.getpid())
    assert Keeper.made.wish == Wish(duration=3600, renew=True, take_over="x", timeout=120, check_mode=False)


def test_it_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, state="released")["holder"] == ""
    assert Keeper.made.asked == "release"


@pytest.mark.parametrize(
    "error",
    [
        Refused("Another run is changing this cluster", holder=HOLDER, changed=False),
        cluster.ClusterError("get lease kube-system/cni-migration: 422 no", status=422),
        TimedOut("the API server does not answer (waited 120 s)"),
        NoSuchRun("process 1, for which the Lease is wanted, does not live on this machine"),
    ],
)
def test_an_error_is_told_with_its_facts(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Keeper, "error", error)
    assert run(monkeypatch, state="held") == {"failed": True, "msg": str(error), **getattr(error, "facts", {})}


def test_a_run_that_has_ended_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = run(monkeypatch, state="held", _pid=999_999_999)
    assert facts["failed"] and "process 999999999" in facts["msg"]
