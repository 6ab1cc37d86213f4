#!/usr/bin/env bash
# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The runbook's commands from Flannel to Cilium, literally and in its order, without a hand in between. Every stretch ends in a line
# "PHASE name node start end" (moments in seconds since the epoch), from which bench.py reads where the time went.
#
# Where it cannot be literal:
# - The cilium CLI is not to be had in the lab. `cilium install --dry-run-helm-values` becomes the values that it prints,
#   `cilium status --wait` the rollouts that it waits for. The chart comes from the lab's bundle instead of `helm repo add`.
# - The lab's own values (images, interface) stand in EXTRA_VALUES, and come last in every helm command.
# - What a person waits for in front of the screen is a loop here that ends as soon as it is so (until_it_is_so).
# - The lab's user is root, with a key: no sudo, no sshpass. A terminal (`exec -it`) is nobody's.
# - The verification pod may take five minutes to run, not one: the node is Ready before its agent is.
#
# Environment: KUBECONFIG, CILIUM_CHART, EXTRA_VALUES, SSH_CONFIG; kubectl and helm on the path; values files go to the current folder.
set -eu
export LC_ALL=C # $EPOCHREALTIME has a point
: "$KUBECONFIG" "$CILIUM_CHART" "$EXTRA_VALUES" "$SSH_CONFIG"

# phase NAME NODE COMMAND...
phase() {
  local name=$1 node=$2 began=$EPOCHREALTIME
  shift 2
  "$@"
  printf '\nPHASE %s %s %s %s\n' "$name" "$node" "$began" "$EPOCHREALTIME"
}

# What a person sees to be so by looking again and again; five minutes at most.
until_it_is_so() {
  local deadline=$((SECONDS + 300))
  until "$@"; do
    if [ "$SECONDS" -ge "$deadline" ]; then
      echo "not so after 300 s: $*" >&2
      exit 1
    fi
    sleep 0.5
  done
}

# What the runbook shows to a person and does not depend on.
look() { "$@" || echo "(exit $?, which nothing depends on: $*)"; }

on() { ssh -F "$SSH_CONFIG" "$@"; }

cilium_status() {
  kubectl -n kube-system exec "$(kubectl -n kube-system get pods -l k8s-app=cilium -o jsonpath='{.items[0].metadata.name}')" -- cilium status
}

pod_cidr() { kubectl cluster-info dump | grep -m 1 cluster-cidr; }

install_cilium() {
  # What `cilium install --version 1.17.6 --values cilium-values.yaml --dry-run-helm-values` makes of the runbook's values.
  cat >values-initial.yaml <<VALUES
cluster:
  name: kubernetes
operator:
  unmanagedPodWatcher:
    restart: false
routingMode: tunnel
tunnelProtocol: vxlan
tunnelPort: 8473
cni:
  customConf: true
  uninstall: false
ipam:
  mode: "cluster-pool"
  operator:
    clusterPoolIPv4PodCIDRList: ["10.245.0.0/16"]
policyEnforcementMode: "never"
bpf:
  hostLegacyRouting: true
VALUES
  helm install cilium "$CILIUM_CHART" --version 1.17.6 \
    --namespace kube-system \
    --values values-initial.yaml --values "$EXTRA_VALUES"

  # A person waits until the pods run and the status is good.
  kubectl -n kube-system rollout status ds/cilium
  kubectl -n kube-system rollout status deployment/cilium-operator
  look kubectl -n kube-system get pods -l k8s-app=cilium
  look cilium_status
}

node_config() {
  # The operator makes the definition, a moment after it runs.
  kubectl wait --for=create crd/ciliumnodeconfigs.cilium.io --timeout=300s
  kubectl wait --for=condition=Established crd/ciliumnodeconfigs.cilium.io --timeout=300s
  kubectl apply --server-side -f - <<CONFIG
apiVersion: cilium.io/v2
kind: CiliumNodeConfig
metadata:
  namespace: kube-system
  name: cilium-default
spec:
  nodeSelector:
    matchLabels:
      io.cilium.migration/cilium-default: "true"
  defaults:
    write-cni-conf-when-ready: /host/etc/cni/net.d/05-cilium.conflist
    custom-cni-conf: "false"
    cni-chaining-mode: "none"
    cni-exclusive: "true"
CONFIG
}

restart_agent() {
  kubectl label node "$NODE_NAME" --overwrite "io.cilium.migration/cilium-default=true"
  kubectl -n kube-system delete pod --field-selector "spec.nodeName=$NODE_NAME" -l k8s-app=cilium
  kubectl -n kube-system rollout status ds/cilium -w
}

