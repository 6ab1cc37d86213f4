#!/usr/bin/env bash
# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
# The report in a real browser without a window.
set -euo pipefail
cd "$(dirname "$0")"
if ! command -v chromium chromium-browser google-chrome >/dev/null; then
  apt-get update --quiet
  apt-get install --yes --no-install-recommends chromium
fi
exec "${ANSIBLE_TEST_PYTHON_INTERPRETER:-python3}" -m pytest -q -p no:cacheprovider .
