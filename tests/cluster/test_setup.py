"""What only a live cluster can prove of the set-up: that it is up, and that what is ours is refused what it must be.

    KALEYARD_KUBE_CONTEXT=kind-kaleyard make test-cluster

after `templates/cluster/kind.sh up`, or another way's. Everything here asks; nothing is changed.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

# Read before the tests' own settings hide it.
CONTEXT = os.environ.get("KALEYARD_KUBE_CONTEXT", "")
STEPS = "system:serviceaccount:kubeflow:kaleyard-steps"
SUBMIT = "system:serviceaccount:kaleyard:kaleyard-submit"

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not CONTEXT, reason="KALEYARD_KUBE_CONTEXT names no cluster"),
]


def kubectl(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    command = ["kubectl", "--context", CONTEXT, *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=False)


def pod(**context: Any) -> str:
    """A pod in our namespace that the restricted level accepts, but for these settings."""
    container = {
        "name": "c",
        "image": "registry.example/none",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        | context,
    }
    metadata = {"name": "kaleyard-test", "namespace": "kaleyard"}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}})


def test_everything_that_was_installed_is_ready() -> None:
    told = json.loads(kubectl("get", "deployments", "--namespace", "kubeflow", "--output", "json").stdout)
    assert told["items"]
    for one in told["items"]:
        assert one["status"].get("readyReplicas", 0) == one["spec"]["replicas"], one["metadata"]["name"]


def may(who: str, verb: str, what: str, where: str) -> bool:
    """Whether Kubernetes would let an account do that; `what` is group/resource, /subresource, /=name."""
    group, resource, *rest = what.split("/")
    attributes = {"namespace": where, "verb": verb, "group": group, "resource": resource}
    for one in rest:
        attributes |= {"name": one[1:]} if one.startswith("=") else {"subresource": one}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": who, "resourceAttributes": attributes},
    }
    done = kubectl("create", "--filename", "-", "--output", "json", given=json.dumps(review))
    assert done.returncode == 0, done.stderr
    return bool(json.loads(done.stdout)["status"]["allowed"])


@pytest.mark.parametrize(
    ("who", "verb", "what", "where"),
    [
        (STEPS, "get", "/secrets/=mlpipeline-minio-artifact", "kubeflow"),
        (STEPS, "create", "argoproj.io/workflowtaskresults", "kubeflow"),
        (STEPS, "create", "/persistentvolumeclaims", "kubeflow"),
        (SUBMIT, "create", "pipelines.kubeflow.org/runs", "kubeflow"),
        (SUBMIT, "create", "pipelines.kubeflow.org/jobs", "kubeflow"),
        (SUBMIT, "get", "/pods/log", "kubeflow"),
    ],
)
def test_what_an_account_needs_it_may(who: str, verb: str, what: str, where: str) -> None:
    assert may(who, verb, what, where)


@pytest.mark.parametrize(
    ("who", "verb", "what", "where"),
    [
        (STEPS, "list", "/secrets", "kubeflow"),
        (STEPS, "get", "/secrets/=mysql-secret", "kubeflow"),
        (STEPS, "create", "/pods", "kubeflow"),
        (STEPS, "list", "/pods", "kaleyard"),
        (SUBMIT, "get", "/secrets", "kubeflow"),
        (SUBMIT, "create", "/pods", "kubeflow"),
        (SUBMIT, "create", "/pods", "kaleyard"),
        (SUBMIT, "create", "/pods/exec", "kubeflow"),
    ],
)
def test_what_an_account_does_not_need_it_may_not(who: str, verb: str, what: str, where: str) -> None:
    assert not may(who, verb, what, where)


def test_our_namespace_takes_a_pod_of_the_restricted_level_and_no_other() -> None:
    create = ("create", "--dry-run=server", "--filename", "-")
    assert kubectl(*create, given=pod()).returncode == 0
    refused: list[dict[str, Any]] = [{"runAsNonRoot": False}, {"privileged": True}, {"capabilities": {}}]
    for bad in refused:
        done = kubectl(*create, given=pod(**bad))
        assert done.returncode != 0
        assert "restricted" in done.stderr or "privileged" in done.stderr
