# The cluster scripts, told to stand-ins (see stand-ins/tool): what they do first, again, when stuck, when undone.
# pytest runs this file (tests/delivery/test_cluster_scripts.py) and says in REAL_KALEYARD where the real command line is.

setup() {
  here=$(cd "$(dirname "$BATS_TEST_FILENAME")" && pwd)
  scripts=$here/../../templates/cluster
  export STATE=$BATS_TEST_TMPDIR/state
  mkdir -p "$STATE"
  export PATH=$here/stand-ins:$PATH KALEYARD=$here/stand-ins/kaleyard KALEYARD_PAUSE=0.1
  unset KALEYARD_CLUSTER KIND_EXPERIMENTAL_PROVIDER KUBECONFIG
}

told() { grep -c -- "$1" "$STATE/log"; }

# The line of the log on which something was first told.
when() { grep -n -m 1 -- "$1" "$STATE/log" | cut -d : -f 1; }

@test "a script alone tells its commands and ends with 2" {
  for script in kind minikube k3d microk8s cluster; do
    run "$scripts/$script.sh"
    [ "$status" -eq 2 ]
    [[ $output == *"up "*"status "*"forward "*"down "* ]]
  done
  run "$scripts/kind.sh" up --nonsense
  [ "$status" -eq 2 ]
  run "$scripts/kind.sh" up --deadline soon
  [ "$status" -eq 2 ]
  run "$scripts/kind.sh" up --with kserve,nothing
  [ "$status" -eq 2 ]
}

@test "kind, fresh: checks, makes cluster and registry, applies in order, waits, says what is next" {
  echo "ml-pipeline 0 1,mysql <none> 1" >"$STATE/readiness"
  echo "ml-pipeline 0 1,mysql 1 1" >>"$STATE/readiness"
  echo "ml-pipeline 1 1,mysql 1 1" >>"$STATE/readiness"
  run "$scripts/kind.sh" up
  echo "$output"
  [ "$status" -eq 0 ]
  [ "$(when 'doctor --for kind')" -eq 1 ]
  [ "$(when 'kind create cluster --name kaleyard --image kindest/node:.*@sha256:')" -lt "$(when 'docker run .*127.0.0.1:5001:5000')" ]
  [ "$(when 'apply .*cluster/kfp/cluster-scoped')" -lt "$(when 'wait --for condition=established')" ]
  [ "$(when 'wait --for condition=established')" -lt "$(when 'apply .*cluster/kfp$')" ]
  [ "$(when 'apply .*cluster/kfp$')" -lt "$(when 'apply .*ways/kind')" ]
  [ "$(told 'kserve')" -eq 0 ]
  grep -q 'host."http://kaleyard-registry:5000"' "$STATE/hosts"
  [[ $output == *"waiting in kubeflow for ml-pipeline, mysql"* ]]
  [[ $output == *"waiting in kubeflow for ml-pipeline"$'\n'* ]]
  [[ $output == *"ready: kubeflow"* ]]
  [[ $output == *"export KALEYARD_REGISTRY=localhost:5001"* ]]
  # Nobody but the cluster that was asked for is told anything.
  [ "$(grep -c '^kubectl' "$STATE/log")" -eq "$(grep -c '^kubectl --context kind-kaleyard ' "$STATE/log")" ]
}

@test "kind, again: makes nothing twice" {
  run "$scripts/kind.sh" up
  run "$scripts/kind.sh" up
  [ "$status" -eq 0 ]
  [ "$(told 'kind create')" -eq 1 ]
  [ "$(told 'docker run')" -eq 1 ]
  [[ $output == *"the cluster kaleyard is there"* ]]
  [[ $output == *"the registry localhost:5001 is there"* ]]
}

@test "kind, with Podman where Docker does not answer" {
  touch "$STATE/no-docker"
  run "$scripts/kind.sh" up
  [ "$status" -eq 0 ]
  [ "$(told 'podman run')" -eq 1 ]
}

@test "stuck: the deadline ends it with 4, and names the workload, the pod and its last events" {
  echo "ml-pipeline 1 1,mysql <none> 1" >"$STATE/readiness"
  echo "ml-pipeline-7d Running true <none>" >"$STATE/pods"
  echo "mysql-0 Pending <none> ContainerCreating" >>"$STATE/pods"
  echo "done-1 Succeeded false <none>" >>"$STATE/pods"
  echo "FailedScheduling 0/1 nodes are available: insufficient memory" >"$STATE/events"
  run "$scripts/kind.sh" up --deadline 1
  echo "$output"
  [ "$status" -eq 4 ]
  [[ $output == *"not ready after 1 s in namespace kubeflow"* ]]
  [[ $output == *"mysql: 0 of 1"* ]]
  [[ $output == *"pod mysql-0: Pending, ContainerCreating"*"FailedScheduling 0/1 nodes"* ]]
  [[ $output != *"pod ml-pipeline-7d"* ]]
  [[ $output != *"pod done-1"* ]]
  [[ $output == *"describe pods"* ]]
  [ "$(told 'involvedObject.name=mysql-0')" -eq 1 ]
}

