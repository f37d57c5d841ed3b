#!/usr/bin/env bash
# Everything that a cluster without the internet needs, from a machine that has it.
#   airgap.sh save FOLDER               the manifests as plain files, and images.txt: every image they name
#   airgap.sh mirror FOLDER REGISTRY    those images into your registry, and FOLDER/mirrored: manifests that name them there
#   airgap.sh images FOLDER             the list again, from the manifests
# Then, without the internet: kind.sh up --manifests FOLDER/mirrored. No other address is asked for anything.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=templates/cluster/lib.sh
. "$here/lib.sh"

parts="kfp/cluster-scoped kfp kserve/cert-manager kserve prometheus-operator"

# Every image that the manifests name, wherever: containers, arguments, variables, settings. Examples in settings are not.
list_images() {
  sed -E '/^  _example: /,/^  [a-zA-Z]+: /{/^  [a-zA-Z]+: /!d;}' "$1"/*.yaml |
    grep -oE '[iI]mage: *"?[a-z0-9][a-zA-Z0-9._/:@-]+|[a-z0-9][a-z0-9.-]*(/[a-z0-9._-]+)+:v?[0-9][A-Za-z0-9._-]*' |
    sed -E 's/^[iI]mage: *"?//' | grep -E '[/:]' | LC_ALL=C sort -u
}

save() {
  local part folder=$1 ways
  mkdir -p "$folder"
  for ways in "$here"/ways/*/; do
    parts="$parts ways/$(basename "$ways")"
  done
  for part in $parts; do
    say "rendering $part"
    kubectl kustomize "$here/$part" >"$folder/.part" || fail "rendering $part failed: is there a network, and git?"
    mv "$folder/.part" "$folder/$(rendered "$part")"
  done
  list_images "$folder" >"$folder/images.txt"
  say "$(wc -l <"$folder/images.txt" | tr -d ' ') images: $folder/images.txt"
}

mirror() {
  local folder=$1 registry=${2%/} image file engine=${KALEYARD_ENGINE_COMMAND:-docker} script
  [[ -f $folder/images.txt ]] || fail "$folder has no images.txt: run airgap.sh save $folder first"
  script=$(mktemp)
  while read -r image; do
    say "mirroring $image"
    "$engine" pull --quiet "$image" >/dev/null
    "$engine" tag "$image" "$registry/$image"
    "$engine" push --quiet "$registry/$image" >/dev/null
    # The whole name, and nothing that only begins or ends like it.
    printf 's#(^|[^A-Za-z0-9._/-])%s($|[^A-Za-z0-9._-])#\\1%s/%s\\2#g\n' "${image//./\\.}" "$registry" "$image" >>"$script"
  done <"$folder/images.txt"
  mkdir -p "$folder/mirrored"
  for file in "$folder"/*.yaml; do
    sed -E -f "$script" "$file" >"$folder/mirrored/$(basename "$file")"
  done
  rm -f "$script"
  say "manifests that name them in $registry: $folder/mirrored"
}

case ${1:-}/$# in
  save/2 | mirror/3) "$@" ;;
  images/2) list_images "$2" ;;
  *)
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
