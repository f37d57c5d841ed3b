"""KFP's executor input and executor output, read and written.

The executor input is one JSON argument; the executor output is a file whose place the input names. Their fields:
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

# Where KFP's launcher mounts what these schemes name.
_MOUNTS = {"gs://": "/gcs/", "s3://": "/s3/", "minio://": "/minio/", "oci://": "/oci/", "file://": "/"}


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """An artifact as the executor input tells it: its address, its place on this machine, its metadata."""

    name: str
    uri: str
    path: Path
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExecutorInput:
    """What a step is given: parameter values, artifacts in and out, and where its executor output goes."""

    parameters: Mapping[str, Any]
    inputs: Mapping[str, ArtifactFile]
    outputs: Mapping[str, ArtifactFile]
    output_file: Path


def read_executor_input(text: str) -> ExecutorInput:
    """The executor input in `text`; `@FILE` reads it from a file. Raises UsageError if it is none."""
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
            f"this is no KFP executor input: {error!r}", fix="Pass KFP's `{{$}}` placeholder, or @FILE."
        ) from error


def _artifacts(told: Mapping[str, Any]) -> dict[str, ArtifactFile]:
    found = {}
    for name, several in told.items():
        one = several["artifacts"][0]
        uri = one["uri"]
        found[name] = ArtifactFile(name, uri, _local(uri), dict(one.get("metadata") or {}))
    return found


def _local(uri: str) -> Path:
    for scheme, mount in _MOUNTS.items():
        if uri.startswith(scheme):
            return Path(mount + uri[len(scheme) :].lstrip("/"))
    return Path(uri)


def write_executor_output(given: ExecutorInput, metadata: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the executor output: every output artifact is listed, with the metadata told for it."""
    artifacts = {
        name: {"artifacts": [{"name": name, "uri": a.uri, "metadata": dict(metadata.get(name, {}))}]}
        for name, a in given.outputs.items()
    }
    atomic_write(given.output_file, json.dumps({"artifacts": artifacts}, sort_keys=True))


def atomic_write(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all, its folder made if need be. Raises OSError, and leaves nothing then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    spare = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        spare.write_bytes(content if isinstance(content, bytes) else content.encode())
        spare.replace(path)
    except OSError:
        spare.unlink(missing_ok=True)
        raise
