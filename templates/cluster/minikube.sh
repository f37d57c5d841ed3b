#!/usr/bin/env bash
# A cluster on this machine with minikube, in a profile of its own, with minikube's registry.
#   minikube.sh up | status | forward | down        minikube.sh alone tells more
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=templates/cluster/lib.sh
. "$here/lib.sh"
way=minikube
context=$name
registry=localhost:5000

make_cluster() {
  if [[ $(minikube status --profile "$name" --format '{{.Host}}' 2>/dev/null) == Running ]]; then
    say "the cluster $name is there"
  else
    # Calico, because minikube's own network lets everybody speak to everybody whatever the policies say.
    quietly "making the cluster $name with minikube" minikube start --profile "$name" --cni calico \
      --kubernetes-version "$(value ways.minikube.kubernetes)" --cpus "$(value machine.cluster.recommended.cores)" \
      --memory "$(value machine.cluster.recommended.memory)g" --disk-size "$(value machine.cluster.recommended.disk)g"
  fi
  quietly "enabling its registry" minikube addons enable registry --profile "$name"
}

remove_cluster() { quietly "removing the cluster $name" minikube delete --profile "$name"; }

main "$@"