@test "stuck without a pod: the namespace's warnings are told" {
  echo "mysql <none> 1" >"$STATE/readiness"
  echo 'FailedCreate violates PodSecurity "restricted:latest"' >"$STATE/events"
  run "$scripts/kind.sh" up --deadline 1
  [ "$status" -eq 4 ]
  [[ $output == *"violates PodSecurity"* ]]
  [ "$(told 'type=Warning')" -eq 1 ]
}

@test "doctor says no: nothing is made, exit 4; --anyway goes on" {
  touch "$STATE/doctor-says-no"
  run "$scripts/kind.sh" up
  [ "$status" -eq 4 ]
  [[ $output == *"Mend what is told above"* ]]
  [ "$(wc -l <"$STATE/log")" -eq 1 ]
  run "$scripts/kind.sh" up --anyway
  [ "$status" -eq 0 ]
}

@test "a tool that fails is quoted, and ends it with 4" {
  touch "$STATE/kind-fails"
  run "$scripts/kind.sh" up
  [ "$status" -eq 4 ]
  [[ $output == *"port 6443 is taken"* ]]
  [[ $output == *"failed: making the cluster kaleyard with kind"* ]]
}

@test "what the cluster is not ready for is applied again, but not for ever" {
  echo 2 >"$STATE/apply-fails"
  run "$scripts/kind.sh" up
  [ "$status" -eq 0 ]
  [[ $output == *"not yet: no matches for kind Certificate"* ]]
  echo 99 >"$STATE/apply-fails"
  run "$scripts/kind.sh" up
  [ "$status" -eq 4 ]
  [[ $output == *"it goes on from here"* ]]
}

@test "options: KServe after cert-manager is ready, the Prometheus operator" {
  run "$scripts/kind.sh" up --with kserve,prometheus-operator
  [ "$status" -eq 0 ]
  [ "$(when 'apply .*kserve/cert-manager')" -lt "$(when 'get deployments,statefulsets --namespace cert-manager')" ]
  [ "$(when 'get deployments,statefulsets --namespace cert-manager')" -lt "$(when 'apply .*cluster/kserve$')" ]
  [ "$(told 'apply .*prometheus-operator')" -eq 1 ]
  [ "$(told 'statefulsets --namespace monitoring')" -eq 1 ]
}

@test "kind, undone: cluster and registry go" {
  run "$scripts/kind.sh" up
  run "$scripts/kind.sh" down
  [ "$status" -eq 0 ]
  [ "$(told 'kind delete cluster --name kaleyard')" -eq 1 ]
  [ ! -e "$STATE/cluster" ]
  [ ! -e "$STATE/registry" ]
  run "$scripts/kind.sh" down
  [ "$status" -eq 0 ]
}

@test "status tells what is ready: 0, or 4" {
  run "$scripts/kind.sh" status
  [ "$status" -eq 0 ]
  [[ $output == *"kubeflow: ready"* ]]
  echo "mysql 0 1" >"$STATE/readiness"
  run "$scripts/kind.sh" status
  [ "$status" -eq 4 ]
  [[ $output == *"mysql: 0 of 1"* ]]
}

@test "minikube: fresh, again, undone" {
  run "$scripts/minikube.sh" up
  [ "$status" -eq 0 ]
  [ "$(told 'minikube start --profile kaleyard --cni calico --kubernetes-version v1.* --cpus 4 --memory 8g --disk-size 50g')" -eq 1 ]
  [ "$(told 'apply .*ways/minikube')" -eq 1 ]
  run "$scripts/minikube.sh" up
  [ "$(told 'minikube start')" -eq 1 ]
  run "$scripts/minikube.sh" down
  [ "$status" -eq 0 ]
  [ ! -e "$STATE/cluster" ]
}

@test "k3d: fresh, again, undone; its nodes are told where the registry is" {
  run "$scripts/k3d.sh" up
  [ "$status" -eq 0 ]
  [ "$(told 'k3d cluster create kaleyard --image rancher/k3s:')" -eq 1 ]
  [ "$(told 'apply .*ways/k3d')" -eq 1 ]
  grep -q '"localhost:5001":' "$STATE/registries.yaml"
  grep -q 'http://k3d-kaleyard-registry:5000' "$STATE/registries.yaml"
  run "$scripts/k3d.sh" up
  [ "$(told 'k3d cluster create')" -eq 1 ]
  [ "$(told 'k3d registry create')" -eq 1 ]
  run "$scripts/k3d.sh" down
  [ "$status" -eq 0 ]
  [ ! -e "$STATE/cluster" ]
  [ ! -e "$STATE/registry" ]
}

