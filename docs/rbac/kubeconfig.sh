#!/usr/bin/env bash
# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# kubeconfig.sh FILE DURATION   write a kubeconfig of the account of controller.yaml to FILE, which only its owner may read. Its token ends after
#                               DURATION, such as 8h, or with the account. kubectl must reach the cluster as an administrator.
set -euo pipefail
file=$1 duration=$2

cluster=$(kubectl config view --minify --raw --flatten --output 'jsonpath={.clusters[0].cluster}')
token=$(kubectl --namespace kube-system create token cni-migration --duration "$duration")

# The mode comes before the content, and the token is in no command line.
install -m 0600 /dev/null "$file"
cat >"$file" <<END
apiVersion: v1
kind: Config
current-context: cni-migration
clusters:
  - name: cluster
    cluster: $cluster
users:
  - name: cni-migration
    user: {token: "$token"}
contexts:
  - name: cni-migration
    context: {cluster: cluster, user: cni-migration}
END
