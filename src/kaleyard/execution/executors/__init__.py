"""Where a step runs on this machine, as a process or as a container: a `StepTask` in, executor output out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kaleyard.execution.task import Executor

__all__ = ["EXECUTORS"]


def _processes(*, cold: bool = False) -> Executor:
    from kaleyard.execution.executors.process import ProcessExecutor

    return ProcessExecutor(cold=cold)


def _containers(images: Mapping[str, str] | None = None, engine: str = "", *, cold: bool = False) -> Executor:
    from kaleyard.execution.executors.container import ContainerExecutor

    return ContainerExecutor(images or {}, engine, cold=cold)


# By the value of `--runner`. Each is imported when it is used: most runs need no engine.
EXECUTORS: dict[str, Callable[..., Executor]] = {"process": _processes, "container": _containers}
