# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module over an API that keeps objects, deletes them and is away at times; and what it sends to the real client."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
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


class Server:
    """An API server that keeps whatever it is sent, at whichever path, and answers the second time that there is one already."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.asked: list[tuple[str, str, Any]] = []

    def answer(self, verb: str, path: str, body: Any) -> tuple[int, Any]:
        self.asked.append((verb, path, body))
        if path.endswith("/forbidden"):
            return 403, {"message": "not for you"}
        if verb == "GET" and path in PATHS.values():
            items = [item for key, item in self.objects.items() if key.rpartition("/")[0] == path]
            return 200, {"items": [{name: value for name, value in item.items() if name not in ("kind", "apiVersion")} for item in items]}
        if verb == "POST":
            path = f"{path}/{body['metadata']['name']}"
            if path in self.objects:
                return 409, {"message": "already exists", "reason": "AlreadyExists"}
        if verb in ("POST", "PUT"):
            self.objects[path] = body
        found = self.objects.pop(path, None) if verb == "DELETE" else self.objects.get(path)
        return (200, found) if found else (404, {"message": "not found", "reason": "NotFound"})


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[ClusterObjects, Server]]:
    """The real client at such a server."""
    pytest.importorskip("kubernetes")
    api = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            status, answer = api.answer(self.command, self.path.partition("?")[0], json.loads(self.rfile.read(length)) if length else None)
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_DELETE = do

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing is logged."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    config = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **config}), encoding="utf-8")
    yield ClusterObjects(str(tmp_path / "kubeconfig")), api
    server.shutdown()
    server.server_close()


PATHS = {
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": "/api/v1/namespaces/kube-flannel/serviceaccounts",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "ConfigMap": "/api/v1/namespaces/kube-flannel/configmaps",
    "Secret": "/api/v1/namespaces/kube-flannel/secrets",
    "DaemonSet": "/apis/apps/v1/namespaces/kube-flannel/daemonsets",
}


@pytest.mark.parametrize("kind", PATHS)
def test_every_kind_goes_to_the_api_server_as_it_is(kind: str, served: tuple[ClusterObjects, Server]) -> None:
    api, server = served
    item = next(old_network.stripped(each) for each in old_world() if each["kind"] == kind and each["metadata"].get("namespace") != "kube-system")
    # What this version of the client does not know, and what it would write in another way.
    item.update(unheardOf={"maxUnavailable": "10%", "since": None, "number": 1.5}, empty={})
    name, namespace = item["metadata"]["name"], item["metadata"].get("namespace", "")
    api.create_object(item)
    assert server.asked[-1] == ("POST", PATHS[kind], item)
    assert api.get_object(kind, namespace, name) == item
    with pytest.raises(cluster.Conflict, match=f"create {kind} {name}.* 409 already exists"):
        api.create_object(item)
    if namespace:
        assert api.list_objects(kind, namespace) == [item]
    changed = {**item, "empty": {"now": "not"}}
    api.replace_object(changed)
    assert server.asked[-1] == ("PUT", f"{PATHS[kind]}/{name}", changed)
    api.delete_object(kind, namespace, name, "u1")
    assert server.asked[-1] == ("DELETE", f"{PATHS[kind]}/{name}", {"preconditions": {"uid": "u1"}})
    assert api.get_object(kind, namespace, name) is None


def test_what_is_refused_is_told_apart_from_what_is_not_there(served: tuple[ClusterObjects, Server]) -> None:
    with pytest.raises(cluster.ApiDenied, match="get Secret kube-system/forbidden: 403 not for you"):
        served[0].get_object("Secret", "kube-system", "forbidden")
    with pytest.raises(cluster.NotFound):
        served[0].delete_object("Secret", "kube-system", "gone", "u1")


def test_a_memory_survives_the_real_client(served: tuple[ClusterObjects, Server]) -> None:
    api, server = served
    for item in old_world():
        server.objects[f"{PATHS[item['kind']].replace('kube-flannel', item['metadata'].get('namespace', ''))}/{item['metadata']['name']}"] = item
    assert cni_old_network.remember(api, WANTED, check_mode=False)["objects"] == REMEMBERED
    before = cni_old_network.read_memory(api)
    for path in [path for path in server.objects if not path.endswith(SECRET[2])]:
        del server.objects[path]
    api.list_nodes = list  # type: ignore[method-assign]
    assert cni_old_network.restore(api, Api(), 10, check_mode=False)["created"] == REMEMBERED  # type: ignore[arg-type]
    assert [api.get_object(*old_network.key(item)) for item in before] == before


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
