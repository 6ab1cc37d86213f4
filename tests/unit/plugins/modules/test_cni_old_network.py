# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module over an API that keeps objects, deletes them and is away at times; and what it sends to the real client."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "module_utils"))

from old_world import REMEMBERED, WANTED, Api, Killed, old_world, release_record

from ansible_collections.netops.cni_migration.plugins.module_utils import cluster, old_network
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_objects import ClusterObjects
from ansible_collections.netops.cni_migration.plugins.module_utils.waiting import TimedOut
from ansible_collections.netops.cni_migration.plugins.modules import cni_old_network

NAMES = [each.rpartition(" ")[2].rpartition("/")[2] for each in REMEMBERED]
SECRET = ("Secret", "kube-system", "cni-migration-old-network")


def remember(api: Api, *, check_mode: bool = False) -> dict[str, Any]:
    return cni_old_network.remember(api, WANTED, check_mode=check_mode)  # type: ignore[arg-type]


def restore(api: Api, *, check_mode: bool = False, timeout: float = 60) -> dict[str, Any]:
    return cni_old_network.restore(api, api, timeout, check_mode=check_mode)  # type: ignore[arg-type]


def after_an_ending() -> Api:
    api = Api(old_world())
    remember(api)
    api.lose(*NAMES, "default", "kube-root-ca.crt")
    assert list(api.objects) == [SECRET]
    api.writes.clear()
    return api


def contents(api: Api) -> dict[Any, Any]:
    """The objects without what the API server keeps for itself."""
    return {key: old_network.stripped(item) for key, item in api.objects.items()}


def test_what_was_deleted_comes_back_as_it_was() -> None:
    api = after_an_ending()
    done = restore(api)
    assert done["created"] == done["objects"] == REMEMBERED and done["changed"]
    before = {key: item for key, item in contents(Api(old_world())).items() if key[2] not in ("default", "kube-root-ca.crt")}
    assert {key: item for key, item in contents(api).items() if key != SECRET} == before
    assert done["diff"] == {"before": {"there": []}, "after": {"there": REMEMBERED}}


def test_the_second_time_nothing_changes() -> None:
    api = Api(old_world())
    assert remember(api)["changed"] and api.writes == ["create Secret cni-migration-old-network"]
    assert not remember(api)["changed"] and len(api.writes) == 1
    api = after_an_ending()
    restore(api)
    api.writes.clear()
    assert restore(api)["changed"] is False and restore(api)["created"] == [] and api.writes == []


@pytest.mark.parametrize("of", ["remembered", "restored"])
def test_check_mode_tells_the_same_and_writes_nothing(of: str) -> None:
    act, make = (remember, lambda: Api(old_world())) if of == "remembered" else (restore, after_an_ending)
    api = make()
    assert act(api, check_mode=True) == act(make()) and api.writes == []


def test_what_it_returns_is_documented() -> None:
    for done in (remember(Api(old_world())), restore(after_an_ending())):
        assert sorted(name for name in done if name not in ("changed", "diff")) == sorted(yaml.safe_load(cni_old_network.RETURN))


def test_a_cluster_without_an_old_network_is_not_remembered() -> None:
    api = Api()
    assert remember(api)["changed"] is False and api.writes == []
    assert restore(api) == {"changed": False, "objects": [], "created": [], "diff": {"before": {"there": []}, "after": {"there": []}}}


def test_an_ending_that_was_killed_keeps_the_memory_it_made() -> None:
    api = Api(old_world())
    remember(api)
    api.lose("kube-flannel-ds", "flannel")
    api.end("Namespace", "", "kube-flannel", 30)
    assert remember(api)["changed"] is False
    assert remember(api)["objects"] == REMEMBERED
    assert restore(api)["created"][0] == "Namespace kube-flannel"


def test_a_changed_network_is_remembered_anew() -> None:
    api = Api(old_world())
    remember(api)
    api.objects["ConfigMap", "kube-system", "kube-proxy"]["data"] = {"config.conf": "mode: ipvs"}
    assert remember(api)["changed"] and api.writes[-1] == "replace Secret cni-migration-old-network"
    api.lose("kube-proxy")
    restore(api)
    assert api.objects["ConfigMap", "kube-system", "kube-proxy"]["data"] == {"config.conf": "mode: ipvs"}


def test_what_is_there_is_left_alone_and_what_is_going_is_waited_for() -> None:
    api = Api(old_world())
    remember(api)
    api.lose("kube-flannel-cfg")
    api.end("DaemonSet", "kube-system", "kube-proxy", 20)
    done = restore(api)
    assert done["created"] == ["ConfigMap kube-flannel/kube-flannel-cfg", "DaemonSet kube-system/kube-proxy"]
    assert 20 <= api.now < 25 and api.objects["DaemonSet", "kube-system", "kube-proxy"]["metadata"]["creationTimestamp"] == "now"


def test_a_record_of_an_uninstall_that_was_killed_is_replaced() -> None:
    api = Api(old_world())
    remember(api)
    going = release_record("uninstalling")
    api.objects["Secret", "kube-flannel", going["metadata"]["name"]] = going
    assert restore(api, check_mode=True)["created"] == restore(api)["created"] == ["Secret kube-flannel/sh.helm.release.v1.flannel.v1"]
    assert api.objects["Secret", "kube-flannel", going["metadata"]["name"]]["metadata"]["labels"]["status"] == "deployed"


