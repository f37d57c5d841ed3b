#!/usr/bin/env bash
# What is ours and Kubeflow Pipelines in this machine's MicroK8s, with its registry at localhost:32000.
# MicroK8s itself is installed, and removed, with snap: this changes neither.
#   microk8s.sh up | status | forward | down        microk8s.sh alone tells more
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=templates/cluster/lib.sh
. "$here/lib.sh"
# shellcheck source=templates/cluster/installed.sh
. "$here/installed.sh"
way=microk8s
context=microk8s
registry=localhost:32000

# kubectl speaks to MicroK8s by its own settings, whatever else it knows.
use_settings() {
  settings=$(mktemp)
  trap 'rm -f "$settings"' EXIT
  microk8s config >"$settings" || fail "microk8s gives no settings: start it with microk8s start"
  export KUBECONFIG=$settings
}

make_cluster() {
  local addon
  quietly "waiting for MicroK8s" microk8s status --wait-ready --timeout 120
  for addon in dns hostpath-storage registry; do
    quietly "enabling $addon" microk8s enable "$addon"
  done
}

remove_cluster() { remove_installed; }

case ${1:-} in up | status | forward | down) use_settings ;; esac
main "$@"
