"""A step as a KFP v2 container component, and KFP's objects as YAML.

The component's inputs and outputs are named after the step's variables (`contract.artifact_name` spells those KFP
refuses). A step may take and give a variable of the same name, which a Python signature cannot say, so the component
is made from KFP's ComponentSpec, the object that `dsl.container_component` makes from a signature.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kaleyard.compiler.step_notebook import cell_numbers
from kaleyard.errors import Location, ParameterError
from kaleyard.pipeline import Parameter, Pipeline, Step
from kaleyard.runtime.contract import (
    CELLS_VARIABLE,
    COMMAND,
    FILES,
    METRICS,
    NOTEBOOK,
    PAGE,
    STEP_FOLDER,
    artifact_name,
    files_input,
)

if TYPE_CHECKING:
    from kfp.dsl.container_component_class import ContainerComponent
    from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec, PlatformSpec

__all__ = ["component_yaml", "describe", "ir_yaml", "kfp_name", "make_component"]

_TYPES = {"bool": "Boolean", "int": "Integer", "float": "Float", "str": "String", "list": "List", "dict": "Dict"}
_EXACT = 2**53  # KFP keeps every number as a double
_NAME_LENGTH = 128


def kfp_name(name: str) -> str:
    """A name as KFP writes those of pipelines and components: lower-case letters, digits, single hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_NAME_LENGTH].rstrip("-") or "step"


def describe(step: Step) -> str:
    """The step in a line, as its own Markdown begins: the first heading or sentence, "" if there is none."""
    for cell in step.cells:
        lines = cell.source.splitlines() if cell.kind == "markdown" else []
        for line in lines:
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line)  # a link's text
            text = text.strip().lstrip("#>-+* ").replace("*", "").replace("`", "").strip()
            if text and text[0].isalnum():
                return re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0]
    return ""


def make_component(pipeline: Pipeline, step: Step, image: str, name: str = "") -> ContainerComponent:
    """The step as a KFP container component that runs in `image`, called `name` or else as the step is called.

    Raises ParameterError for a default value that KFP cannot hold.
    """
    from kfp.dsl import structures
    from kfp.dsl.container_component_class import ContainerComponent

    guards = [f"--guard={name}" for name in pipeline.guarded(step.name)]
    container = structures.ContainerSpecImplementation(
        image=image,
        command=list(COMMAND),
        env={CELLS_VARIABLE: cell_numbers(step)},
        args=["--executor-input", "{{$}}", "--step", STEP_FOLDER, *guards],
    )
    spec = structures.ComponentSpec(
        name=name or kfp_name(step.name),
        description=describe(step) or None,
        inputs=_inputs(pipeline, step),
        outputs=_outputs(step),
        implementation=structures.Implementation(container=container),
    )
    return ContainerComponent(spec, lambda: None)


def component_yaml(pipeline: Pipeline, step: Step, image: str) -> bytes:
    """The step's component.yaml: what `kfp.components.load_component_from_file` reads."""
    component = make_component(pipeline, step, image)
    return ir_yaml(component.pipeline_spec, component.platform_spec, component.description or "")


def ir_yaml(pipeline_spec: PipelineSpec, platform_spec: PlatformSpec, description: str) -> bytes:
    """KFP's intermediate representation as YAML, the same bytes every time.

    KFP's own writer is ten times slower, and lists defaults in comments, where one with a line break spoils the file.
    """
    import yaml
    from google.protobuf import json_format  # type: ignore[import-untyped]

    documents: list[dict[str, Any]] = [json_format.MessageToDict(pipeline_spec)]
    platform = json_format.MessageToDict(platform_spec)
    documents += [platform] if platform else []
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    # Lines are never folded: there the C and the Python writer differ.
    text = yaml.dump_all(documents, Dumper=dumper, sort_keys=True, width=2**31 - 1)
    header = "\n".join(_header(documents[0]["pipelineInfo"]["name"], description))
    return f"{header}\n{text}".encode()


def _inputs(pipeline: Pipeline, step: Step) -> dict[str, Any]:
    from kfp.dsl import structures

    found: dict[str, Any] = {}
    known = {p.name: p for p in pipeline.parameters}
    for parameter in (known[name] for name in step.parameters):
        _check_default(parameter, pipeline.notebook)
        found[artifact_name(parameter.name)] = structures.InputSpec(
            type=_TYPES[parameter.type], default=parameter.default, optional=True
        )
    for taken in step.inputs:
        found[artifact_name(taken.name)] = structures.InputSpec(type=_artifact("Artifact"))
    for files in step.file_inputs:
        found[files_input(files.step)] = structures.InputSpec(type=_artifact("Artifact"))
    return found


def _outputs(step: Step) -> dict[str, Any]:
    from kfp.dsl import structures

    kinds = {artifact_name(name): "Artifact" for name in step.outputs}
    kinds |= {NOTEBOOK: "Artifact", PAGE: "HTML", FILES: "Artifact"}
    if step.metrics:
        kinds[METRICS] = "Metrics"
    return {name: structures.OutputSpec(type=_artifact(kind)) for name, kind in kinds.items()}


def _artifact(kind: str) -> str:
    from kfp import dsl
    from kfp.dsl.types import type_utils

    cls = getattr(dsl, kind)
    return str(type_utils.create_bundled_artifact_type(cls.schema_title, cls.schema_version))


def _check_default(parameter: Parameter, notebook: str) -> None:
    for value in _leaves(parameter.default):
        bad = (
            f"{value!r}, which KFP cannot hold exactly"
            if isinstance(value, int) and abs(value) > _EXACT
            else f"{value!r}, which is not a number in JSON"
            if isinstance(value, float) and not math.isfinite(value)
            else f"{value!r}, and KFP knows no {type(value).__name__}"
            if not isinstance(value, (bool, int, float, str))
            else ""
        )
        if bad:
            raise ParameterError(
                f"parameter {parameter.name} defaults to {bad}",
                place=Location(notebook, parameter.cell),
                fix="Make it a string, and convert it in the step.",
            )


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, item in value.items():
            # A key must be a string: anything else is a leaf that is refused.
            yield from () if isinstance(key, str) else ((key,),)
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _header(name: str, description: str) -> Iterator[str]:
    # KFP's loader finds the description in the third line and those below that are indented like this.
    yield "# PIPELINE DEFINITION"
    yield f"# Name: {name}"
    lines = ["".join(c for c in line if c.isprintable()) for line in description.splitlines()]
    for number, line in enumerate(lines):
        yield f"# Description: {line}" if number == 0 else f"#              {line}"
