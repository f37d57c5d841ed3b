# shellcheck shell=bash
# What the scripts beside this one share: checking first, applying, waiting with a deadline, naming what is stuck, undoing.
# shellcheck disable=SC2034,SC2154 # what is set in one of them is used in another
# A script says `way`, `context`, `port` (of the registry, for people), make_cluster and remove_cluster, then: main "$@"
# It runs in bash 3.2 and later, which macOS has.
set -Eeuo pipefail
trap 'echo "$0: line $LINENO failed: $BASH_COMMAND" >&2' ERR

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
name=${KALEYARD_CLUSTER:-kaleyard}
deadline=1800 # seconds for everything to be ready: mostly the time that images take to come
pause=${KALEYARD_PAUSE:-5}
tries=12 # with a pause between them: a minute for webhooks to answer
manifests=""
with=""
anyway=""
context=""
registry=""
started=$SECONDS

say() { printf '%4d s  %s\n' $((SECONDS - started)) "$*"; }

fail() {
  trap - ERR
  printf '\n%s\n' "$*" >&2
  exit 4
}

usage() {
  cat >&2 <<USAGE
$0 COMMAND [OPTION...]
  up         make the cluster, install Kubeflow Pipelines and what is ours, wait until it is ready; again: only what is missing
  status     what is ready and what is not
  forward    Kubeflow Pipelines' API at http://127.0.0.1:8888 and its pages at http://127.0.0.1:8080, until Ctrl-C
  down       undo it
options of up and status:
  --with kserve,prometheus-operator   these too
  --deadline SECONDS                  how long to wait (now $deadline)
  --manifests FOLDER                  what airgap.sh made, instead of asking the network
  --anyway                            go on although kaleyard doctor says no
${more_usage:-}
USAGE
  exit 2
}

# The command line of this project: of the clone that this file is in, else the one on the path.
kaleyard() {
  local found=${KALEYARD:-$here/../../.venv/bin/kaleyard}
  [[ -x $found ]] || found=$(type -P kaleyard) || fail "kaleyard is not installed: run make run in the clone, or pip install kaleyard"
  "$found" "$@"
}

# A value of compatibility.yaml.
value() { kaleyard doctor --value "$1"; }

kube() { kubectl --context "$context" "$@"; }

has() { kube get "$@" >/dev/null 2>&1; }

left() { echo $((deadline - (SECONDS - started))); }

# Tell what is done, do it, and show its words only if it fails.
quietly() {
  local what=$1 log
  shift
  log=$(mktemp)
  say "$what"
  "$@" >"$log" 2>&1 && {
    rm -f "$log"
    return
  }
  trap - ERR
  tail -n 20 "$log" >&2
  rm -f "$log"
  fail "failed: $what"
}

# Apply a kustomization of this folder, or what was rendered of it; again if the cluster is not yet ready for it.
apply() {
  local file=$1 try=1 log
  log=$(mktemp)
  say "applying $file"
  until apply_once "$file" >"$log" 2>&1; do
    if ((try >= tries || $(left) <= 0)); then
      tail -n 5 "$log" >&2
      rm -f "$log"
      fail "applying $file failed $try times; the last words are above. Mend it, then run this again: it goes on from here."
    fi
    say "  not yet: $(tail -n 1 "$log")"
    sleep "$pause"
    try=$((try + 1))
  done
  rm -f "$log"
}

apply_once() {
  if [[ -n $manifests ]]; then
    kube apply --server-side --force-conflicts -f "$manifests/$(rendered "$1")"
  else
    kube apply --server-side --force-conflicts -k "$here/$1"
  fi
}

rendered() { echo "${1//\//-}.yaml"; }

# The Deployments and StatefulSets of a namespace that are not ready: name, ready, wanted.
unready() {
  kube get deployments,statefulsets --namespace "$1" --no-headers \
    --output custom-columns=NAME:.metadata.name,READY:.status.readyReplicas,WANTED:.spec.replicas 2>/dev/null |
    awk '{ ready = $2 == "<none>" ? 0 : $2; if (ready + 0 < $3 + 0) print $1, ready, $3 }'
}

wait_ready() {
  local namespace=$1 waiting last="?"
  while :; do
    waiting=$(unready "$namespace")
    [[ -n $waiting ]] || break
    if (($(left) <= 0)); then
      stuck "$namespace" "$waiting"
    fi
    if [[ $waiting != "$last" ]]; then
      say "waiting in $namespace for $(awk '{ printf "%s%s", separator, $1; separator = ", " }' <<<"$waiting")"
      last=$waiting
    fi
    sleep "$pause"
  done
  say "ready: $namespace"
}