@test "microk8s: speaks to MicroK8s alone, enables what is needed; undone, MicroK8s stays" {
  run "$scripts/microk8s.sh" up
  [ "$status" -eq 0 ]
  [ "$(told 'microk8s enable')" -eq 3 ]
  [ "$(told 'apply .*ways/microk8s')" -eq 1 ]
  run "$scripts/microk8s.sh" down
  [ "$status" -eq 0 ]
  [ "$(when 'delete .*ways/microk8s')" -lt "$(when 'delete .*cluster/kfp$')" ]
  [ "$(when 'delete .*cluster/kfp$')" -lt "$(when 'delete .*cluster/kfp/cluster-scoped')" ]
}

@test "undoing goes on where kinds are gone already, and stops at any other refusal" {
  run "$scripts/microk8s.sh" up
  echo 'error: resource mapping not found for name: "x": no matches for kind "Y" in version "z/v1"' >"$STATE/delete-says"
  run "$scripts/microk8s.sh" down
  [ "$status" -eq 0 ]
  echo 'Error from server (Forbidden): no' >>"$STATE/delete-says"
  run "$scripts/microk8s.sh" down
  [ "$status" -eq 4 ]
  [[ $output == *"Forbidden"*"failed: removing ways/microk8s"* ]]
}

@test "an existing cluster: never without its name, never one that does not answer" {
  run "$scripts/cluster.sh" up
  [ "$status" -eq 4 ]
  [[ $output == *"--context NAME"* ]]
  touch "$STATE/no-cluster"
  run "$scripts/cluster.sh" up --context prod
  [ "$status" -eq 4 ]
  [[ $output == *"prod does not answer"* ]]
  [ "$(told 'apply' || true)" -eq 0 ]
}

@test "an existing cluster with its own Kubeflow Pipelines: that stays as it is, also when undone" {
  echo "" >"$STATE/kfp"
  run "$scripts/cluster.sh" up --context prod
  echo "$output"
  [ "$status" -eq 0 ]
  [[ $output == *"is there already and is left as it is"* ]]
  [ "$(told 'apply')" -eq 1 ]
  [ "$(told 'apply .*ways/shared')" -eq 1 ]
  echo kaleyard >"$STATE/ours"
  run "$scripts/cluster.sh" down --context prod
  [ "$status" -eq 0 ]
  [ "$(told 'delete')" -eq 1 ]
  [ "$(told 'delete .*ways/shared')" -eq 1 ]
}

@test "air-gapped: every image once, mirrored, renamed in the manifests; up asks for no other address" {
  cat >"$STATE/rendered" <<'YAML'
data:
  _example: |
    {"image": "kserve/agent:v9.9.9"}
  agent: |-
    {"image": "kserve/agent:v0.20.0"}
spec:
  containers:
  - image: mysql:8.4
  - image: ghcr.io/kubeflow/kfp-api-server:2.17.0
    args: [--executor-image, quay.io/argoproj/argoexec:v4.0.5]
    env:
    - value: ghcr.io/kubeflow/kfp-launcher:2.17.0
  - image: registry.example/other-mysql:8.4
YAML
  run "$scripts/airgap.sh" save "$BATS_TEST_TMPDIR/gap"
  echo "$output"
  [ "$status" -eq 0 ]
  run cat "$BATS_TEST_TMPDIR/gap/images.txt"
  [ "${#lines[@]}" -eq 6 ]
  [[ $output == *"quay.io/argoproj/argoexec:v4.0.5"* ]]
  [[ $output != *v9.9.9* ]]
  run "$scripts/airgap.sh" mirror "$BATS_TEST_TMPDIR/gap" registry.here:5000/
  [ "$status" -eq 0 ]
  [ "$(told 'docker push --quiet registry.here:5000/')" -eq 6 ]
  run cat "$BATS_TEST_TMPDIR/gap/mirrored/kfp.yaml"
  [[ $output == *'"registry.here:5000/kserve/agent:v0.20.0"'* ]]
  [[ $output == *"image: registry.here:5000/mysql:8.4"* ]]
  [[ $output == *"image: registry.here:5000/registry.example/other-mysql:8.4"* ]]
  [[ $output == *"registry.here:5000/quay.io/argoproj/argoexec:v4.0.5]"* ]]
  rm "$STATE/log"
  run "$scripts/kind.sh" up --manifests "$BATS_TEST_TMPDIR/gap/mirrored"
  [ "$status" -eq 0 ]
  [ "$(told 'apply .* -k' || true)" -eq 0 ]
  [ "$(told 'apply .* -f .*mirrored/kfp-cluster-scoped.yaml')" -eq 1 ]
  [ "$(told 'apply .* -f .*mirrored/ways-kind.yaml')" -eq 1 ]
}

@test "air-gapped: without a network nothing half-made is left" {
  run "$scripts/airgap.sh" save "$BATS_TEST_TMPDIR/gap"
  [ "$status" -eq 4 ]
  [[ $output == *"rendering kfp/cluster-scoped failed"* ]]
  [ ! -e "$BATS_TEST_TMPDIR/gap/images.txt" ]
}
