"""The cluster's manifests: they build, Kubernetes' schemas allow them, and nothing of ours may more than it must.

What is ours is built whole, by the real kubectl. Of what others make (Kubeflow Pipelines, KServe,
cert-manager, the Prometheus operator) only the address is ours: no test fetches it, a few objects stand in for it.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from cluster_tools import kustomize
from kaleyard.compatibility import compatibility, value
from pod_security import pods_in, violations

WAYS = ("kind", "minikube", "k3d", "microk8s", "cluster")
RESTRICTED = "pod-security.kubernetes.io/enforce"
# The ports on which each way's Kubernetes API listens, as a pod sees it.
API_PORTS = {"kind": 6443, "minikube": 8443, "k3d": 6443, "microk8s": 16443, "cluster": 443}


@pytest.fixture(scope="module")
def folder(repository: Path) -> Path:
    return repository / "templates" / "cluster"


@pytest.fixture(scope="module")
def ours(folder: Path) -> list[dict[str, Any]]:
    return kustomize(folder / "ways" / "kind")


def named(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = [o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name]
    return found


def test_every_way_builds_the_same_objects_and_differs_in_one_value(folder: Path, ours: list[dict[str, Any]]) -> None:
    for way in WAYS:
        objects = kustomize(folder / "ways" / way)
        policy = named(objects, "NetworkPolicy", "kaleyard-steps")
        port = policy["spec"]["egress"][2]["ports"][0]
        assert port["port"] == API_PORTS[way]
        port["port"] = API_PORTS["kind"]
        assert objects == ours


def test_where_others_have_kubeflow_pipelines_no_policy_is_made_for_their_steps(
    folder: Path, ours: list[dict[str, Any]]
) -> None:
    shared = kustomize(folder / "ways" / "shared")
    gone = [o for o in ours if o not in shared]
    assert {(o["kind"], o["metadata"]["namespace"]) for o in gone} == {("NetworkPolicy", "kubeflow")}
    assert [o for o in shared if o not in ours] == []


def test_every_object_of_ours_is_what_kubernetes_schema_allows(ours: list[dict[str, Any]], repository: Path) -> None:
    schema = json.loads((repository / "tests" / "schemas" / "kubernetes-1.36.json").read_text())
    for one in ours:
        validator = Draft202012Validator({"$ref": schema["kinds"][one["kind"]]["$ref"], "$defs": schema["$defs"]})
        assert [e.message for e in validator.iter_errors(one)] == [], one["metadata"]["name"]
    # The schemas are strict ones: what they do not know is an error.
    broken = {**ours[0], "spek": {}}
    validator = Draft202012Validator({"$ref": schema["kinds"][broken["kind"]]["$ref"], "$defs": schema["$defs"]})
    assert list(validator.iter_errors(broken))


def test_our_namespaces_refuse_what_pod_securitys_restricted_level_refuses(
    folder: Path, ours: list[dict[str, Any]]
) -> None:
    labels = named(ours, "Namespace", "kaleyard")["metadata"]["labels"]
    assert {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")} == {"restricted"}
    for path in (folder / "prometheus-operator" / "namespace.yaml", folder / "kserve" / "kustomization.yaml"):
        assert f"{RESTRICTED}: restricted" in path.read_text()


GOOD_POD: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {"name": "c", "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
    ],
    "volumes": [{"name": "v", "emptyDir": {}}],
}


def container(**changes: Any) -> dict[str, Any]:
    (one,) = GOOD_POD["containers"]
    return {"containers": [{**one, **changes, "securityContext": one["securityContext"] | changes.get("context", {})}]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"hostNetwork": True}, "hostNetwork"),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "volume v"),
        ({"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}, "runAsNonRoot"),
        ({"securityContext": {"runAsNonRoot": True}}, "seccompProfile"),
        ({"securityContext": GOOD_POD["securityContext"] | {"runAsUser": 0}}, "runAsUser"),
        (container(context={"allowPrivilegeEscalation": True}), "allowPrivilegeEscalation"),
        (container(context={"capabilities": {"drop": ["NET_RAW"]}}), "drop"),
        (container(context={"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}}), "SYS_ADMIN"),
        (container(context={"privileged": True}), "privileged"),
        (container(context={"procMount": "Unmasked"}), "procMount"),
        (container(ports=[{"containerPort": 80, "hostPort": 80}]), "hostPort"),
        ({"initContainers": [{"name": "i"}]}, "container i"),
    ],
)
def test_what_the_restricted_level_refuses_is_found(changes: dict[str, Any], words: str) -> None:
    found = violations(GOOD_POD | changes)
    assert bool(found) == bool(words)
    assert all(words in one for one in found if words)


def test_every_pod_of_ours_fits_the_restricted_level(repository: Path) -> None:
    looked_at = 0
    for path in (repository / "templates").rglob("*.yaml"):
        if "cookiecutter" in path.as_posix():
            continue
        for one in yaml.safe_load_all(path.read_text()):
            for pod in pods_in(one):
                assert violations(pod) == [], path
                looked_at += 1
    assert looked_at


def test_roles_name_every_verb_and_resource_and_reach_no_secret_but_by_name(ours: list[dict[str, Any]]) -> None:
    rules = {o["metadata"]["name"]: o["rules"] for o in ours if o["kind"] == "Role"}
    assert set(rules) == {"kaleyard-submit", "kaleyard-steps"}
    assert not [o for o in ours if o["kind"].startswith("Cluster")]
    for rule in (r for every in rules.values() for r in every):
        assert "*" not in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]]
        if {"secrets", "configmaps"} & set(rule["resources"]):
            assert rule["resourceNames"]
            assert rule["verbs"] == ["get"]
        # Nobody of ours can start pods, speak into them, or give rights away.
        assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])
        if "pods" in rule["resources"]:
            assert set(rule["verbs"]) <= {"get", "list"}
            assert "pods/exec" not in rule["resources"]
    may = {(res, verb) for r in rules["kaleyard-steps"] for res in r["resources"] for verb in r["verbs"]}
    assert may == {
        ("pods", "get"),
        ("configmaps", "get"),
        ("secrets", "get"),
        ("persistentvolumeclaims", "create"),
        ("persistentvolumeclaims", "get"),
        ("persistentvolumeclaims", "delete"),
        ("workflowtaskresults", "create"),
        ("workflowtaskresults", "patch"),
    }
    assert not any("secrets" in r["resources"] for r in rules["kaleyard-submit"])


def test_each_role_is_bound_to_its_own_account_alone(ours: list[dict[str, Any]]) -> None:
    accounts = {(o["metadata"]["name"], o["metadata"]["namespace"]) for o in ours if o["kind"] == "ServiceAccount"}
    for binding in (o for o in ours if o["kind"] == "RoleBinding"):
        (subject,) = binding["subjects"]
        assert subject["kind"] == "ServiceAccount"
        assert (subject["name"], subject["namespace"]) in accounts
        assert binding["roleRef"]["name"] == subject["name"]


def test_policies_deny_by_default_and_open_everything_only_by_the_label(ours: list[dict[str, Any]]) -> None:
    policies = [o for o in ours if o["kind"] == "NetworkPolicy"]
    for policy in policies:
        spec = policy["spec"]
        everything = [rule for rule in spec.get("egress", []) if not rule]
        chosen = spec["podSelector"].get("matchLabels", {})
        assert bool(everything) == (chosen.get("kaleyard/network") == "on"), policy["metadata"]["name"]
        assert not spec.get("ingress")
        if not everything:
            assert spec["policyTypes"] == ["Ingress", "Egress"]
            assert all(rule["ports"] for rule in spec["egress"])
    everybody = named(policies, "NetworkPolicy", "default")
    assert everybody["spec"]["podSelector"] == {}
    steps = named(policies, "NetworkPolicy", "kaleyard-steps")["spec"]["egress"]
    # To whom nobody is named, only Kubernetes' own API is open.
    assert [rule["ports"] for rule in steps if "to" not in rule] == [[{"protocol": "TCP", "port": 6443}]]


def test_no_secret_is_written_anywhere(folder: Path, ours: list[dict[str, Any]]) -> None:
    assert not [o for o in ours if o["kind"] == "Secret"]
    for path in folder.rglob("*.yaml"):
        text = path.read_text()
        assert "secretGenerator" not in text
        assert not re.search(r"(?i)(password|token|accesskey|secretkey)\s*:\s*\S", text), path


def test_versions_in_the_kustomizations_are_those_of_the_matrix(folder: Path) -> None:
    texts = {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*.yaml")}
    told = {
        "kfp/kustomization.yaml": (r"kubeflow/pipelines/.*\?ref=([^&\s]+)", "kfp.version"),
        "kfp/cluster-scoped/kustomization.yaml": (r"kubeflow/pipelines/.*\?ref=([^&\s]+)", "kfp.version"),
        "kserve/kustomization.yaml": (r"kserve/kserve/.*\?ref=([^&\s]+)", "kserve.version"),
        "kserve/settings.yaml": (r'kserve/(?:agent|router|storage-initializer):([^"]+)', "kserve.version"),
        "kserve/cert-manager/kustomization.yaml": (r"releases/download/([^/]+)/", "cert-manager.version"),
        "prometheus-operator/kustomization.yaml": (
            r"prometheus-operator\?ref=([^&\s]+)",
            "prometheus-operator.version",
        ),
    }
    for name, (pattern, key) in told.items():
        found = re.findall(pattern, texts[name])
        assert found, name
        assert set(found) == {value(key)}, name
    remote = [m for text in texts.values() for m in re.findall(r"(?m)^ +- (\S*github\.com/\S+)", text)]
    assert len(remote) == 5
    for address in remote:
        assert re.search(r"(\?ref=|/download/)v?\d+\.\d+\.\d+", address), address
    for name, text in texts.items():
        assert ":latest" not in text, name
        assert "newTag: latest" not in text, name


def test_the_matrix_says_where_each_entry_was_read() -> None:
    for name, entry in compatibility().items():
        entries = entry.values() if name in {"tools", "ways", "machine"} else [entry]
        assert all(e.get("source") for e in entries), name


STAND_INS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "kfp": (
        "kfp",
        [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "pipeline-install-config", "namespace": "kubeflow"},
                "data": {"appVersion": "x", "defaultSecurityContextRunAsNonRoot": ""},
            },
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "ml-pipeline", "namespace": "kubeflow"},
                "spec": {"template": {"spec": {"containers": [{"name": "ml-pipeline-api-server", "image": "x:1"}]}}},
            },
        ],
    ),
    "kserve": (
        "kserve",
        [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kserve"}},
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "inferenceservice-config", "namespace": "kserve"},
                "data": {"deploy": '{"defaultDeploymentMode": "Serverless"}', "credentials": "{}"},
            },
            {
                "apiVersion": "serving.kserve.io/v1alpha1",
                "kind": "ClusterStorageContainer",
                "metadata": {"name": "default", "namespace": "kserve"},
                "spec": {"container": {"name": "storage-initializer", "image": "kserve/storage-initializer:latest"}},
            },
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "kserve-controller-manager", "namespace": "kserve"},
                "spec": {
                    "template": {"spec": {"containers": [{"name": "m", "image": "kserve/kserve-controller:latest"}]}}
                },
            },
        ],
    ),
    "prometheus-operator": (
        "prometheus-operator",
        [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "p", "namespace": "default"}},
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": "p"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "p"},
                "subjects": [{"kind": "ServiceAccount", "name": "p", "namespace": "default"}],
            },
        ],
    ),
}


def with_stand_in(folder: Path, part: str, target: Path) -> list[dict[str, Any]]:
    """What a kustomization of ours makes of a few objects in place of what it fetches."""
    sub, objects = STAND_INS[part]
    shutil.copytree(folder / sub, target)
    (target / "stand-in.yaml").write_text(yaml.safe_dump_all(objects))
    path = target / "kustomization.yaml"
    path.write_text(re.sub(r"(?m)^  - \S*github\.com\S+$", "  - stand-in.yaml", path.read_text()))
    return kustomize(target)


@pytest.mark.parametrize("part", STAND_INS)
def test_our_changes_to_what_others_make_take_effect(folder: Path, tmp_path: Path, part: str) -> None:
    objects = with_stand_in(folder, part, tmp_path / part)
    assert all(o["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "kaleyard" for o in objects)
    assert ":latest" not in json.dumps(objects)
    if part == "kfp":
        config = named(objects, "ConfigMap", "pipeline-install-config")["data"]
        assert config == {"appVersion": "x", "defaultSecurityContextRunAsNonRoot": "true"}
        (server,) = named(objects, "Deployment", "ml-pipeline")["spec"]["template"]["spec"]["containers"]
        assert server["env"] == [{"name": "DEFAULTPIPELINERUNNERSERVICEACCOUNT", "value": "kaleyard-steps"}]
    if part == "kserve":
        settings = named(objects, "ConfigMap", "inferenceservice-config")["data"]
        assert json.loads(settings["deploy"]) == {"defaultDeploymentMode": "Standard"}
        assert all(json.loads(text) is not None for text in settings.values())
        assert settings["credentials"] == "{}"
        assert named(objects, "Namespace", "kserve")["metadata"]["labels"][RESTRICTED] == "restricted"
    if part == "prometheus-operator":
        binding = named(objects, "ClusterRoleBinding", "p")
        assert binding["subjects"][0]["namespace"] == "monitoring"
        assert named(objects, "Namespace", "monitoring")["metadata"]["labels"][RESTRICTED] == "restricted"
