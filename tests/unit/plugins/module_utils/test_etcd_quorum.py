# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a node may go, by what a real etcd 3.5.21 of three members answered, one of them with a fourth that joined, and by what follows from it."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils import etcd_quorum
from ansible_collections.netops.cni_migration.plugins.module_utils.etcd_quorum import Access, Etcd

RECORDED = json.loads((Path(__file__).parent / "fixtures" / "etcd-members.json").read_text(encoding="utf-8"))
MANIFEST = """
apiVersion: v1
kind: Pod
metadata:
  annotations:
    kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint: 192.168.10.100:6443
spec:
  containers:
  - command:
    - kube-apiserver
    - --enable-bootstrap-token-auth=true
    - --etcd-cafile=/etc/kubernetes/pki/etcd/ca.crt
    - --etcd-certfile=/etc/kubernetes/pki/apiserver-etcd-client.crt
    - --etcd-keyfile=/etc/kubernetes/pki/apiserver-etcd-client.key
    - --etcd-servers=https://127.0.0.1:2379
    - --etcd-servers-overrides=/events#https://127.0.0.1:4002
    - --service-cluster-ip-range=10.96.0.0/16
    image: registry.k8s.io/kube-apiserver:v1.33.2
"""


def etcd(recorded: str = "three", here: str = "cp-a", away: Collection[str] = (), size: int | None = None) -> Etcd:
    """What was recorded, or the first ``size`` members of it, seen from ``here``; those ``away`` do not answer."""
    members = etcd_quorum.listed(json.dumps(RECORDED[recorded]))[:size]
    return Etcd([replace(each, here=each.name == here, trouble="no answer" if each.name in away or not each.urls else "") for each in members])


def facts(seen: Etcd, *, spare: bool = True) -> list[str]:
    return [complaint.fact for complaint in etcd_quorum.complaints(seen, spare=spare)]


def test_where_etcd_is_stands_in_the_flags_of_the_api_server() -> None:
    keys = ("/etc/kubernetes/pki/etcd/ca.crt", "/etc/kubernetes/pki/apiserver-etcd-client.crt", "/etc/kubernetes/pki/apiserver-etcd-client.key")
    assert etcd_quorum.access(MANIFEST) == Access(["https://127.0.0.1:2379"], *keys)


def test_an_external_etcd_has_several_servers_and_perhaps_no_certificate() -> None:
    assert etcd_quorum.access('    - "--etcd-servers=http://192.0.2.1:2379,http://192.0.2.2:2379"\n') == Access(
        ["http://192.0.2.1:2379", "http://192.0.2.2:2379"]
    )
    assert etcd_quorum.access("    - kube-scheduler\n    # --etcd-servers=http://192.0.2.1:2379\n") is None


def test_members_are_listed_as_etcd_writes_them() -> None:
    first, *_others = etcd_quorum.listed(json.dumps(RECORDED["three"]))
    assert (f"{first.id:x}", first.name, first.urls, first.learner) == ("2c203883566e668b", "cp-a", ("https://127.0.7.1:32379",), False)


@pytest.mark.parametrize("answer", ["", "404 page not found", "[]", "{}", '{"members": []}'])
def test_what_is_no_list_is_an_error(answer: str) -> None:
    with pytest.raises(ValueError):
        etcd_quorum.listed(answer)


@pytest.mark.parametrize(
    ("status", "body", "trouble"),
    [
        (200, '{"health":"true","reason":""}', ""),
        (200, '{"health":"true"}', ""),  # older than 3.5
        (503, '{"health":"false","reason":"RAFT NO LEADER"}\n', "it answers 503: RAFT NO LEADER"),
        (503, '{"health":"false","reason":"ALARM NOSPACE"}\n', "it answers 503: ALARM NOSPACE"),
        (404, "404 page not found\n", "it answers 404: 404 page not found"),
        (200, "true", "it answers 200: true"),
        (503, "", "it answers 503"),
    ],
)
def test_health_is_what_the_member_says(status: int, body: str, trouble: str) -> None:
    assert etcd_quorum.trouble(status, body) == trouble


def test_a_node_may_go_when_the_others_are_a_quorum() -> None:
    seen = etcd()
    assert facts(seen) == []
    assert (seen.sound, seen.settled, seen.stacked, seen.quorum) == (True, True, True, 2)
    assert etcd_quorum.summary(seen) == "all 3 members of etcd are healthy; 2 without this node, 2 are a quorum"


@pytest.mark.parametrize("away", ["cp-a", "cp-b", "cp-c"])
def test_a_member_that_is_not_healthy_keeps_every_node(away: str) -> None:
    seen = etcd(away=[away])
    [complaint] = etcd_quorum.complaints(seen, spare=True)
    assert complaint.fact.startswith(f"member {away} of etcd (https://127.0.7.") and complaint.fact.endswith(" is not healthy: no answer")
    assert complaint.advice.startswith("bring it back first")
    assert facts(seen, spare=False) == [complaint.fact]
    assert not seen.settled


def test_a_forgotten_member_is_named_as_etcdctl_takes_it() -> None:
    [complaint] = etcd_quorum.complaints(etcd(away=["cp-c"]), spare=True)
    assert complaint.advice.endswith("etcdctl member remove e1ecd63386a2cf17")


def test_a_learner_calls_itself_healthy_and_has_no_vote() -> None:
    assert facts(etcd("learner")) == ["member cp-d of etcd (https://127.0.7.4:32379) is a learner, which has no vote yet"]


def test_a_member_that_was_never_started_counts_all_the_same() -> None:
    seen = etcd("unstarted")
    assert facts(seen) == ["member 260df50a16c6e682 of etcd was never started"]
    assert (seen.quorum, seen.sound) == (3, False)


def test_of_two_members_none_can_be_spared_but_both_may_stay() -> None:
    seen = etcd(size=2)
    [complaint] = etcd_quorum.complaints(seen, spare=True)
    assert complaint.fact == "etcd has 2 members: without this node 1 is left, which is no quorum, and no API server answers"
    assert "cilium_migration_switch: in_place" in complaint.advice
    assert facts(seen, spare=False) == []
    assert seen.settled, "waiting makes no third one"


def test_a_single_member_goes_with_its_node() -> None:
    seen = etcd(size=1)
    assert facts(seen) == []
    assert etcd_quorum.summary(seen) == "the only member of etcd is on this node, and healthy"


def test_an_etcd_elsewhere_spares_the_node_whatever_it_is_like() -> None:
    seen = etcd(here="", away=["cp-b"])
    assert facts(seen) == []
    assert (seen.stacked, seen.settled) == (False, True)
    urls = "https://127.0.7.1:32379, https://127.0.7.2:32379, https://127.0.7.3:32379"
    assert etcd_quorum.summary(seen) == f"no member of etcd is on this node; 2 of 3 at {urls} are healthy"


def test_an_etcd_that_cannot_be_asked_spares_nobody() -> None:
    seen = Etcd(trouble="there is no /etc/kubernetes/manifests/kube-apiserver.yaml")
    assert facts(seen, spare=False) == ["etcd cannot be asked: there is no /etc/kubernetes/manifests/kube-apiserver.yaml"]
    assert (seen.settled, seen.stacked) == (False, False)
