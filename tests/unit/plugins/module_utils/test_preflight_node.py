# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from preflight_objects import CILIUM, FLANNEL, KUBE_PROXY, SETTINGS, all_facts, cluster, facts, lines, link, node

from ansible_collections.netops.cni_migration.plugins.module_utils import preflight, preflight_node

WITH_CILIUM = cluster(daemonsets=[FLANNEL, KUBE_PROXY, CILIUM])


def of_w1(check: str, *links: dict[str, Any], seen: Any = None, **changes: Any) -> list[tuple[str, str]]:
    """The lines of a check about k8s-w1, of which only this is not as it should be."""
    found = lines(seen, known=all_facts(k8s_w1=facts("k8s-w1", *links, **changes)), check=check)
    assert all(level == "ok" for level, name, _fact in found if name in ("k8s-ctr", "k8s-w2"))
    return [(level, fact) for level, name, fact in found if name == "k8s-w1"]


def test_a_node_that_is_not_ready_is_refused_in_the_words_of_its_condition() -> None:
    seen = cluster(nodes=[node("k8s-ctr"), node("k8s-w1", ready="Unknown"), node("k8s-w2")])
    assert of_w1("ready", seen=seen) == [("refused", "the node is not Ready: Kubelet stopped posting node status.")]
    bare = cluster(nodes=[node("k8s-ctr"), node("k8s-w1", conditions=[]), node("k8s-w2")])
    assert of_w1("ready", seen=bare) == [("refused", "the node is not Ready: its kubelet was never heard of")]
    assert of_w1("ready") == [("ok", "the node is Ready")]


@pytest.mark.parametrize("state", ["inactive", "failed", "activating"])
def test_a_kubelet_that_has_stopped_is_refused_before_the_api_server_notices(state: str) -> None:
    assert of_w1("kubelet", kubelet=state) == [("refused", f"systemd says that the kubelet is {state}")]


@pytest.mark.parametrize(("state", "fact"), [("active", "systemd says that the kubelet is active"), ("", "the node has no systemd to ask")])
def test_a_kubelet_that_runs_or_cannot_be_asked_for_is_ok(state: str, fact: str) -> None:
    assert of_w1("kubelet", kubelet=state) == [("ok", fact)]


SICK = {"fact": "member cp-c of etcd is not healthy: it answers 503", "advice": "bring it back first"}


def etcd(*complaints: dict[str, str], stacked: bool = True, trouble: str = "") -> dict[str, Any]:
    return {"complaints": list(complaints), "stacked": stacked, "members": [{"trouble": ""}, {"trouble": trouble}], "summary": "" if complaints else "seen"}


def test_only_a_node_of_the_control_plane_has_a_line_about_etcd() -> None:
    assert of_w1("etcd") == []
    assert of_w1("etcd", etcd=etcd()) == [("ok", "seen")]


def test_what_keeps_a_node_in_etcd_is_refused_before_the_node_is_touched() -> None:
    assert of_w1("etcd", etcd=etcd(SICK)) == [("refused", SICK["fact"])]
    seen = cluster(nodes=[node("k8s-ctr"), node("k8s-w1", state="switched"), node("k8s-w2")])
    assert of_w1("etcd", seen=seen, etcd=etcd(SICK)) == [("warning", SICK["fact"])]


def test_an_etcd_elsewhere_that_is_not_whole_is_said() -> None:
    assert of_w1("etcd", etcd=etcd(stacked=False)) == [("ok", "seen")]
    assert of_w1("etcd", etcd=etcd(stacked=False, trouble="no answer")) == [("warning", "seen")]


def test_a_node_that_somebody_cordoned_is_said() -> None:
    mine = node("k8s-w1")
    mine["spec"]["unschedulable"] = True
    assert of_w1("cordon", seen=cluster(nodes=[node("k8s-ctr"), mine, node("k8s-w2")])) == [("warning", "the node is cordoned")]
    assert of_w1("cordon") == [("ok", "the node takes pods")]


