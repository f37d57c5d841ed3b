#!/usr/bin/env bash
# What is ours and Kubeflow Pipelines in a cluster that is there: EKS, GKE, AKS or any other. The same manifests for all;
# a Kubeflow Pipelines that is there already is used as it is.
#   cluster.sh up --context NAME | status | forward | down        cluster.sh alone tells more
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC2034 # lib.sh's usage shows it
more_usage="  --context NAME                      which of kubectl's clusters; always say it: kubectl config get-contexts"
# shellcheck source=templates/cluster/lib.sh
. "$here/lib.sh"
# shellcheck source=templates/cluster/installed.sh
. "$here/installed.sh"
way=cluster

make_cluster() { need_answer; }

remove_cluster() {
  need_answer
  remove_installed
}

need_answer() {
  has namespace default || fail "the cluster of context $context does not answer, or does not let you in"
}

main "$@"
