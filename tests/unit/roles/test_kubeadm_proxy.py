# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ending, and a roll-back from it, make of kubeadm's configuration of the cluster."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from role_variables import evaluated

# As kubeadm 1.33 writes it.
WRITTEN = """\
apiServer:
  extraArgs:
  - name: proxy
    value: "1e3"
apiVersion: kubeadm.k8s.io/v1beta4
caCertificateValidityPeriod: 87600h0m0s
certificateValidityPeriod: 8760h0m0s
certificatesDir: /etc/kubernetes/pki
clusterName: kubernetes
controllerManager: {}
dns: {}
encryptionAlgorithm: RSA-2048
etcd:
  local:
    dataDir: /var/lib/etcd
imageRepository: registry.k8s.io
kind: ClusterConfiguration
kubernetesVersion: v1.33.2
networking:
  dnsDomain: cluster.local
  podSubnet: 10.244.0.0/16
  serviceSubnet: 10.96.0.0/16
proxy: {}
scheduler: {}
"""
DISABLED = WRITTEN.replace("proxy: {}", "proxy:\n  disabled: true")
TEXTS = {
    "written": WRITTEN,
    "disabled": DISABLED,
    "without": WRITTEN.replace("proxy: {}\n", ""),
    "enabled": WRITTEN.replace("proxy: {}", "proxy:\n  disabled: false"),
    "at its end": WRITTEN.replace("proxy: {}\n", "") + "proxy: {}",
    "without a line's end": WRITTEN.replace("proxy: {}\n", "").rstrip(),
    "older": WRITTEN.replace("v1beta4", "v1beta3").replace("proxy: {}\n", ""),
    "none": None,
}


def found(text: str | None) -> dict[str, Any]:
    """The variable that the task registers."""
    return {"resources": [{"data": {"ClusterConfiguration": text}}] if text is not None else []}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bool, str]]:
    """By ``text, whether it is to be disabled``: whether anything is to be done, and what the text becomes."""
    cases = {
        f"{name}, {disabled}": {"__cilium_migration_kubeadm_config": found(text), "__cilium_migration_proxy_disabled": disabled}
        for name, text in TEXTS.items()
        for disabled in (True, False)
    }
    return evaluated(tmp_path_factory.mktemp("kubeadm"), cases, "[__cilium_migration_proxy_due, __cilium_migration_cluster_configuration_due]")


@pytest.mark.parametrize("name", ["written", "without", "enabled", "at its end", "without a line's end"])
def test_the_ending_has_kubeadm_leave_kube_proxy_alone_and_touches_nothing_else(told: dict[str, tuple[bool, str]], name: str) -> None:
    due, text = told[f"{name}, True"]
    assert due
    assert yaml.safe_load(text) == yaml.safe_load(DISABLED)
    assert (text == DISABLED) == (name in ("written", "enabled"))
    assert sorted(text.splitlines()) == sorted(DISABLED.splitlines())


def test_the_way_back_has_kubeadm_keep_kube_proxy_again(told: dict[str, tuple[bool, str]]) -> None:
    due, text = told["disabled, False"]
    assert due
    assert text == WRITTEN


@pytest.mark.parametrize(
    "case",
    ["disabled, True", "written, False", "without, False", "enabled, False", "at its end, False", "older, True", "older, False", "none, True", "none, False"],
)
def test_otherwise_there_is_nothing_to_do(told: dict[str, tuple[bool, str]], case: str) -> None:
    assert told[case][0] is False
