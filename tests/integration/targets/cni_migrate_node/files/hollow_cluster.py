# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real control plane with hollow nodes, on the loopback of one machine.

etcd, kube-apiserver, kube-controller-manager and kube-scheduler are the real programs, so evictions, disruption budgets,
DaemonSets and preconditions behave as they do anywhere. Only the nodes are played: a pod on one gets a status and an end,
but no process. A hollow node has a boot ID, a CNI that only a boot changes, and a Cilium agent that writes the CNI
configuration its label asks for.

Usage: ``hollow_cluster.py --binaries FOLDER --folder FOLDER``. Runs until ``FOLDER/stop`` appears; ``FOLDER/ready`` says that
the nodes are up, ``FOLDER/kubeconfig`` is the way in. Creating ``FOLDER/reboot-NODE`` reboots a node, ``FOLDER/pause`` stops
the API server for as long as it exists.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

NODES = ("k8s-w1", "k8s-w2")
CONTROLLERS = "deployment-controller,replicaset-controller,daemonset-controller,disruption-controller,serviceaccount-controller"
CILIUM_LABEL = "io.cilium.migration/cilium-default"
ADDRESSES = {"flannel": "10.244.1", "cilium": "10.245.1"}

JSON = dict[str, Any]


def free_port() -> int:
    """A TCP port nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def now() -> str:
    """This moment as the API writes it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class ControlPlane:
    """The four programs, their keys and their logs, in one folder."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries, self._folder = binaries, folder
        self._etcd, self._etcd_peer, self._api = free_port(), free_port(), free_port()
        self._programs: dict[str, subprocess.Popen[bytes]] = {}
        self.kubeconfig = folder / "kubeconfig"

    def __enter__(self) -> ControlPlane:
        try:
            self._start_all()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        for name in reversed(list(self._programs)):
            self.stop(name)

    def _start_all(self) -> None:
        folder = self._folder
        self.openssl("genrsa", "-out", str(folder / "sa.key"), "2048")
        token = os.urandom(16).hex()
        self._secret(folder / "tokens.csv", f"{token},admin,admin,system:masters\n")
        cluster = {"server": f"https://127.0.0.1:{self._api}", "certificate-authority": str(folder / "certs" / "apiserver.crt")}
        self._secret(
            self.kubeconfig,
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "hollow",
                    "clusters": [{"name": "hollow", "cluster": cluster}],
                    "users": [{"name": "admin", "user": {"token": token}}],
                    "contexts": [{"name": "hollow", "context": {"cluster": "hollow", "user": "admin"}}],
                }
            ),
        )
        self._start(
            "etcd",
            {
                "data-dir": folder / "etcd-data",
                "listen-client-urls": f"http://127.0.0.1:{self._etcd}",
                "advertise-client-urls": f"http://127.0.0.1:{self._etcd}",
                "listen-peer-urls": f"http://127.0.0.1:{self._etcd_peer}",
                "initial-advertise-peer-urls": f"http://127.0.0.1:{self._etcd_peer}",
                "initial-cluster": f"default=http://127.0.0.1:{self._etcd_peer}",
                "unsafe-no-fsync": "true",
            },
        )
        self.start_api()
        self._start(
            "kube-controller-manager",
            {
                "kubeconfig": self.kubeconfig,
                "controllers": CONTROLLERS,
                "leader-elect": "false",
                "secure-port": 0,
                "service-account-private-key-file": folder / "sa.key",
            },
        )
        self._start("kube-scheduler", {"kubeconfig": self.kubeconfig, "leader-elect": "false", "secure-port": 0})

    def start_api(self) -> None:
        """Start the API server and wait until it is ready."""
        self._start(
            "kube-apiserver",
            {
                "etcd-servers": f"http://127.0.0.1:{self._etcd}",
                "bind-address": "127.0.0.1",
                "secure-port": self._api,
                "cert-dir": self._folder / "certs",
                "token-auth-file": self._folder / "tokens.csv",
                "authorization-mode": "RBAC",
                "service-cluster-ip-range": "10.96.0.0/16",
                "service-account-issuer": "https://kubernetes.default.svc",
                "service-account-key-file": self._folder / "sa.key",
                "service-account-signing-key-file": self._folder / "sa.key",
                "kubelet-preferred-address-types": "InternalIP",
            },
        )
        pool = urllib3.PoolManager(cert_reqs="CERT_NONE")
        urllib3.disable_warnings()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                if pool.request("GET", f"https://127.0.0.1:{self._api}/readyz", retries=False).status == 200:
                    return
            time.sleep(0.25)
        raise RuntimeError(f"kube-apiserver is not ready, see {self._folder}/kube-apiserver.log")

    def stop(self, name: str) -> None:
        """End one of the programs."""
        process = self._programs.pop(name)
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self, name: str, options: dict[str, object]) -> None:
        with open(self._folder / f"{name}.log", "ab") as log:
            argv = [str(self._binaries / name), *(f"--{option}={value}" for option, value in options.items())]
            self._programs[name] = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    @staticmethod
    def openssl(*arguments: str) -> None:
        """Run openssl, quietly."""
        subprocess.run(("openssl", *arguments), check=True, capture_output=True)

    @staticmethod
    def _secret(path: Path, text: str) -> None:
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")


class HollowNode:
    """The kubelet's side of one node, and the Cilium agent's."""

    def __init__(self, core: Any, name: str, log_port: int) -> None:
        self._core, self._name, self._log_port = core, name, log_port
        self._serial = itertools.count(1)
        self._boots = 1
        self._conflist = self.cni = "flannel"
        self._down_until = 0.0
        self._agents: dict[str, tuple[float, bool]] = {}

    def register(self) -> None:
        """Create the Node, Ready and without the taint that admission gives to a new one."""
        self._core.create_node({"metadata": {"name": self._name, "labels": {"kubernetes.io/hostname": self._name}}}, _preload_content=False)
        self._core.patch_node(self._name, {"spec": {"taints": None}}, _preload_content=False)
        self._report(ready=True)

    def reboot(self) -> None:
        """Go down in 2 s, and come back with a new boot ID 3 s later."""

        def down_and_up() -> None:
            time.sleep(2)
            self._down_until = time.monotonic() + 3
            self._report(ready=False)
            time.sleep(3)
            self._boots += 1
            self.cni = self._conflist
            self._report(ready=True)
            time.sleep(1)
            self._agents.clear()

        threading.Thread(target=down_and_up, daemon=True).start()

    def sync(self) -> None:
        """One round of the kubelet: bring each pod bound to the node a step further."""
        if time.monotonic() < self._down_until:
            return
        for pod in self._json(self._core.list_pod_for_all_namespaces, field_selector=f"spec.nodeName={self._name}")["items"]:
            try:
                self._sync_pod(pod)
            except ApiException as exc:
                if exc.status not in (404, 409):
                    raise

    def _sync_pod(self, pod: JSON) -> None:
        metadata, labels = pod["metadata"], pod["metadata"].get("labels") or {}
        name, namespace, uid = metadata["name"], metadata["namespace"], metadata["uid"]
        if "deletionTimestamp" in metadata:
            gone = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
            self._core.delete_namespaced_pod(name, namespace, body=gone, _preload_content=False)
        elif labels.get("k8s-app") == "cilium":
            self._sync_agent(pod)
        elif "podIP" not in pod["status"]:
            phase = "Succeeded" if "cni-migration.netops/verify" in labels else "Running"
            self._set_status(pod, phase, ready=phase == "Running", container=f"hollow://{uid}")

    def _sync_agent(self, pod: JSON) -> None:
        """An agent reads its node's label when it starts, is Ready 2 s later, and writes the CNI configuration then."""
        uid = pod["metadata"]["uid"]
        if uid not in self._agents:
            labels = self._json(self._core.read_node, self._name)["metadata"]["labels"]
            self._agents[uid] = (time.monotonic() + 2, labels.get(CILIUM_LABEL) == "true")
            self._set_status(pod, "Running", ready=False, container=f"hollow://{uid}-{next(self._serial)}")
        elif time.monotonic() > self._agents[uid][0] and not any(c["ready"] for c in pod["status"].get("containerStatuses") or []):
            if self._agents[uid][1]:
                self._conflist = "cilium"
            self._set_status(pod, "Running", ready=True, container=pod["status"]["containerStatuses"][0]["containerID"])

    def write_flannel_conflist(self) -> None:
        """What the role does on a node that goes back."""
        self._conflist = "flannel"

    def _set_status(self, pod: JSON, phase: str, *, ready: bool, container: str) -> None:
        name, truth = pod["spec"]["containers"][0]["name"], "True" if ready else "False"
        state = {"running": {"startedAt": now()}} if phase == "Running" else {"terminated": {"exitCode": 0, "finishedAt": now(), "startedAt": now()}}
        status = {
            "phase": phase,
            "podIP": f"{ADDRESSES[self.cni]}.{next(self._serial) % 250 + 2}",
            "startTime": now(),
            "conditions": [{"type": kind, "status": truth, "lastTransitionTime": now()} for kind in ("Ready", "ContainersReady")],
            "containerStatuses": [
                {"name": name, "ready": ready, "restartCount": 0, "image": "none", "imageID": "none", "containerID": container, "state": state},
            ],
        }
        self._core.patch_namespaced_pod_status(pod["metadata"]["name"], pod["metadata"]["namespace"], {"status": status}, _preload_content=False)

    def _report(self, *, ready: bool) -> None:
        info = dict.fromkeys(
            (
                "architecture",
                "containerRuntimeVersion",
                "kernelVersion",
                "kubeProxyVersion",
                "kubeletVersion",
                "machineID",
                "operatingSystem",
                "osImage",
                "systemUUID",
            ),
            "hollow",
        )
        status = {
            "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"},
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._log_port}},
            "nodeInfo": {**info, "bootID": f"boot-{self._name}-{self._boots}"},
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True" if ready else "False",
                    "reason": "Hollow",
                    "message": "",
                    "lastHeartbeatTime": now(),
                    "lastTransitionTime": now(),
                }
            ],
        }
        while True:
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                self._core.patch_node_status(self._name, {"status": status}, _preload_content=False)
                return
            time.sleep(0.2)  # like a kubelet, until the API server is back

    @staticmethod
    def _json(call: Any, *args: Any, **kwargs: Any) -> JSON:
        return json.loads(call(*args, _preload_content=False, **kwargs).data)


