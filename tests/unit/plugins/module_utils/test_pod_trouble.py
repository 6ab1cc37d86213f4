# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a pod is given up. The shapes are those of a kubelet 1.33 with containerd 1.7."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils.pod_trouble import CRASHES, MESSAGE_LENGTH, PULL_SECONDS, PodWatch

IMAGE = "ghcr.io/nicolaka/netshoot:no-such-tag"
PULL_ERROR = (
    f'failed to pull and unpack image "{IMAGE}": failed to resolve reference "{IMAGE}": failed to do request: Head '
    '"https://ghcr.io/v2/nicolaka/netshoot/manifests/no-such-tag": dial tcp: lookup ghcr.io on 10.0.2.3:53: read udp: i/o timeout'
)
NOT_PULLED = {"reason": "ErrImagePull", "message": PULL_ERROR}
BACK_OFF = {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{IMAGE}": ErrImagePull: {PULL_ERROR}'}
ENDED = {
    "exitCode": 1,
    "reason": "Error",
    "message": 'time="2026-01-02T03:04:05Z" level=fatal msg="Unable to parse CIDR \'nonsense\': invalid CIDR address: nonsense" subsys=config\n',
    "startedAt": "2026-01-02T03:04:04Z",
    "finishedAt": "2026-01-02T03:04:05Z",
    "containerID": "containerd://c1",
}
DOWN = {"reason": "CrashLoopBackOff", "message": "back-off 1m20s restarting failed container=cilium-agent pod=cilium-x7k2p_kube-system(u)"}


def pod(waiting: dict[str, str] | None = None, restarts: int = 0, ended: dict[str, Any] | None = None, kind: str = "containerStatuses") -> dict[str, Any]:
    """A pod with one container that waits for something, or runs."""
    status = {
        "name": "cilium-agent",
        "image": IMAGE,
        "restartCount": restarts,
        "state": {"waiting": waiting} if waiting else {"running": {"startedAt": "2026-01-02T03:04:05Z"}},
        "lastState": {"terminated": ended} if ended else {},
    }
    return {"metadata": {"name": "cilium-x7k2p", "uid": "u"}, "spec": {"nodeName": "k8s-w1"}, "status": {"phase": "Running", kind: [status]}}


def watching(*pods: dict[str, Any]) -> PodWatch:
    """A watch that has seen the pods before they were restarted."""
    watch = PodWatch()
    for each in pods:
        kind = next(iter(each["status"].keys() - {"phase"}))
        watch.hopeless([{**each, "status": {kind: [{**each["status"][kind][0], "restartCount": 0, "state": {}}]}}], 0)
    return watch


@pytest.mark.parametrize("kind", ["containerStatuses", "initContainerStatuses"])
def test_a_container_that_ends_again_and_again_is_given_up_with_its_last_words(kind: str) -> None:
    ending = pod(DOWN, CRASHES, ENDED, kind)
    assert watching(ending).hopeless([ending], 0) == (
        "container cilium-agent of pod cilium-x7k2p on k8s-w1 was started 5 times and ended each time; the last time: Error, exit code 1: "
        "level=fatal msg=\"Unable to parse CIDR 'nonsense': invalid CIDR address: nonsense\" subsys=config"
    )


def test_a_container_that_was_found_down_gets_another_try() -> None:
    watch = PodWatch()
    assert watch.hopeless([pod(DOWN, 7, ENDED)], 0) == "", "what was wrong may have been mended"
    assert watch.hopeless([pod(None, 8, ENDED)], 100) == ""
    assert "was started 9 times" in watch.hopeless([pod(DOWN, 8, ENDED)], 101)


@pytest.mark.parametrize(
    "patient",
    [
        pod(DOWN, CRASHES - 1, ENDED),  # it may have started before the API server did
        pod(None, 20, ENDED),  # it runs now
        pod({"reason": "ContainerCreating"}),
        pod({"reason": "PodInitializing"}, CRASHES, ENDED),
        {"metadata": {"name": "p", "uid": "u"}, "spec": {}, "status": {}},
        {"metadata": {"name": "p", "uid": "u"}, "spec": {}},
    ],
)
def test_what_may_pass_is_waited_for(patient: dict[str, Any]) -> None:
    watch = watching(pod())
    assert watch.hopeless([patient], 0) == ""


def test_a_container_that_left_no_word_is_named_all_the_same() -> None:
    assert watching(pod()).hopeless([pod(DOWN, 9)], 0).endswith("was started 10 times and ended each time; the last time: no reason known")
    killed = {"exitCode": 137, "reason": "OOMKilled"}
    assert watching(pod()).hopeless([pod(DOWN, 9, killed)], 0).endswith("the last time: OOMKilled, exit code 137")


def test_of_a_long_message_the_end_is_told() -> None:
    told = watching(pod()).hopeless([pod(DOWN, 9, {**ENDED, "message": "goroutine 1 " * 100 + "the cause"})], 0)
    assert told.endswith("goroutine 1 the cause") and len(told) < MESSAGE_LENGTH + 150


def test_an_image_that_does_not_come_is_given_up_after_a_while() -> None:
    watch = PodWatch()
    for second, waiting in ((0, NOT_PULLED), (12, BACK_OFF), (30, NOT_PULLED), (PULL_SECONDS - 1, BACK_OFF)):
        assert watch.hopeless([pod(waiting)], second) == ""
    told = watch.hopeless([pod(BACK_OFF)], PULL_SECONDS)
    assert told.startswith(f"container cilium-agent of pod cilium-x7k2p on k8s-w1 has no image: {IMAGE} cannot be pulled: ImagePullBackOff ...")
    assert told.endswith("lookup ghcr.io on 10.0.2.3:53: read udp: i/o timeout")


def test_an_image_that_came_in_between_begins_anew() -> None:
    watch = PodWatch()
    watch.hopeless([pod(NOT_PULLED)], 0)
    watch.hopeless([pod()], 20)
    assert watch.hopeless([pod(NOT_PULLED)], PULL_SECONDS) == ""


def test_every_pod_in_trouble_is_named() -> None:
    other = {**pod(DOWN, 9, ENDED), "metadata": {"name": "cilium-2", "uid": "v"}}
    assert watching(pod(), other).hopeless([pod(DOWN, 9, ENDED), pod(), other], 0).count("was started 10 times") == 2


def test_of_a_stack_the_cause_is_told() -> None:
    stack = "goroutine 1 [running]:\n" + "github.com/cilium/cilium/pkg/option.(*DaemonConfig).Populate(0xc000)\n\t/go/src/config.go:3204 +0x1\n" * 9
    message = f"level=info msg=started\npanic: Unable to parse CIDR 'nonsense'\n\n{stack}"
    told = watching(pod()).hopeless([pod(DOWN, 9, {**ENDED, "message": message})], 0)
    assert "exit code 1: panic: Unable to parse CIDR 'nonsense' goroutine 1" in told and told.endswith("...")
