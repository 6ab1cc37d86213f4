# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open connections and what the policy maps say of them, in the forms of cilium 1.17.6 (``pkg/maps/ctmap``, ``cilium-dbg/cmd/bpf_policy_get.go``)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils import policy_connections
from ansible_collections.netops.cni_migration.plugins.module_utils.policy_audit import Denial
from ansible_collections.netops.cni_migration.plugins.module_utils.policy_connections import (
    Endpoint,
    denials,
    endpoints,
    identities,
    open_connections,
    policy_maps,
)

CONFIGURATION = """\
##### Read-write configurations #####
ConntrackAccounting               : Disabled
MonitorAggregationLevel           : Medium
PolicyAuditMode                   : Enabled
PolicyVerdictNotification         : Enabled
MonitorNumPages                   : 64
PolicyEnforcement                 : default
"""

MAPS = """\
Endpoint ID: 1357
Path: /sys/fs/bpf/tc/globals/cilium_policy_v2_01357

POLICY   DIRECTION   IDENTITY   PORT/PROTO     PROXY PORT   AUTH TYPE   BYTES   PACKETS   PREFIX
Allow    Ingress     1          ANY            NONE         disabled    89224   1024      0
Allow    Ingress     9112       80/TCP         NONE         disabled    0       0         24
Allow    Ingress     9113       8080-8087/TCP  NONE         disabled    0       0         21
Allow    Ingress     9114       TCP            NONE         disabled    0       0         8
Deny     Ingress     9114       81/TCP         NONE         disabled    0       0         24
Allow    Ingress     9115       53/UDP         NONE         disabled    0       0         24
Deny     Ingress     0          6379/TCP       NONE         disabled    0       0         24
Allow    Egress      0          ANY            NONE         disabled    12      1         0


Endpoint ID: 88
Path: /sys/fs/bpf/tc/globals/cilium_policy_v2_00088

POLICY   DIRECTION   IDENTITY   PORT/PROTO   PROXY PORT   AUTH TYPE   BYTES   PACKETS   PREFIX
Allow    Ingress     0          ANY          NONE         disabled    0       0         0
Allow    Egress      2          443/TCP      NONE         disabled    0       0         24


Endpoint ID: reserved_1
Path: /sys/fs/bpf/tc/globals/cilium_policy_reserved_1

POLICY   DIRECTION   IDENTITY   PORT/PROTO   PROXY PORT   AUTH TYPE   BYTES   PACKETS   PREFIX
Allow    Egress      0          ANY          NONE         disabled    0       0         0


Endpoint ID: 90
Path: /sys/fs/bpf/tc/globals/cilium_policy_v2_00090

Policy stats empty. Perhaps the policy enforcement is disabled?

"""

IPCACHE = json.dumps(
    {
        "0.0.0.0/0": ["identity=2 encryptkey=0 tunnelendpoint=0.0.0.0 flags=<none>"],
        "10.245.1.3/32": ["identity=21544 encryptkey=0 tunnelendpoint=192.168.10.101 flags=<none>"],
        "203.0.113.0/24": ["identity=16777218 encryptkey=0 tunnelendpoint=0.0.0.0 flags=<none>"],
    }
)

DATABASE = Endpoint(1357, "ready", ("10.245.2.9",), audited=("ingress",), reconciled=4)
CLIENT = Endpoint(88, "ready", ("10.245.2.4",), audited=("egress",), reconciled=4)


def record(kind: str, expires: int, identity: int = 0, flags: str = "SeenNonSyn ") -> str:
    return (
        f"{kind} expires={expires} Packets=0 Bytes=0 RxFlagsSeen=0x1a LastRxReport=17122 TxFlagsSeen=0x1a LastTxReport=17122 "
        f"Flags=0x0010 [ {flags}] RevNAT=0 SourceSecurityID={identity} IfIndex=0 BackendID=0 \n"
    )


def endpoint(number: int, state: str = "ready", enabled: str = "none", runs: int | None = 4, **networking: Any) -> dict[str, Any]:
    controllers = [{"name": "resolve-labels", "status": {"success-count": 1}}]
    if runs is not None:
        controllers.append({"name": f"sync-policymap-{number}", "status": {"success-count": runs} if runs else {}})
    return {
        "id": number,
        "status": {
            "controllers": controllers,
            "networking": {"addressing": [{"ipv4": "10.245.2.9"}], **networking},
            "policy": {"realized": {"policy-enabled": enabled}, "spec": {"policy-enabled": enabled}},
            "state": state,
        },
    }