@pytest.mark.parametrize(
    ("files", "active", "plugins", "level", "fact"),
    [
        (
            ["10-flannel.conflist"],
            "10-flannel.conflist",
            ["flannel", "portmap"],
            "ok",
            "10-flannel.conflist (flannel, portmap) is the active CNI configuration",
        ),
        (["00-multus.conf"], "00-multus.conf", ["multus"], "refused", "00-multus.conf (multus) is the active CNI configuration"),
        (["05-x.conf"], "05-x.conf", [], "refused", "05-x.conf (cannot be understood) is the active CNI configuration"),
        ([], "", [], "refused", "no CNI configuration is active"),
        (
            ["10-flannel.conflist.cilium_bak"],
            "",
            [],
            "refused",
            "no CNI configuration is active; 10-flannel.conflist.cilium_bak is set aside",
        ),
        (
            ["05-cilium.conflist", "10-flannel.conflist.cilium_bak"],
            "05-cilium.conflist",
            ["cilium-cni"],
            "refused",
            "05-cilium.conflist (cilium-cni) is the active CNI configuration, but the node is on Flannel",
        ),
        (
            ["10-flannel.conflist", "10-flannel.conflist.cilium_bak"],
            "10-flannel.conflist",
            ["flannel"],
            "warning",
            "10-flannel.conflist.cilium_bak is there beside the active 10-flannel.conflist",
        ),
    ],
)
def test_the_active_configuration_must_be_flannels(files: list[str], active: str, plugins: list[str], level: str, fact: str) -> None:
    assert of_w1("cni", cni_files=files, cni_active=active, cni_plugins=plugins) == [(level, fact)]


def test_the_way_back_from_an_earlier_cilium_never_leaves_the_node_without_a_configuration() -> None:
    names = ["05-cilium.conflist", "10-flannel.conflist.cilium_bak"]
    known = facts("k8s-w1", cni_files=names, cni_active=names[0], cni_plugins=["cilium-cni"])
    [advice] = [each["advice"] for each in preflight.findings(cluster(), SETTINGS, all_facts(k8s_w1=known)) if each["level"] != "ok"]
    assert advice.endswith("rename 10-flannel.conflist.cilium_bak to 10-flannel.conflist, and only then remove 05-cilium.conflist")


def test_links_of_an_earlier_cilium_are_refused_only_where_no_cilium_runs() -> None:
    left = [link("cilium_host", "veth"), link("cilium_vxlan", "vxlan", vni=None, port=8473)]
    refused = [("refused", f"link {name} exists, but this cluster has no Cilium") for name in ("cilium_host", "cilium_vxlan")]
    assert of_w1("leftover", *left) == refused
    assert of_w1("leftover", *left, seen=WITH_CILIUM) == [("ok", "no link is left of an earlier Cilium")]
    assert of_w1("leftover") == [("ok", "no link is left of an earlier Cilium")]


@pytest.mark.parametrize(
    ("changes", "level", "fact"),
    [
        ({"kernel": "4.19.0-27-amd64"}, "refused", "the kernel is 4.19.0-27-amd64"),
        ({"kernel": "unknown"}, "refused", "the kernel is unknown"),
        ({"bpf": False}, "refused", "the kernel has no bpf system call"),
        ({"kernel_lacks": ["CONFIG_NET_CLS_BPF", "CONFIG_CGROUP_BPF"]}, "refused", "the kernel was built without CONFIG_NET_CLS_BPF, CONFIG_CGROUP_BPF"),
        ({"btf": False}, "warning", "the kernel carries no BTF (/sys/kernel/btf/vmlinux)"),
        ({}, "ok", "the kernel 6.1.0-37-amd64 has the bpf system call and BTF; the options that Cilium needs"),
        ({"kernel_lacks": None}, "ok", "the kernel 6.1.0-37-amd64 has the bpf system call and BTF; its configuration cannot be read"),
    ],
)
def test_kernels_that_cilium_cannot_use_are_refused(changes: dict[str, Any], level: str, fact: str) -> None:
    assert of_w1("kernel", **changes) == [(level, fact)]


def test_everything_that_a_kernel_lacks_is_said() -> None:
    found = of_w1("kernel", kernel="4.4.0-210-generic", bpf=False, btf=False, kernel_lacks=["CONFIG_BPF_SYSCALL"])
    assert [level for level, _fact in found] == ["refused", "refused", "refused", "warning"]


