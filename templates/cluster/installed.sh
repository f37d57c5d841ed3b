# shellcheck shell=bash disable=SC2154 # here, way and manifests are lib.sh's and the script's
# Undoing in a cluster that stays: what was installed from here goes, in reverse, and nothing else.

# Delete what a kustomization makes, if the namespace or definition it lives by is there.
remove() {
  local source=(-k "$here/$1")
  [[ -z $manifests ]] || source=(-f "$manifests/$(rendered "$1")")
  quietly "removing $1" kube delete --ignore-not-found --wait --timeout=300s "${source[@]}"
}

ours() {
  [[ $(kube get "$@" --output "jsonpath={.metadata.labels['app\.kubernetes\.io/managed-by']}" 2>/dev/null) == kaleyard ]]
}

remove_installed() {
  ! ours deployment prometheus-operator --namespace monitoring || remove prometheus-operator
  ! ours deployment kserve-controller-manager --namespace kserve || remove kserve
  ! ours deployment cert-manager --namespace cert-manager || remove kserve/cert-manager
  if ours deployment ml-pipeline --namespace kubeflow; then
    remove "ways/$way"
    remove kfp
    remove kfp/cluster-scoped
  elif ours namespace kaleyard; then
    remove ways/shared
  fi
}
