#!/usr/bin/env bash
# A cluster on this machine with kind, in Docker or Podman, with a registry at localhost:5001 that its pods pull from.
#   kind.sh up | status | forward | down        kind.sh alone tells more
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=templates/cluster/lib.sh
. "$here/lib.sh"
way=kind
context=kind-$name
port=5001
registry=localhost:$port
keeper=$name-registry

# The engine that kind uses: the one it is told, else Docker if it answers, else Podman.
find_engine() {
  engine=${KIND_EXPERIMENTAL_PROVIDER:-}
  if [[ -z $engine ]]; then
    engine=docker
    docker info >/dev/null 2>&1 || engine=podman
  fi
  export KIND_EXPERIMENTAL_PROVIDER=$engine
}

make_cluster() {
  local image node
  find_engine
  if kind get clusters 2>/dev/null | grep -qx "$name"; then
    say "the cluster $name is there"
  else
    image=${KALEYARD_NODE_IMAGE:-$(value ways.kind.image)}
    quietly "making the cluster $name with kind" kind create cluster --name "$name" --image "$image" --wait 120s
  fi
  make_registry
  # Inside a node localhost is the node: its containerd is told where that registry is.
  for node in $(kind get nodes --name "$name"); do
    "$engine" exec "$node" mkdir -p "/etc/containerd/certs.d/$registry"
    printf '[host."http://%s:5000"]\n' "$keeper" |
      "$engine" exec -i "$node" tee "/etc/containerd/certs.d/$registry/hosts.toml" >/dev/null
  done
}

make_registry() {
  local image
  if [[ $("$engine" inspect --format '{{.State.Running}}' "$keeper" 2>/dev/null) == true ]]; then
    say "the registry $registry is there"
    return
  fi
  "$engine" rm --force "$keeper" >/dev/null 2>&1 || true
  image=${KALEYARD_REGISTRY_IMAGE:-docker.io/library/$(value ways.registry.image)}
  quietly "starting a registry at $registry" \
    "$engine" run --detach --restart always --name "$keeper" --network kind --publish "127.0.0.1:$port:5000" "$image"
}

remove_cluster() {
  find_engine
  quietly "removing the cluster $name" kind delete cluster --name "$name"
  "$engine" rm --force --volumes "$keeper" >/dev/null 2>&1 || true
}

main "$@"