def serve_logs(core: Any, folder: Path, port: int) -> None:
    """The one request of a kubelet's server that is asked for: what a pod wrote. A verification pod says ``ok`` and its address."""

    class Logs(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _empty, _kind, namespace, name, _container = self.path.partition("?")[0].split("/")
            pod = json.loads(core.read_namespaced_pod(name, namespace, _preload_content=False).data)
            body = f"ok {pod['status']['podIP']}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            """Keep quiet."""

    key, certificate = str(folder / "kubelet.key"), str(folder / "kubelet.crt")
    ControlPlane.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=hollow", "-days", "2", "-keyout", key, "-out", certificate)
    server = ThreadingHTTPServer(("127.0.0.1", port), Logs)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def consume(path: Path) -> bool:
    """True when the file existed; it does not any more."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
        return True
    return False


def main() -> None:
    """Run until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ControlPlane(arguments.binaries, folder) as control_plane:
        settings: Any = client.Configuration()
        config.load_kube_config(str(control_plane.kubeconfig), client_configuration=settings)
        core, port = client.CoreV1Api(client.ApiClient(settings)), free_port()
        serve_logs(core, folder, port)
        nodes = {name: HollowNode(core, name, port) for name in NODES}
        for node in nodes.values():
            node.register()
        (folder / "ready").touch()
        while not (folder / "stop").exists():
            if (folder / "pause").exists():
                control_plane.stop("kube-apiserver")
                while (folder / "pause").exists():
                    time.sleep(0.2)
                control_plane.start_api()
            for name, node in nodes.items():
                if consume(folder / f"flannel-{name}"):
                    node.write_flannel_conflist()
                if consume(folder / f"reboot-{name}"):
                    node.reboot()
                with contextlib.suppress(urllib3.exceptions.HTTPError):
                    node.sync()
            time.sleep(0.2)


if __name__ == "__main__":
    main()