def test_what_never_goes_is_an_error_naming_it() -> None:
    api = Api(old_world())
    remember(api)
    api.end("Namespace", "", "kube-flannel", 1e9)
    with pytest.raises(TimedOut, match=r"Namespace kube-flannel is still being deleted \(waited 60 s\)"):
        restore(api)


def test_an_api_server_that_is_away_is_waited_for() -> None:
    api = after_an_ending()
    api.away_until = 20
    assert restore(api)["created"] == REMEMBERED
    api.away_until = api.now + 1e9
    with pytest.raises(TimedOut, match="the API server does not answer"):
        restore(api)


@pytest.mark.parametrize("write", range(1, len(REMEMBERED) + 1))
def test_a_kill_at_any_write_is_made_up_for(write: int) -> None:
    smooth, api = after_an_ending(), after_an_ending()
    restore(smooth)
    api.kill_at = write
    with pytest.raises(Killed):
        restore(api)
    api.kill_at = None
    assert restore(api)["created"] == REMEMBERED[write:]
    assert contents(api) == contents(smooth)


def test_a_node_without_a_range_stops_it_before_anything_is_created() -> None:
    api = after_an_ending()
    api.nodes[1]["spec"] = {}
    with pytest.raises(old_network.OldNetworkError, match=r"nothing was created: .* w2 has none in spec.podCIDR"):
        restore(api)
    assert api.writes == []


class Client:
    """Stands in for a generated API class that has what the real one has: a method records its arguments and gives the answer."""

    def __init__(self, real: type, answer: Any) -> None:
        self.real, self.answer = real, answer
        self.requests: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, method: str) -> Any:
        assert hasattr(self.real, method), f"the client has no {method}"

        def call(*args: Any, **kwargs: Any) -> Any:
            kwargs = {name: value for name, value in kwargs.items() if not name.startswith("_")}
            self.requests.append((method, args, kwargs))
            if isinstance(self.answer, Exception):
                raise self.answer
            return SimpleNamespace(data=json.dumps(self.answer).encode())

        return call


def connected(answer: Any) -> tuple[ClusterObjects, list[Client]]:
    client = pytest.importorskip("kubernetes").client
    made = ClusterObjects.__new__(ClusterObjects)
    stand_ins = [Client(real, answer) for real in (client.CoreV1Api, client.AppsV1Api, client.RbacAuthorizationV1Api)]
    made._core, made._apps, made._rbac = stand_ins
    return made, stand_ins


@pytest.mark.parametrize("item", [old_network.stripped(item) for item in old_world()], ids=lambda item: old_network.label(item))
def test_every_kind_is_written_as_its_client_takes_it(item: dict[str, Any]) -> None:
    made, stand_ins = connected({})
    kind, namespace, name = old_network.key(item)
    made.create_object(item)
    made.replace_object(item)
    made.get_object(kind, namespace, name)
    made.delete_object(kind, namespace, name, "u1")
    (requests,) = [stand_in.requests for stand_in in stand_ins if stand_in.requests]
    within = (namespace,) if namespace else ()
    verbs = [method.split("_")[0] for method, _args, _options in requests]
    assert verbs == ["create", "replace", "read", "delete"]
    assert [args for _method, args, _options in requests] == [(*within, item), (name, *within, item), (name, *within), (name, *within)]
    assert requests[-1][2] == {"body": {"preconditions": {"uid": "u1"}}}


def test_the_items_of_a_list_get_their_kind_and_nothing_is_found_where_nothing_is() -> None:
    made, _stand_ins = connected({"items": [{"metadata": {"name": "x"}}]})
    assert made.list_objects("DaemonSet", "kube-flannel") == [{"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "x"}}]
    exceptions = pytest.importorskip("kubernetes.client.exceptions")
    made, _stand_ins = connected(exceptions.ApiException(status=404, reason="Not Found"))
    assert made.get_object("ClusterRole", "", "flannel") is None
    made, _stand_ins = connected(exceptions.ApiException(status=403, reason="Forbidden"))
    with pytest.raises(cluster.ApiDenied):
        made.get_object("ClusterRole", "", "flannel")


class Exit(Exception):
    """The module ended."""


@pytest.mark.parametrize("state", ["remembered", "restored"])
def test_the_module_ends_in_the_words_of_the_error(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(**facts: Any) -> None:
        raise Exit(facts)

    params = {"state": state, "objects": WANTED, "kubeconfig": "config", "timeout": 0.0}
    module = SimpleNamespace(params=params, check_mode=False, exit_json=end, fail_json=end)
    api = Api(old_world())
    api.objects[SECRET] = {"kind": "Secret", "metadata": {}, "data": {}}
    monkeypatch.setattr(cni_old_network, "cluster_module", lambda options: module)
    monkeypatch.setattr(cni_old_network, "ClusterObjects", lambda kubeconfig: api)
    with pytest.raises(Exit) as ended:
        cni_old_network.main()
    assert "Secret kube-system/cni-migration-old-network does not hold the old network" in ended.value.args[0]["msg"]
