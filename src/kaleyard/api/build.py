"""The images of notebooks' steps, built and pushed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kaleyard.api.check import PathLike, pipelines_of

if TYPE_CHECKING:
    from kaleyard.records.image_record import BuiltPipeline
    from kaleyard.reporting.build_console import BuildReporter

__all__ = ["build"]


def build(
    *notebooks: PathLike,
    builder: str | None = None,
    registry: str | None = None,
    platform: str = "",
    push: bool = True,
    dry_run: bool = False,
    jobs: int | None = None,
    secrets: Mapping[str, PathLike] | None = None,
    reporter: BuildReporter | None = None,
) -> list[BuiltPipeline]:
    """Build and push the images of these notebooks' steps, or of all pipeline notebooks', that the registry lacks.

    Then write `build/<pipeline>/`: the pipeline package with every image by digest, and what is in the images. Without
    `push` the images stay in the builder's engine and no package is written; with `dry_run` it is only told what is
    missing. `secrets` are files for the build by name: `ca` and `pipconf`. Raises CheckError if a rule finds an error,
    ExternalError if builder or registry refuse: the package then stays as it was.
    """
    from dataclasses import replace

    from kaleyard.images.build_options import BuildOptions, build_secrets
    from kaleyard.images.pipeline_images import build_images
    from kaleyard.kubeflow.package_store import publish, remembered_digests
    from kaleyard.reporting.build_console import SilentBuildReporter

    options = BuildOptions(builder, platform, push, dry_run, jobs, build_secrets(secrets or {}))
    project, pipelines = pipelines_of(notebooks)
    project = replace(project, registry=registry.rstrip("/")) if registry else project
    shown_by = reporter or SilentBuildReporter()
    results = []
    for pipeline in pipelines:
        try:
            built = build_images(pipeline, project, options, shown_by, remembered_digests(pipeline, project))
            if push and not dry_run:
                built.package = publish(pipeline, project, built)
            shown_by.finished(built, dry_run=dry_run)
        finally:
            shown_by.close()
        results.append(built)
    return results
