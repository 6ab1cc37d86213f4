# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from preflight_objects import SETTINGS, all_facts, cluster, facts, link, node

from ansible_collections.netops.cni_migration.plugins.module_utils import preflight
from ansible_collections.netops.cni_migration.plugins.module_utils.preflight_table import table


def line(level: str, check: str, node: str, fact: str, advice: str = "") -> dict[str, str]:
    return {"level": level, "check": check, "node": node, "fact": fact, "advice": advice}


def test_columns_are_aligned_refusals_come_first_and_what_is_ok_is_short() -> None:
    found = [
        line("ok", "kernel", "k8s-ctr", "the kernel is 6.1"),
        line("ok", "kernel", "k8s-w1", "the kernel is 6.1"),
        line("ok", "disk", "k8s-ctr", "9.0 GiB are free"),
        line("ok", "disk", "k8s-w1", "7.0 GiB are free"),
        line("ok", "cidr", "", "nothing overlaps"),
        line("warning", "networkd", "k8s-w1", "networkd deletes rules", "tell it not to"),
        line("warning", "networkd", "k8s-ctr", "networkd deletes rules", "tell it not to"),
        line("refused", "tunnel", "k8s-w1", "link vxlan9 uses UDP port 8473", "remove the link"),
    ]
    assert table(found) == [
        "LEVEL    CHECK     WHERE    FACT",
        "refused  tunnel    k8s-w1   link vxlan9 uses UDP port 8473",
        "                            -> remove the link",
        "warning  networkd  2 nodes  networkd deletes rules (k8s-ctr, k8s-w1)",
        "                            -> tell it not to",
        "ok       cidr      cluster  nothing overlaps",
        "ok       disk      2 nodes  k8s-ctr: 9.0 GiB are free; and so on",
        "ok       kernel    2 nodes  the kernel is 6.1",
        "1 refused, 2 warning, 5 ok",
    ]


def test_the_cluster_is_not_one_of_the_nodes() -> None:
    found = [line("ok", "cni", "", "Flannel is the only CNI"), line("ok", "cni", "k8s-w1", "10-flannel.conflist")]
    assert [each.split()[2] for each in table(found)[1:-1]] == ["cluster", "k8s-w1"]


def test_nothing_is_a_table_too() -> None:
    assert table([]) == ["LEVEL  CHECK  WHERE  FACT", "0 refused, 0 warning, 0 ok"]


def test_it_stays_short_with_many_nodes_and_says_each_thing_in_one_line() -> None:
    names = [f"node-{number:03}" for number in range(200)]
    known = {name: facts() for name in names}
    known["node-007"] = facts("k8s-w1", link("cilium_host", "veth"))
    found = preflight.findings(cluster(nodes=[node(name) for name in names]), SETTINGS, known)
    seen = table(found)
    assert len(found) > 3500
    assert len(seen) < 40
    assert seen[1].split()[:3] == ["refused", "leftover", "node-007"]
    assert all(each.isascii() and each == each.rstrip() and "\n" not in each for each in seen)


def test_each_line_of_a_sound_cluster_fits_a_wide_terminal() -> None:
    assert max(map(len, table(preflight.findings(cluster(), SETTINGS, all_facts())))) <= 160