def dropped(before: str, after: str, local: tuple[Endpoint, ...] = (DATABASE, CLIENT)) -> list[Denial]:
    return denials(local, open_connections(before), open_connections(after), policy_maps(MAPS), identities(IPCACHE))


def used(kind: str, identity: int = 0, flags: str = "SeenNonSyn ") -> list[Denial]:
    """What becomes of a connection that had packets."""
    return dropped(record(kind, 25_000, identity, flags), record(kind, 25_060, identity, flags))


def test_an_agent_that_audits_and_says_so_has_no_obstacles() -> None:
    assert policy_connections.obstacles(CONFIGURATION) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("PolicyAuditMode", "Disabled"), ("PolicyVerdictNotification", "Disabled"), ("PolicyEnforcement", "never")],
)
def test_an_agent_that_does_not_is_found_out(name: str, value: str) -> None:
    lines = [line if not line.startswith(name) else f"{name:<34}: {value}" for line in CONFIGURATION.splitlines()]
    assert policy_connections.obstacles("\n".join(lines)) == [f"{name} is {value}"]


def test_an_answer_without_options_is_an_obstacle() -> None:
    assert policy_connections.obstacles("") == ["PolicyAuditMode is unknown", "PolicyVerdictNotification is unknown", "PolicyEnforcement is unknown"]


@pytest.mark.parametrize(
    ("enabled", "audited", "enforced"),
    [
        ("none", (), ()),
        ("audit-ingress", ("ingress",), ()),
        ("audit-egress", ("egress",), ()),
        ("audit-both", ("ingress", "egress"), ()),
        ("ingress", (), ("ingress",)),
        ("both", (), ("ingress", "egress")),
    ],
)
def test_an_endpoint_says_what_is_audited(enabled: str, audited: tuple[str, ...], enforced: tuple[str, ...]) -> None:
    (found,) = endpoints(json.dumps([endpoint(7, enabled=enabled)]))
    assert found == Endpoint(7, "ready", ("10.245.2.9",), audited, enforced, 4)


def test_an_endpoint_may_say_little() -> None:
    assert endpoints('[{"status": {"state": "waiting-for-identity"}}]') == [Endpoint(0, "waiting-for-identity", ())]
    assert endpoints("[]") == []
    with pytest.raises(ValueError, match=r"it is no list: '\{\}'"):
        endpoints("{}")
    with pytest.raises(ValueError):
        endpoints("level=fatal")


@pytest.mark.parametrize(
    ("item", "left"),
    [
        (endpoint(7), []),
        (endpoint(7, state="disconnecting"), []),
        (endpoint(7, state="regenerating"), ["endpoint 7 is regenerating"]),
        (endpoint(7, state="restoring"), ["endpoint 7 is restoring"]),
        (endpoint(7, enabled="audit-both"), []),
        (endpoint(7, enabled="audit-both", runs=2), []),
        (endpoint(7, enabled="audit-both", runs=1), ["the policy map of endpoint 7 is not reconciled yet"]),
        (endpoint(7, enabled="audit-both", runs=0), ["the policy map of endpoint 7 is not reconciled yet"]),
        (endpoint(7, enabled="audit-both", runs=None), ["the policy map of endpoint 7 is not reconciled yet"]),
        (endpoint(7, enabled="none", runs=1), []),
    ],
)
def test_what_is_still_to_come_is_named(item: dict[str, Any], left: list[str]) -> None:
    assert policy_connections.unsettled(endpoints(json.dumps([item]))) == left


def test_a_policy_map_is_read() -> None:
    maps = policy_maps(MAPS)
    assert {number: len(entries) for number, entries in maps.items()} == {1357: 8, 88: 2, 90: 0}
    assert [(entry.identity, entry.protocol, entry.ports, entry.prefix) for entry in maps[1357][:4]] == [
        (1, "ANY", None, 0),
        (9112, "TCP", range(80, 81), 24),
        (9113, "TCP", range(8080, 8088), 21),
        (9114, "TCP", None, 8),
    ]
    assert policy_maps("no maps found\n") == {}


