# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The search for secrets in logs finds what Ansible would print of them, and nothing else. None of the secrets here was ever used."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from repository import ROOT
from secrets_in_log import secrets_in

SCRIPT = ROOT / "tests" / "secrets_in_log.py"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# Put together, so that no other scanner takes them for real ones.
KEY = f"-----BEGIN RSA {'PRIVATE'} KEY-----\nMIIEowIBAAKCAQEA{'7' * 40}\n-----END RSA {'PRIVATE'} KEY-----\n"
KUBECONFIG = yaml.safe_dump({"clusters": [{"name": "kubernetes"}], "users": [{"name": "kubernetes-admin", "user": {"client-key-data": encoded(KEY)}}]})
JWT = ".".join(("eyJ" + "hbGciOiJSUzI1NiIs", "eyJ" + "hdWQiOlsiaHR0cHM6", "c2lnbmF0dXJlX29mX2l0"))
TOKEN = "abcdef" + ".0123456789abcdef"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (KEY, {"a private key"}),
        (json.dumps({"content": KEY}), {"a private key"}),
        (f"-----BEGIN OPENSSH {'PRIVATE'} KEY-----", {"a private key"}),
        (f"-----BEGIN {'PRIVATE'} KEY-----", {"a private key"}),
        (KUBECONFIG, {"a private key", "the client key of a kubeconfig"}),
        (f"content: {encoded(KUBECONFIG)}", {"a private key", "the client key of a kubeconfig"}),
        (f"content={encoded(KEY)}", {"a private key"}),
        (f"/etc/kubernetes/{encoded(KEY)}", {"a private key"}),
        (f"    token: {JWT}", {"a token of a service account"}),
        (encoded(f"token: {JWT}"), {"a token of a service account"}),
        (f"kubeadm join 192.168.10.100:6443 --token {TOKEN} --discovery-token-ca-cert-hash sha256:0", {"a token by which nodes join"}),
        (f"stdout: 'token: {TOKEN}'", {"a token by which nodes join"}),
    ],
)
def test_a_secret_is_found(text: str, names: set[str]) -> None:
    assert secrets_in(text) == names


@pytest.mark.parametrize(
    "text",
    [
        "",
        "client-key-data: REDACTED",
        f"certificate-authority-data: {encoded('-----BEGIN CERTIFICATE-----' + 'x' * 60)}",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3b4Zr8qXk7tq3Ul0mYwVQ0n7y1o2v3c4x5z6a7b8c9 k8s-ctr",
        "the output has been hidden due to the fact that 'no_log: true' was specified for this result",
        "[bootstrap-token] Configured RBAC rules to allow Node Bootstrap tokens",
        "kubeadm join 192.168.10.100:6443 --token <value withheld>",
        "/home/alice/.ansible/tmp/ansible-tmp-1795655770.2511313-11872-19478225604/AnsiballZ_command.py",
        "image: ghcr.io/nicolaka/netshoot:v0.8",
        "kernel.unprivileged_userns_clone system.serviceaccounts ctime: 179565.1234567890123456",
        "sha256:1457b8ef4c34c9a2c4c3ec1d3f8df5e4e1a8a7d1f8e2b9a0c6d5e4f3a2b1c0d9",
    ],
)
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    assert secrets_in(text) == set()


def test_the_log_is_named_and_the_value_is_not(tmp_path: Path) -> None:
    log = tmp_path / "site.log"
    log.write_text(f"ok: [k8s-w1]\n\x1b[0;33m{TOKEN}\x1b[0m\n", encoding="utf-8")
    done = subprocess.run((sys.executable, str(SCRIPT), str(log)), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, f"{log}:2: a token by which nodes join\n")


def test_a_clean_log_is_passed(tmp_path: Path) -> None:
    log = tmp_path / "site.log"
    log.write_text("ok: [k8s-w1]\n", encoding="utf-8")
    assert subprocess.run((sys.executable, str(SCRIPT), str(log)), capture_output=True, check=False).returncode == 0


def test_a_log_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert subprocess.run((sys.executable, str(SCRIPT), str(tmp_path / "absent")), capture_output=True, check=False).returncode != 0
