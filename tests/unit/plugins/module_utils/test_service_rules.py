# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fixtures are what iptables 1.8.9 wrote, in both backends, of kube-proxy's rules for four Service ports."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.netops.cni_migration.plugins.module_utils.service_rules import Endpoint, RulesError, ServicePort, service_ports

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(params=["nft", "legacy"])
def nat_table(request: pytest.FixtureRequest) -> str:
    return (FIXTURES / f"nat_of_kube_proxy.{request.param}.txt").read_text(encoding="utf-8")


def test_follows_a_service_to_its_endpoints(nat_table: str) -> None:
    assert service_ports(nat_table, "default", "webpod") == [
        ServicePort(
            name="default/webpod",
            protocol="tcp",
            cluster_ip="10.96.46.189",
            port=80,
            chain="KUBE-SVC-CNZCPOCNCNOROALA",
            endpoints=(
                Endpoint("KUBE-SEP-PQBQBGZJJ5FKN3TB", "10.244.1.2:80", 0.5),
                Endpoint("KUBE-SEP-WEW7NHLZ4Y5A5ZKF", "10.244.2.2:80", 0.5),
            ),
        )
    ]


def test_every_port_of_a_service_is_found_and_shares_add_up(nat_table: str) -> None:
    ports = service_ports(nat_table, "kube-system", "kube-dns")
    assert [(port.name, port.protocol) for port in ports] == [("kube-system/kube-dns:dns-tcp", "tcp"), ("kube-system/kube-dns:dns", "udp")]
    assert [endpoint.share for endpoint in ports[0].endpoints] == [pytest.approx(1 / 3, abs=1e-4)] * 3
    assert [endpoint.share for endpoint in ports[1].endpoints] == [1.0]


def test_affinity_rules_do_not_count_an_endpoint_twice(nat_table: str) -> None:
    (port,) = service_ports(nat_table, "default", "sticky")
    assert [(endpoint.destination, endpoint.share) for endpoint in port.endpoints] == [("10.244.1.9:80", 0.5), ("10.244.2.9:80", 0.5)]


@pytest.mark.parametrize(("namespace", "service"), [("default", "web"), ("other", "webpod"), ("default", "webpod2")])
def test_another_service_is_not_mistaken_for_it(nat_table: str, namespace: str, service: str) -> None:
    assert service_ports(nat_table, namespace, service) == []


def test_no_rules_at_all() -> None:
    assert service_ports("", "default", "webpod") == []


def test_a_service_without_endpoints_has_none() -> None:
    rule = '-A KUBE-SERVICES -d 10.96.0.9/32 -p tcp -m comment --comment "default/webpod cluster IP" -m tcp --dport 80 -j KUBE-SVC-EMPTY'
    (port,) = service_ports(rule, "default", "webpod")
    assert port.endpoints == ()


def test_a_dangling_endpoint_chain_is_an_error(nat_table: str) -> None:
    torn = "\n".join(line for line in nat_table.splitlines() if "--to-destination 10.244.2.2:80" not in line)
    with pytest.raises(RulesError, match="KUBE-SEP-WEW7NHLZ4Y5A5ZKF has 0 destinations"):
        service_ports(torn, "default", "webpod")


def test_an_unreadable_line_is_named() -> None:
    with pytest.raises(RulesError, match="line 2 is not a rule"):
        service_ports('*nat\n-A KUBE-SERVICES -m comment --comment "torn', "default", "webpod")
