"""A compiled pipeline run here by KFP's own local runner, in Docker: a second opinion on the package.

KFP 2.17 lets Docker remove each container as it ends, and takes one that it then cannot find for a success: a failed
step may pass. `exit_codes_kept` closes that, for tests only; it is why `kaleyard run` does not use that runner.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

__all__ = ["exit_codes_kept", "outputs", "run_package"]


@contextmanager
def exit_codes_kept() -> Iterator[None]:
    """As long as it is entered, KFP waits for each container's exit code before the container is removed."""
    from kfp.local import docker_task_handler as handler

    def run(client: Any, image: str, command: list[str], volumes: Mapping[str, Any], **more: Any) -> int:
        known = (name for one in client.images.list() for name in (*one.tags, *one.attrs["RepoDigests"]))
        if image not in known:
            client.images.pull(image)
        container = client.containers.run(
            image=image, command=command, volumes=volumes, detach=True, stdout=True, stderr=True, **more
        )
        try:
            for line in container.logs(stream=True):
                sys.stdout.write(line.decode(errors="replace"))
            return int(container.wait()["StatusCode"])
        finally:
            container.remove(force=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handler, "run_docker_container", run)
        yield


def run_package(package: Path, root: Path, **container: Any) -> None:
    """Run the pipeline with its parameters' defaults, what the steps make going below `root`.

    `container` are options of Docker's Python library for each container. Raises RuntimeError if a step fails.
    """
    from kfp import components, local

    # The steps are not who runs this.
    root.mkdir(mode=0o777)
    root.chmod(0o777)
    local.init(runner=local.DockerRunner(**container), pipeline_root=str(root), raise_on_error=True)
    with exit_codes_kept():
        components.load_component_from_file(str(package))()


def outputs(root: Path) -> dict[str, dict[str, Any]]:
    """The executor output of every step by its task's name, and in each the artifacts with place and metadata."""
    found: dict[str, dict[str, Any]] = {}
    for path in root.rglob("executor_output.json"):
        told = json.loads(path.read_text(encoding="utf-8"))
        found[path.parent.name] = {name: one["artifacts"][0] for name, one in told["artifacts"].items()}
    return found
