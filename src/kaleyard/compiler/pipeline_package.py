"""The pipeline package: the steps' components wired by their artifacts, as KFP's intermediate representation.

What KFP calls a task is one step of ours; it is shown under the step's own name.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kaleyard.compiler.component import ir_yaml, kfp_name, make_component
from kaleyard.errors import Location, NotebookError
from kaleyard.pipeline import Pipeline, Settings, Step, Volume
from kaleyard.runtime.contract import FILES, artifact_name, files_input

if TYPE_CHECKING:
    from kfp.dsl import PipelineTask

__all__ = ["package_yaml", "task_names"]

_PYTHON_TYPES: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str, "list": list, "dict": dict}
_ACCESS_MODES = {
    "": "ReadWriteMany",
    "rwm": "ReadWriteMany",
    "rwo": "ReadWriteOnce",
    "rom": "ReadOnlyMany",
    "rwop": "ReadWriteOncePod",
}
# What KFP takes as a limit; every other key is an accelerator, counted in whole numbers.
_LIMITS = {
    "cpu": (re.compile(r"([0-9]*[.])?[0-9]+m?"), 'a number, or millicores such as "500m"'),
    "memory": (re.compile(r"[0-9]+([EPTGMK]i?)?"), 'a whole number with a unit, such as "4Gi"'),
}
_COUNT = (re.compile(r"[0-9]+"), "a whole number: KFP knows cpu, memory and accelerators")


def package_yaml(pipeline: Pipeline, images: Mapping[str, str]) -> bytes:
    """The pipeline package as YAML, each step running in the image that `images` gives for its name.

    Raises NotebookError for limits and volumes KFP cannot express and ParameterError for defaults it cannot hold.
    """
    from kfp import dsl

    names = task_names(pipeline)
    components = {s.name: make_component(pipeline, s, images[s.name], names[s.name]) for s in pipeline.steps}

    def body(*arguments: Any) -> None:
        _wire(pipeline, components, dict(zip(given, arguments, strict=True)))

    given = {artifact_name(p.name): p for p in pipeline.parameters}
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = inspect.Signature(
        [
            inspect.Parameter(name, kind, annotation=_PYTHON_TYPES[p.type], default=p.default)
            for name, p in given.items()
        ]
    )
    body.__signature__ = signature  # type: ignore[attr-defined]
    make = dsl.pipeline(name=kfp_name(pipeline.name), description=pipeline.description or None)
    graph = make(body)
    return ir_yaml(graph.pipeline_spec, graph.platform_spec, pipeline.description)


def task_names(pipeline: Pipeline) -> dict[str, str]:
    """What KFP calls each step's task: the step's name with hyphens, and a number where two would be the same.

    No task is called as the pipeline is: KFP's loader would then take that one component for the whole pipeline.
    """
    taken = {kfp_name(pipeline.name)}
    found: dict[str, str] = {}
    for step in pipeline.steps:
        plain = name = kfp_name(step.name)
        number = 2
        while name in taken:
            name = f"{plain}-{number}"
            number += 1
        taken.add(name)
        found[step.name] = name
    return found


def _wire(pipeline: Pipeline, components: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    """Call every component with what it takes; KFP notes the calls in the pipeline being built."""
    claims = _make_claims(pipeline)
    tasks: dict[str, PipelineTask] = {}
    for step in pipeline.steps:
        arguments = {name: parameters[name] for name in map(artifact_name, step.parameters)}
        for taken in step.inputs:
            name = artifact_name(taken.name)
            arguments[name] = tasks[taken.step].outputs[name]
        for files in step.file_inputs:
            arguments[files_input(files.step)] = tasks[files.step].outputs[FILES]
        task = components[step.name](**arguments)
        data = {taken.step for taken in step.inputs} | {files.step for files in step.file_inputs}
        task.after(*(tasks[name] for name in step.after if name not in data))
        task.set_display_name(step.name)
        task.set_caching_options(step.settings.cache)
        _limit(task, step, pipeline.notebook)
        _dress(task, step.settings)
        for volume in pipeline.volumes:
            _mount(task, volume, claims)
        tasks[step.name] = task
    _delete_claims(pipeline, tasks, claims)


def _limit(task: PipelineTask, step: Step, notebook: str) -> None:
    """Set the step's limits, as objects: KFP's setters inspect the whole call stack at every call."""
    from kfp.dsl import structures

    resources = structures.ResourceSpec()
    for key, value in step.settings.limits:
        pattern, wanted = _LIMITS.get(key, _COUNT)
        place = Location(step.notebook or notebook, step=step.name)
        if not pattern.fullmatch(value):
            raise NotebookError(f"the limit {key} is {value!r}", place=place, fix=f"Make it {wanted}.")
        if key in _LIMITS:
            setattr(resources, f"{key}_limit", value)
            continue
        if resources.accelerator_type:
            raise NotebookError(
                f"it asks for {resources.accelerator_type} and for {key}",
                place=place,
                fix="KFP gives a step one kind of accelerator: keep one of the two limits.",
            )
        resources.accelerator_type, resources.accelerator_count = key, value
    if step.settings.limits:
        task.container_spec.resources = resources


def _dress(task: PipelineTask, settings: Settings) -> None:
    if not (settings.labels or settings.annotations or settings.secrets):
        return
    from kfp import kubernetes

    for key, value in settings.labels:
        kubernetes.add_pod_label(task, key, value)
    for key, value in settings.annotations:
        kubernetes.add_pod_annotation(task, key, value)
    for secret in settings.secrets:
        kubernetes.use_secret_as_env(task, secret.name, {secret.key: secret.variable})


def _make_claims(pipeline: Pipeline) -> dict[str, PipelineTask]:
    """For each volume that is made for the run, by its mount point, the task that makes its claim."""
    claims: dict[str, PipelineTask] = {}
    for volume in pipeline.volumes:
        if volume.kind != "new_pvc":
            continue
        if not volume.size:
            raise NotebookError(
                f"the new volume {volume.name} has no size",
                place=Location(pipeline.notebook),
                fix="Give it one in the notebook's Kale settings.",
            )
        from kfp import kubernetes

        # KFP puts a random id before the suffix. Without a class it asks for the one called "standard".
        more = {"storage_class_name": volume.storage_class} if volume.storage_class else {}
        task = kubernetes.CreatePVC(
            pvc_name_suffix=f"-{volume.name}",
            access_modes=[_ACCESS_MODES.get(volume.access_mode, volume.access_mode)],
            size=volume.size,
            **more,
        )
        # A cached claim would be one that an earlier run has deleted.
        claims[volume.mount_point] = task.set_caching_options(False).set_display_name(f"create {volume.name}")
    return claims


def _mount(task: PipelineTask, volume: Volume, claims: Mapping[str, PipelineTask]) -> None:
    from kfp import kubernetes

    claim = claims.get(volume.mount_point)
    kubernetes.mount_pvc(task, claim.outputs["name"] if claim else volume.name, volume.mount_point)
    if volume.variable:
        task.container_spec.env = {**(task.container_spec.env or {}), volume.variable: volume.mount_point}


def _delete_claims(pipeline: Pipeline, tasks: Mapping[str, PipelineTask], claims: Mapping[str, PipelineTask]) -> None:
    """Delete what `_make_claims` made, once every step is done; after a failure the claim stays, with its data."""
    if not claims:
        return
    from kfp import kubernetes

    followed = {name for step in pipeline.steps for name in step.upstream}
    last = [task for name, task in tasks.items() if name not in followed]
    names = {v.mount_point: v.name for v in pipeline.volumes}
    for mount_point, claim in claims.items():
        task = kubernetes.DeletePVC(pvc_name=claim.outputs["name"]).after(*last)
        task.set_caching_options(False).set_display_name(f"delete {names[mount_point]}")