# Name what is stuck, its pods, and what was last said of them; end with 4.
stuck() {
  local namespace=$1 pod pods
  trap - ERR
  {
    echo
    echo "not ready after $deadline s in namespace $namespace:"
    awk '{ print "  " $1 ": " $2 " of " $3 }' <<<"$2"
    pods=$(kube get pods --namespace "$namespace" --no-headers --output \
      "custom-columns=NAME:.metadata.name,PHASE:.status.phase,READY:.status.containerStatuses[*].ready,WHY:.status.containerStatuses[*].state.waiting.reason" |
      awk '$2 != "Succeeded" && ($2 != "Running" || $3 ~ /false|none/) { print $1, $2, $4 }')
    while read -r pod phase why; do
      [[ -n $pod ]] || continue
      echo "  pod $pod: $phase${why:+, $why}"
      last_events "$namespace" "$pod"
    done <<<"$pods"
    [[ -n $pods ]] || last_events "$namespace" ""
  } >&2
  fail "Look closer with: kubectl --context $context --namespace $namespace describe pods
Then run this again with a longer --deadline: it goes on from here."
}

# The last events of a pod, or of the whole namespace if no pod could be made at all.
last_events() {
  local only="type=Warning"
  [[ -z $2 ]] || only="involvedObject.name=$2"
  kube get events --namespace "$1" --field-selector "$only" --sort-by .lastTimestamp --no-headers \
    --output custom-columns=WHY:.reason,WHAT:.message 2>/dev/null | tail -n 3 | sed 's/^/    /'
}

wanted() { [[ ,$with, == *,"$1",* ]]; }

# Whether Kubeflow Pipelines is there, and was not installed from here.
foreign_kfp() {
  has deployment ml-pipeline --namespace kubeflow &&
    [[ $(kube get deployment ml-pipeline --namespace kubeflow --output "jsonpath={.metadata.labels['app\.kubernetes\.io/managed-by']}") != kaleyard ]]
}

up() {
  check
  make_cluster
  local values=$way
  if foreign_kfp; then
    say "Kubeflow Pipelines is there already and is left as it is"
    values=shared
  else
    apply kfp/cluster-scoped
    quietly "waiting for its definitions" kube wait --for condition=established --timeout=120s \
      crd/applications.app.k8s.io crd/workflows.argoproj.io
    apply kfp
  fi
  apply "ways/$values"
  if wanted kserve; then
    apply kserve/cert-manager
    wait_ready cert-manager
    apply kserve
  fi
  ! wanted prometheus-operator || apply prometheus-operator
  [[ $values == shared ]] || wait_ready kubeflow
  ! wanted kserve || wait_ready kserve
  ! wanted prometheus-operator || wait_ready monitoring
  say "done"
  finished
}

check() {
  say "checking this machine"
  KALEYARD_KUBE_CONTEXT=$context kaleyard doctor --for "$way" || [[ -n $anyway ]] ||
    fail "Mend what is told above, then run this again; or go on all the same with --anyway."
}

finished() {
  cat <<DONE

Kubeflow Pipelines $(value kfp.version) is ready. In another terminal, and leave it running:
  $0 forward
Then, in your project:
  export KALEYARD_KFP_HOST=http://127.0.0.1:8888
DONE
  [[ -z $registry ]] || echo "  export KALEYARD_REGISTRY=$registry"
  cat <<DONE
  kaleyard doctor --for submit
  kaleyard build notebooks/housing.ipynb
  kaleyard submit notebooks/housing.ipynb --wait
DONE
}

status() {
  local namespace waiting bad=0
  for namespace in kubeflow kserve monitoring cert-manager; do
    has namespace "$namespace" || continue
    waiting=$(unready "$namespace")
    if [[ -z $waiting ]]; then
      echo "$namespace: ready"
    else
      bad=4
      echo "$namespace: not ready"
      awk '{ print "  " $1 ": " $2 " of " $3 }' <<<"$waiting"
    fi
  done
  exit $bad
}

forward() {
  trap 'kill $(jobs -p) 2>/dev/null; rm -f "${settings:-}"' EXIT
  echo "http://127.0.0.1:8888 is Kubeflow Pipelines' API, http://127.0.0.1:8080 its pages; Ctrl-C ends both"
  kube port-forward --namespace kubeflow --address 127.0.0.1 service/ml-pipeline-ui 8080:80 >/dev/null &
  kube port-forward --namespace kubeflow --address 127.0.0.1 service/ml-pipeline 8888:8888 >/dev/null
}

down() {
  remove_cluster
  say "gone"
}

main() {
  local command=${1:-}
  [[ -n $command ]] && shift
  while (($#)); do
    case $1 in
      --with) with=${2:?$1 what?} && shift ;;
      --deadline) deadline=${2:?$1 how many seconds?} && shift ;;
      --manifests) manifests=$(cd "${2:?$1 where?}" && pwd) && shift ;;
      --context) context=${2:?$1 which?} && shift ;;
      --anyway) anyway=yes ;;
      *) usage ;;
    esac
    shift
  done
  case $deadline in *[!0-9]* | "") usage ;; esac
  [[ $with =~ ^((kserve|prometheus-operator)(,|$))*$ ]] || usage
  # Never whatever kubectl happens to have chosen: that may be somebody's production.
  [[ -n $context || -z $command ]] || fail "Say which cluster: --context NAME (kubectl config get-contexts lists them)"
  case $command in
    up | status | forward | down) "$command" ;;
    *) usage ;;
  esac
}
