# shellcheck shell=bash disable=SC2154 # here, way and manifests are lib.sh's and the script's
# Undoing in a cluster that stays: what was installed from here goes, in reverse, and nothing else.

# Delete what a kustomization makes. What is gone already, and kinds whose definitions are gone already, are no failure:
# so an undoing that was broken off goes on where it stopped.
remove() {
  local source=(-k "$here/$1") log
  [[ -z $manifests ]] || source=(-f "$manifests/$(rendered "$1")")
  log=$(mktemp)
  say "removing $1"
  if ! kube delete --ignore-not-found --wait --timeout=300s "${source[@]}" >"$log" 2>&1 &&
    { ! grep -q 'no matches for kind' "$log" ||
      grep -iE '^error|error from server' "$log" | grep -qvE 'no matches for kind|not ?found'; }; then
    tail -n 10 "$log" >&2
    rm -f "$log"
    fail "failed: removing $1"
  fi
  rm -f "$log"
}

# Whether a namespace was made from here: it carries the label until the last of it is gone.
ours() {
  [[ $(kube get namespace "$1" --output "jsonpath={.metadata.labels['app\.kubernetes\.io/managed-by']}" 2>/dev/null) == kaleyard ]]
}

remove_installed() {
  ! ours monitoring || remove prometheus-operator
  ! ours kserve || remove kserve
  ! ours cert-manager || remove kserve/cert-manager
  if ours kubeflow; then
    remove "ways/$way"
    remove kfp
    remove kfp/cluster-scoped
  elif ours kaleyard; then
    remove ways/shared
  fi
}
