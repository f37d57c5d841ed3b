#!/usr/bin/env bash
# A cluster on this machine with k3d, in Docker, with a registry at localhost:5001 that its pods pull from.
#   k3d.sh up | status | forward | down        k3d.sh alone tells more
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=templates/cluster/lib.sh
. "$here/lib.sh"
way=k3d
context=k3d-$name
port=5001
registry=localhost:$port

make_cluster() {
  local file image
  if ! k3d registry list --no-headers 2>/dev/null | grep -q "^k3d-$name-registry "; then
    quietly "starting a registry at $registry" k3d registry create "$name-registry" --port "127.0.0.1:$port"
  fi
  if k3d cluster list --no-headers 2>/dev/null | grep -q "^$name "; then
    say "the cluster $name is there"
    return
  fi
  file=$(mktemp)
  # Inside a node localhost is the node: it is told where that registry is.
  printf 'mirrors:\n  "%s":\n    endpoint: ["http://k3d-%s-registry:5000"]\n' "$registry" "$name" >"$file"
  image=${KALEYARD_NODE_IMAGE:-$(value ways.k3d.image)}
  quietly "making the cluster $name with k3d" k3d cluster create "$name" --image "$image" \
    --registry-use "k3d-$name-registry:$port" --registry-config "$file" --wait --timeout 180s
  rm -f "$file"
}

remove_cluster() {
  quietly "removing the cluster $name" k3d cluster delete "$name"
  k3d registry delete "k3d-$name-registry" >/dev/null 2>&1 || true
}

main "$@"
