"""KFP's executor input and executor output, read and written.

The executor input is one JSON argument; the executor output is a file whose path the input names. Their fields:
https://github.com/kubeflow/pipelines/blob/master/api/v2alpha1/pipeline_spec.proto (ExecutorInput, ExecutorOutput).
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kaleyard.errors import UsageError

__all__ = ["ArtifactFile", "ExecutorInput", "atomic_write", "read_executor_input", "write_executor_output"]

# Where KFP's launcher mounts artifacts with these URI schemes.
_MOUNTS = {"gs://": "/gcs/", "s3://": "/s3/", "minio://": "/minio/", "oci://": "/oci/", "file://": "/"}


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """An artifact of the executor input: its URI, its path on this machine, its metadata."""

    name: str
    uri: str
    path: Path
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExecutorInput:
    """The executor input of a step: parameter values, input and output artifacts, the path of its executor output."""

    parameters: Mapping[str, Any]
    inputs: Mapping[str, ArtifactFile]
    outputs: Mapping[str, ArtifactFile]
    output_file: Path


def read_executor_input(text: str) -> ExecutorInput:
    """The executor input in `text`, or in a file if `text` is `@FILE`. Raises UsageError if it is invalid."""
    try:
        if text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8")
        data = json.loads(text)
        inputs, outputs = data.get("inputs") or {}, data["outputs"]
        return ExecutorInput(
            parameters=dict(inputs.get("parameterValues") or {}),
            inputs=_artifacts(inputs.get("artifacts") or {}),
            outputs=_artifacts(outputs.get("artifacts") or {}),
            output_file=Path(outputs["outputFile"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"invalid executor input: {error!r}", fix="Pass KFP's `{{$}}` placeholder, or @FILE."
        ) from error


def _artifacts(entries: Mapping[str, Any]) -> dict[str, ArtifactFile]:
    files = {}
    for name, entry in entries.items():
        artifact = entry["artifacts"][0]
        uri = artifact["uri"]
        files[name] = ArtifactFile(name, uri, _local(uri), dict(artifact.get("metadata") or {}))
    return files


def _local(uri: str) -> Path:
    for scheme, mount in _MOUNTS.items():
        if uri.startswith(scheme):
            return Path(mount + uri[len(scheme) :].lstrip("/"))
    return Path(uri)


def write_executor_output(executor_input: ExecutorInput, metadata: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the executor output: every output artifact with its metadata."""
    artifacts = {
        name: {"artifacts": [{"name": name, "uri": artifact.uri, "metadata": dict(metadata.get(name, {}))}]}
        for name, artifact in executor_input.outputs.items()
    }
    atomic_write(executor_input.output_file, json.dumps({"artifacts": artifacts}, sort_keys=True))


def atomic_write(path: Path, content: str | bytes) -> None:
    """Write a file completely or not at all; create its folder. Raises OSError and leaves no temporary file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        temporary.write_bytes(content if isinstance(content, bytes) else content.encode())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