@pytest.mark.parametrize(
    ("release", "enough"),
    [
        ("5.4.0-150-generic", True),
        ("5.3.18-150300.59-default", False),
        ("5.15.0-1", True),
        ("6.18.44", True),
        ("4.18.0-372.9.1.el8.x86_64", True),
        ("4.18.0-553.el8_10.x86_64", True),
        ("4.18.0-348.el8.x86_64", False),
        ("4.18.0-25-generic", False),
        ("", False),
    ],
)
def test_the_least_kernel_is_ciliums(release: str, enough: bool) -> None:
    assert preflight_node.new_enough(release) is enough


@pytest.mark.parametrize(
    ("tunnel", "fact"),
    [
        (link("vxlan9", "vxlan", 1450, vni=9, port=8473), "link vxlan9 (VNI 9) already uses UDP port 8473"),
        (link("gnv0", "geneve", 1450, vni=None, port=8473), "link gnv0 (no fixed VNI) already uses UDP port 8473"),
    ],
)
def test_a_tunnel_on_the_port_is_refused_naming_the_link(tunnel: dict[str, Any], fact: str) -> None:
    assert of_w1("tunnel", tunnel, udp_ports=[8472, 8473]) == [("refused", fact)]
    assert of_w1("tunnel", tunnel, udp_ports=[8472, 8473], seen=WITH_CILIUM) == [("refused", fact)]


def test_a_socket_on_the_port_is_refused_unless_it_is_ciliums() -> None:
    assert of_w1("tunnel", udp_ports=[8473]) == [("refused", "UDP port 8473 is bound on the node")]
    ciliums = link("cilium_vxlan", "vxlan", vni=None, port=8473)
    assert of_w1("tunnel", ciliums, udp_ports=[8473], seen=WITH_CILIUM) == [("ok", "no other tunnel uses UDP port 8473")]
    assert of_w1("tunnel") == [("ok", "nothing uses UDP port 8473")]


@pytest.mark.parametrize("deletes", [["routes"], ["rules"], ["routes", "rules"]])
def test_a_networkd_that_deletes_what_others_made_is_said(deletes: list[str]) -> None:
    [(level, fact)] = of_w1("networkd", networkd_deletes=deletes)
    assert (level, f"deletes {' and '.join(deletes)} that are not its own" in fact) == ("warning", True)


def test_a_networkd_that_does_not_is_ok() -> None:
    assert of_w1("networkd") == [("ok", "no systemd-networkd deletes what others have made")]


def test_only_a_strict_reverse_path_filter_for_all_links_is_said() -> None:
    assert of_w1("rp_filter", rp_filter=1) == [("warning", "net.ipv4.conf.all.rp_filter is 1, which outweighs what Cilium sets on its pods' links")]
    assert of_w1("rp_filter", rp_filter=2) == [("ok", "net.ipv4.conf.all.rp_filter is 2")]
    assert of_w1("rp_filter") == [("ok", "net.ipv4.conf.all.rp_filter is 0")]


def test_rules_in_both_backends_are_said() -> None:
    mixed = {"nft": {"ipv4 filter": 21, "ipv4 nat": None}, "legacy": {"ipv4 filter": 1}}
    assert of_w1("iptables", iptables=mixed) == [
        ("warning", "rules stand in both backends of iptables: legacy ipv4 filter (1 rule); nft ipv4 filter (21 rules), ipv4 nat")
    ]


@pytest.mark.parametrize(
    ("tables", "fact"),
    [
        ({"nft": {}, "legacy": {"ipv4 nat": 40}}, "one backend has rules: legacy ipv4 nat (40 rules)"),
        ({"nft": {"ipv4 nat": None}, "legacy": {}}, "one backend has rules: nft ipv4 nat"),
        ({"nft": {}, "legacy": {}}, "iptables has no rules"),
    ],
)
def test_one_backend_is_ok(tables: dict[str, Any], fact: str) -> None:
    assert of_w1("iptables", iptables=tables) == [("ok", fact)]
