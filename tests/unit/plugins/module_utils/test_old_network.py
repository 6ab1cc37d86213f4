# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is remembered of the old network, and how."""

from __future__ import annotations

import base64
import gzip
import json
import secrets
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from old_world import REMEMBERED, daemonset, old_world, release_record, thing

from ansible_collections.netops.cni_migration.plugins.module_utils import old_network

WORLD = old_network.to_remember([], old_world())


def labels(objects: list[dict[str, Any]]) -> list[str]:
    return [old_network.label(item) for item in objects]


def test_each_kind_comes_back_after_what_it_needs_and_what_the_control_plane_makes_is_left_to_it() -> None:
    assert labels(WORLD) == REMEMBERED


def test_an_object_is_remembered_without_what_was_true_of_the_old_one_only() -> None:
    found = daemonset("kube-proxy", "kube-system", labels={"k8s-app": "kube-proxy"}, annotations={"theirs": "kept"})
    found["metadata"].update(ownerReferences=[{"uid": "x"}], finalizers=["foregroundDeletion"], selfLink="/apis", deletionGracePeriodSeconds=0)
    assert old_network.stripped(found) == {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "kube-proxy", "namespace": "kube-system", "labels": {"k8s-app": "kube-proxy"}, "annotations": {"theirs": "kept"}},
        "spec": found["spec"],
    }
    assert "uid" in found["metadata"] and "status" in found, "the one that was found is not touched"


def test_the_memory_is_one_secret_that_can_be_read_again() -> None:
    made = old_network.secret(WORLD)
    assert (made["kind"], made["metadata"]) == ("Secret", {"namespace": "kube-system", "name": "cni-migration-old-network"})
    assert old_network.remembered(made) == WORLD
    assert made == old_network.secret(WORLD), "the same objects make the same Secret, whenever that is"
    assert len(made["data"]["objects"]) < 4000
    assert old_network.remembered(None) == []


@settings(max_examples=40, deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=9), st.none() | st.integers() | st.text(max_size=9) | st.lists(st.text(max_size=9))), max_size=4))
def test_any_objects_can_be_packed_and_read_again(objects: list[dict[str, Any]]) -> None:
    assert old_network.remembered(old_network.secret(objects)) == objects


def test_more_than_a_secret_takes_is_an_error_before_anything_is_deleted() -> None:
    huge = thing("ConfigMap", "huge", "kube-flannel", data={"x": secrets.token_hex(1_100_000)})
    with pytest.raises(old_network.OldNetworkError, match=r"1 objects have \d{7} bytes when compressed, and a Secret takes 1048576, so nothing was deleted"):
        old_network.secret([huge])


NOT_JSON = base64.b64encode(gzip.compress(b"{")).decode()


@pytest.mark.parametrize("data", [None, {}, {"objects": "%"}, {"objects": base64.b64encode(b"plain").decode()}, {"objects": NOT_JSON}, {"objects": None}])
def test_a_memory_that_cannot_be_read_is_an_error_naming_the_secret(data: Any) -> None:
    with pytest.raises(old_network.OldNetworkError, match="Secret kube-system/cni-migration-old-network does not hold the old network"):
        old_network.remembered({"data": data})


def test_a_cut_memory_is_an_error_too() -> None:
    text = base64.b64encode(gzip.compress(json.dumps(WORLD).encode())[:-20]).decode()
    with pytest.raises(old_network.OldNetworkError):
        old_network.remembered({"data": {"objects": text}})


def test_what_is_complete_is_remembered_anew() -> None:
    changed = old_world()
    changed[1]["data"] = {"config.conf": "mode: ipvs"}
    again = old_network.to_remember(WORLD, changed)
    assert labels(again) == REMEMBERED and again != WORLD
    more = thing("ConfigMap", "mine", "kube-flannel")
    assert "ConfigMap kube-flannel/mine" in labels(old_network.to_remember(WORLD, [*old_world(), more]))


@pytest.mark.parametrize("number", range(len(old_world())))
def test_what_is_incomplete_never_replaces_what_is_complete(number: int) -> None:
    left = [item for place, item in enumerate(old_world()) if place != number]
    after = old_network.to_remember(WORLD, left)
    assert labels(after) == REMEMBERED
    assert old_network.to_remember(WORLD, []) == WORLD


def test_what_is_on_its_way_out_counts_as_gone() -> None:
    changed = old_world()
    changed[0]["metadata"]["deletionTimestamp"] = "now"
    changed[0]["spec"] = {"half": "gone"}
    assert old_network.to_remember(WORLD, changed) == WORLD
    uninstalling = [release_record("uninstalling") if item["kind"] == "Secret" else item for item in old_world()]
    assert old_network.to_remember(WORLD, uninstalling) == WORLD
    assert "Secret" not in {item["kind"] for item in old_network.to_remember([], uninstalling)}


def test_tokens_of_service_accounts_are_not_remembered() -> None:
    token = thing("Secret", "flannel-token-x", "kube-flannel", type="kubernetes.io/service-account-token", data={"token": "c2VjcmV0"})
    assert labels(old_network.to_remember([], [*old_world(), token])) == REMEMBERED


@pytest.mark.parametrize(
    ("ranges", "without"),
    [
        (["10.244.0.0/24", "10.244.1.0/24"], []),
        (["10.244.0.0/24", None], ["w2"]),
        (["10.245.0.0/24", "10.244.1.0/24"], ["w1"]),
        (["fd00::/64", "10.0.0.0/8"], ["w1", "w2"]),
    ],
)
def test_flannel_needs_a_range_of_its_network_on_every_node(ranges: list[str | None], without: list[str]) -> None:
    nodes = [{"metadata": {"name": f"w{number}"}, "spec": {"podCIDR": each} if each else {}} for number, each in enumerate(ranges, 1)]
    assert old_network.without_range(WORLD, nodes) == without


def test_without_flannels_configuration_no_range_is_asked_for() -> None:
    assert old_network.without_range([], [{"metadata": {"name": "w1"}}]) == []
