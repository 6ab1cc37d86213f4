# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands in containers, over the same client as :mod:`cluster`."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Sequence
from multiprocessing import TimeoutError as PoolTimeout
from multiprocessing.pool import ThreadPool
from typing import Any, Union

with contextlib.suppress(ImportError):  # reported by the modules, see cluster.HAS_KUBERNETES
    from kubernetes import client
    from kubernetes.client.exceptions import ApiException
    from kubernetes.stream import stream
    from kubernetes.stream.ws_client import ERROR_CHANNEL
    from websocket import WebSocketException

from ansible_collections.netops.cni_migration.plugins.module_utils import cluster
from ansible_collections.netops.cni_migration.plugins.module_utils.cluster_reader import ClusterReader

THREADS = 16
GRACE_SECONDS = 0.5
"""How much longer a thread is waited for than it waits itself. One whose connection does not come about waits for ever."""


class CommandFailed(Exception):
    """A command could not be run, or did not end well; the message says why."""


Answer = Union[str, CommandFailed]


class ExecCluster(ClusterReader):
    """A cluster in whose containers commands are run."""

    def run_each(self, namespace: str, pods: Sequence[str], container: str, command: Sequence[str], seconds: float) -> dict[str, Answer]:
        """By pod, what ``command`` wrote to its standard output in ``container``, or why it could not be had in ``seconds``.

        As many as there are threads are asked at the same time. Raises :class:`cluster.ApiUnavailable` when there is no API server, and
        :class:`cluster.ApiDenied` when it does not allow this.
        """
        if not pods:
            return {}
        answers: dict[str, Answer | cluster.ClusterError] = {}
        deadline = time.monotonic() + math.ceil(len(pods) / THREADS) * (seconds + GRACE_SECONDS)
        # The client sets no limit to the time that a connection takes to come about. The threads of this pool, unlike those of
        # concurrent.futures, hold up neither its end nor that of the process.
        with ThreadPool(min(len(pods), THREADS)) as pool:
            pending = {pod: pool.apply_async(self._answer, (namespace, pod, container, command, seconds)) for pod in pods}
            for pod, result in pending.items():
                try:
                    answers[pod] = result.get(max(deadline - time.monotonic(), 0))
                except PoolTimeout:
                    answers[pod] = _no_answer(seconds)
        # Not before the threads are done: a process that ended while one is at work in the client would be aborted (by pydantic's Rust).
        return {pod: _told(answer) for pod, answer in answers.items()}

    def _answer(self, *request: Any) -> Answer | cluster.ClusterError:
        try:
            return self._run(*request)
        except (CommandFailed, cluster.ClusterError) as failure:
            return failure

    def _run(self, namespace: str, pod: str, container: str, command: Sequence[str], seconds: float) -> str:
        # A stream replaces a method of its ApiClient while it connects, so each has one of its own.
        api = client.CoreV1Api(client.ApiClient(self._client.configuration))
        streams: dict[str, Any] = {"stdin": False, "stdout": True, "stderr": True, "tty": False, "_preload_content": False}
        try:
            connection = stream(api.connect_get_namespaced_pod_exec, pod, namespace, container=container, command=list(command), **streams)
        except ApiException as exc:
            raise _refusal(f"run {command[0]} in", namespace, pod, exc) from exc
        try:
            connection.sock.settimeout(seconds)  # for what comes in parts
            connection.run_forever(timeout=seconds)
            if connection.is_open():
                raise _no_answer(seconds)
            return _output(connection)
        except (OSError, WebSocketException) as exc:
            raise CommandFailed(f"the connection ended before the command did: {exc}") from exc
        finally:
            connection.close(timeout=0)


def _told(answer: Answer | cluster.ClusterError) -> Answer:
    if isinstance(answer, cluster.ClusterError):
        raise answer
    return answer


def _no_answer(seconds: float) -> CommandFailed:
    return CommandFailed(f"no answer within {seconds:g} s")


def _output(connection: Any) -> str:
    """The standard output of a command whose connection has ended."""
    verdict = connection.read_channel(ERROR_CHANNEL)
    if not verdict:
        raise CommandFailed("the connection ended before the command did")
    status = json.loads(verdict)
    if status["status"] != "Success":
        raise CommandFailed(": ".join(filter(None, (status.get("message"), " ".join(connection.read_stderr(timeout=0).split())))))
    return connection.read_stdout(timeout=0)


def _refusal(what: str, namespace: str, pod: str, exc: Any) -> Exception:
    """Turn a connection that did not come about into what callers tell apart.

    The client keeps the API server's answer, if there was one, in the exception it replaces.
    """
    refused = exc.__context__
    if not getattr(refused, "status_code", None):
        return cluster.ApiUnavailable(f"{what} pod {namespace}/{pod}: {exc.reason}")
    answer = ApiException(status=refused.status_code, reason=refused.status_message)
    answer.body = (getattr(refused, "resp_body", None) or b"").decode("utf-8", "replace")
    error = cluster._from_status(f"{what} pod", f"{namespace}/{pod}", answer)
    return error if isinstance(error, cluster.ApiDenied) else CommandFailed(error.facts["answer"])
