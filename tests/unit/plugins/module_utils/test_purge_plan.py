# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Planning: for any ruleset, what is kept is identical, what is owned is gone, and a second run finds nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.netops.cni_migration.plugins.module_utils import ownership, purge_plan, purge_report
from ansible_collections.netops.cni_migration.plugins.module_utils.ruleset import Rule, Table, TableKey

DEFAULT = ("kube_proxy", "flannel", "cni_plugins")
OWNED = ("KUBE-SERVICES", "KUBE-SVC-A", "KUBE-SEP-B", "KUBE-MARK-MASQ", "FLANNEL-POSTRTG", "CNI-HOSTPORT-DNAT", "CNI-1b4cd5d2d8c8a6f1b2c3d4e5", "CNI-ADMIN")
OTHERS = ("PREROUTING", "POSTROUTING", "OUTPUT", "MYAPP", "KUBERA", "CILIUM_FORWARD", "KUBE-FIREWALL", "KUBE-KUBELET-CANARY")
BASE = {"PREROUTING", "POSTROUTING", "OUTPUT"}
COMMENTS = ("", "kubernetes service portals", "flanneld masq", "mine, not a KUBE-SERVICES rule", 'name: "cbr0" id: "1"')


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """A table of any owners' chains, with rules that jump anywhere or end somewhere."""
    names = [*BASE, *draw(st.lists(st.sampled_from(OWNED + OTHERS), unique=True))]
    table = Table(TableKey(draw(st.sampled_from(("nft", "legacy"))), "ipv4", draw(st.sampled_from(("nat", "filter")))), base=set(BASE))
    position = 0
    for name in dict.fromkeys(names):
        rules = []
        for _number in range(draw(st.integers(0, 4))):
            position += 1
            target, jumps = draw(st.sampled_from([*((target, True) for target in names), ("MASQUERADE", False), ("RETURN", False)]))
            conditions = draw(st.frozensets(st.sampled_from(["src", "dst", "addrtype", "conntrack"]), max_size=2))
            rules.append(Rule(name, position, target, jumps, draw(st.sampled_from(COMMENTS)), conditions, (), position, position, b""))
        table.chains[name] = len(rules)
        if not purge_plan.goes_by_name(name, DEFAULT):
            table.rules += rules
    return table


def purged(table: Table, plan: purge_plan.TablePlan) -> Table:
    """The table after a purge that also drops what refers to owned chains."""
    gone = {rule.position for rule, _owner in plan.hooks} | {rule.position for rule in plan.references}
    rules = [rule for rule in table.rules if rule.chain not in plan.chains and rule.position not in gone]
    chains = {name: sum(rule.chain == name for rule in rules) for name in table.chains if name not in plan.chains}
    return Table(table.key, chains, table.base, rules)


@given(tables())
def test_nothing_owned_is_left_and_nothing_else_goes(table: Table) -> None:
    plan = purge_plan.plan([table], DEFAULT).tables[0]
    after = purged(table, plan)
    for name in after.chains:
        assert ownership.chain_owner(name) not in DEFAULT or (name == "CNI-ADMIN" and table.chains[name])
    for rule in table.rules:
        if rule not in after.rules:
            assert rule.target in plan.chains or rule.chain in plan.chains or ownership.stray_owner(table.key.name, rule) == "flannel"
    assert [rule for rule in table.rules if rule in after.rules] == after.rules, "the order stays"
    assert not any(rule.jumps and rule.target in plan.chains for rule in after.rules), "nothing refers to what is gone"


@given(tables())
def test_a_second_run_finds_nothing(table: Table) -> None:
    after = purged(table, purge_plan.plan([table], DEFAULT).tables[0])
    again = purge_plan.plan([after], DEFAULT)
    # An administrator's chain may have been emptied by dropping its jumps into owned chains.
    assert again.empty or list(again.tables[0].chains) == ["CNI-ADMIN"]


@given(tables())
def test_counts_add_up(table: Table) -> None:
    plan = purge_plan.plan([table], DEFAULT)
    total = {"chains": 0, "rules": 0}
    for counts in (purge_plan.removed(plan), purge_plan.kept(plan)):
        for owner in counts.get(table.key.backend, {}).get("ipv4", {}).get(table.key.name, {}).values():
            for what in total:
                total[what] += owner[what] or 0
    assert total == {"chains": len(table.chains), "rules": sum(rules or 0 for rules in table.chains.values())}


@given(tables(), st.sets(st.sampled_from(ownership.OWNERS)))
def test_only_the_named_owners_lose_anything(table: Table, owners: set[str]) -> None:
    plan = purge_plan.plan([table], owners)
    assert set(plan.tables[0].chains.values()) <= owners
    assert {owner for _rule, owner in plan.tables[0].hooks} <= owners


@given(tables(), st.booleans())
def test_refusals_name_every_foreign_jump(table: Table, allowed: bool) -> None:
    plan = purge_plan.plan([table], DEFAULT)
    reasons = purge_report.refusals(plan, [], force=False, drop_foreign_jumps=allowed)
    assert bool(reasons) == (bool(plan.tables[0].references) and not allowed)


def test_running_daemons() -> None:
    plan = purge_plan.plan([], DEFAULT)
    assert purge_report.refusals(plan, [(7, "kube-proxy")], force=True, drop_foreign_jumps=False) == []
    assert "kube-proxy (process 7)" in purge_report.refusals(plan, [(7, "kube-proxy")], force=False, drop_foreign_jumps=False)[0]


def test_a_foreign_rule_on_an_owned_ipset() -> None:
    table = Table(TableKey("nft", "ipv4", "filter"), {"INPUT": 1}, {"INPUT"})
    table.rules = [Rule("INPUT", 1, "DROP", False, "", frozenset({"set"}), (3,), 0, 0, b"")]
    assert purge_plan.plan([table], DEFAULT, {"KUBE-CLUSTER-IP": 3}).set_users
    assert not purge_plan.plan([table], DEFAULT, {"KUBE-CLUSTER-IP": 4}).set_users


def test_a_long_diff_is_cut_and_uncounted_rules_stay_unknown() -> None:
    chains: dict[str, int | None] = {f"KUBE-SVC-{number}": None for number in range(100_000)}
    plan = purge_plan.plan([Table(TableKey("nft", "ipv4", "nat"), chains)], DEFAULT)
    assert purge_plan.removed(plan)["nft"]["ipv4"]["nat"]["kube_proxy"] == {"chains": 100_000, "rules": None}
    lines = purge_report.diff(plan, {})["before"].splitlines()
    assert len(lines) == purge_report.SHOWN_LINES + 2 and lines[-1] == "... and 99600 more"


def test_ipsets_go_with_their_owner() -> None:
    names = ["KUBE-CLUSTER-IP", "cilium_node_set_v4", "f2b-sshd"]
    assert purge_plan.owned_ipsets(names, DEFAULT) == ["KUBE-CLUSTER-IP"]
    assert purge_plan.owned_ipsets(names, ["cilium"]) == ["cilium_node_set_v4"]
    assert purge_plan.owned_ipsets(names, ["flannel"]) == []