# The connection may end before the command's status is there.
reboot_node() { on "$NODE_NAME" reboot || :; }

# A node that was told to reboot still says Ready: only another boot ID proves it. The API server may have been away itself.
is_back() {
  local seen
  seen=$(kubectl --request-timeout=3s get node "$NODE_NAME" \
    -o jsonpath='{.status.nodeInfo.bootID} {.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null) || return 1
  [ "${seen% *}" != "$BOOT_ID" ] && [ "${seen#* }" = True ] && kubectl --request-timeout=3s get --raw=/readyz >/dev/null 2>&1
}

verify_node() {
  look kubectl get -o wide node "$NODE_NAME"
  # shellcheck disable=SC2016 # the pod's shell expands it
  kubectl -n kube-system run --attach --rm --restart=Never verify-network --pod-running-timeout=5m \
    --overrides='{"spec": {"nodeName": "'"$NODE_NAME"'", "tolerations": [{"operator": "Exists"}]}}' \
    --image ghcr.io/nicolaka/netshoot:v0.8 -- /bin/bash -c 'ip -br addr && curl -s -k https://$KUBERNETES_SERVICE_HOST/healthz && echo'
  look kubectl get node "$NODE_NAME"
}

final_values() {
  # What `cilium install --values values-initial.yaml --set ...` would print is values-initial.yaml with these merged into it.
  cat >values-final.yaml <<VALUES
operator:
  unmanagedPodWatcher:
    restart: true
cni:
  customConf: false
policyEnforcementMode: default
bpf:
  hostLegacyRouting: false
  masquerade: true
ipv6:
  enabled: false
ipam:
  mode: "cluster-pool"
  operator:
    clusterPoolIPv4PodCIDRList: ["10.245.0.0/16"]
ipv4NativeRoutingCIDR: 10.245.0.0/16
kubeProxyReplacement: true
k8sServiceHost: 192.168.10.100
k8sServicePort: 6443
routingMode: native
autoDirectNodeRoutes: true
VALUES
}

delete_kube_proxy() {
  kubectl -n kube-system delete ds kube-proxy
  kubectl -n kube-system delete cm kube-proxy
}

upgrade_cilium() {
  helm upgrade --namespace kube-system cilium "$CILIUM_CHART" \
    --values values-initial.yaml --values values-final.yaml --values "$EXTRA_VALUES"
  kubectl -n kube-system rollout restart daemonset cilium
  # cilium status --wait
  kubectl -n kube-system rollout status ds/cilium
  kubectl -n kube-system rollout status deployment/cilium-operator
}

uninstall_flannel() {
  helm uninstall -n kube-flannel flannel
  kubectl delete ns kube-flannel
}

# A node that was rebooted has no cni0 any more; a person reads "Cannot find device" and goes on.
delete_links() {
  look on k8s-ctr ip link del flannel.1
  look on k8s-ctr ip link del cni0
  for i in w1 w2; do look on "k8s-$i" ip link del flannel.1; done
  for i in w1 w2; do look on "k8s-$i" ip link del cni0; done
}

reset_rules() {
  for i in ctr w1 w2; do
    on "k8s-$i" "iptables-save | grep -v KUBE | grep -v FLANNEL | iptables-restore"
    on "k8s-$i" iptables-save
  done
}

phase check - look pod_cidr
phase install - install_cilium
phase node_config - node_config

# The runbook advises against the control plane first.
for NODE_NAME in k8s-w1 k8s-w2 k8s-ctr; do
  phase cordon "$NODE_NAME" kubectl cordon "$NODE_NAME"
  phase drain "$NODE_NAME" kubectl drain "$NODE_NAME" --ignore-daemonsets --delete-emptydir-data
  phase switch "$NODE_NAME" restart_agent
  BOOT_ID=$(kubectl get node "$NODE_NAME" -o jsonpath='{.status.nodeInfo.bootID}')
  phase reboot "$NODE_NAME" reboot_node
  phase return "$NODE_NAME" until_it_is_so is_back
  phase verify "$NODE_NAME" verify_node
  phase uncordon "$NODE_NAME" kubectl uncordon "$NODE_NAME"
  phase status "$NODE_NAME" look cilium_status
done

phase look - look kubectl get pods -A -owide
final_values
phase kube_proxy - delete_kube_proxy
phase upgrade - upgrade_cilium
phase node_config_gone - kubectl delete -n kube-system ciliumnodeconfig cilium-default
phase flannel - uninstall_flannel
phase links - delete_links
phase rules - reset_rules