@pytest.mark.parametrize(
    ("identity", "port", "allowed"),
    [
        (1, 80, True),
        (9112, 80, True),
        (9112, 443, False),
        (9113, 8080, True),
        (9113, 8087, True),
        (9113, 8088, False),
        (9114, 5432, True),
        (9114, 81, False),
        (9115, 53, False),
        (1, 6379, False),
        (21544, 80, False),
    ],
)
def test_a_connection_is_judged_as_the_datapath_does(identity: int, port: int, allowed: bool) -> None:
    assert policy_connections.allows(policy_maps(MAPS)[1357], "ingress", identity, port) is allowed
    expected = [] if allowed else [Denial("ingress", "tcp", "10.245.1.3", "10.245.2.9", port, str(identity))]
    assert used(f"TCP IN 10.245.1.3:41234 -> 10.245.2.9:{port}", identity) == expected


def test_a_connection_of_a_source_is_judged_by_the_identity_of_its_destination() -> None:
    assert used("TCP OUT 10.245.2.4:41234 -> 198.51.100.7:443") == []
    assert used("TCP OUT 10.245.2.4:41234 -> 203.0.113.9:443") == [Denial("egress", "tcp", "10.245.2.4", "203.0.113.9", 443, "16777218")]
    assert used("TCP OUT 10.245.2.4:41234 -> 10.245.1.3:80") == [Denial("egress", "tcp", "10.245.2.4", "10.245.1.3", 80, "21544")]
    assert policy_connections.identity_of("198.51.100.7", {}) == policy_connections.WORLD


@pytest.mark.parametrize(
    "kind",
    [
        "TCP OUT 10.245.2.9:41234 -> 10.245.1.3:80",  # egress is not audited at this endpoint
        "TCP IN 10.245.1.3:41234 -> 10.245.2.7:80",  # not an endpoint of policies
        "TCP IN 10.245.1.3:41234 -> 10.245.2.9:80 related",
        "TCP SVC 10.245.2.4:80 -> 10.96.0.7:41234",
        "UDP IN 10.245.1.3:41234 -> 10.245.2.9:80",
        "ICMP IN 10.245.1.3:0 -> 10.245.2.9:0",
    ],
)
def test_what_no_policy_is_asked_about_is_left_out(kind: str) -> None:
    assert used(kind, 21544) == []


@pytest.mark.parametrize("flags", ["RxClosing SeenNonSyn ", "TxClosing ", "LBLoopback SeenNonSyn "])
def test_a_connection_that_closes_or_leads_back_to_its_pod_is_left_out(flags: str) -> None:
    assert used("TCP IN 10.245.1.3:41234 -> 10.245.2.9:80", 21544, flags) == []


def test_a_connection_without_packets_is_left_out() -> None:
    kind = "TCP IN 10.245.1.3:41234 -> 10.245.2.9:80"
    assert dropped(record(kind, 25_000, 21544), record(kind, 25_000, 21544)) == []
    assert dropped("", record(kind, 25_000, 21544)) == []
    assert dropped(record(kind, 25_000, 21544), "") == []


def test_an_endpoint_without_a_map_allows_nothing() -> None:
    other = Endpoint(99, "ready", ("10.245.2.9",), audited=("ingress",))
    kind = "TCP IN 10.245.1.3:41234 -> 10.245.2.9:80"
    assert len(dropped(record(kind, 1, 1), record(kind, 2, 1), (other,))) == 1


def test_addresses_of_the_other_family_are_read() -> None:
    kind = "TCP IN fd00::3:41234 -> fd00::9:80"
    six = Endpoint(1357, "ready", ("10.245.2.9", "fd00::9"), audited=("ingress",))
    assert dropped(record(kind, 1, 9), record(kind, 2, 9), (six,)) == [Denial("ingress", "tcp", "fd00::3", "fd00::9", 80, "9")]


def test_identities_in_another_form_are_no_identities() -> None:
    assert identities('{"10.0.0.1/32": [], "10.0.0.2/32": ["what"]}') == {}
    with pytest.raises(ValueError, match="it is no dict"):
        identities("[]")
