"""The images of a pipeline's steps: what is there already, and the rest built and pushed.

An image is named by its content, so asking the registry for the name says whether there is anything to do. Nothing
names an image that the registry did not confirm after the push.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

from kaleyard.base_images import base_image, locked_digests
from kaleyard.compiler.image_recipe import pipeline_recipes
from kaleyard.config import Project
from kaleyard.errors import ExternalError
from kaleyard.images.build_commands import Commands
from kaleyard.images.build_context import write_context
from kaleyard.images.build_lock import build_lock
from kaleyard.images.build_options import BuildOptions
from kaleyard.images.builders import Builder, BuildRequest, find_builder
from kaleyard.images.image_origin import origin, seen_digests
from kaleyard.images.oci_registry import Registry, split_repository
from kaleyard.pipeline import Pipeline
from kaleyard.records.image_record import BuiltPipeline, StepImage
from kaleyard.reporting.build_console import BuildReporter, SilentBuildReporter

__all__ = ["build_images", "local_images"]

_KEY = "kaleyard.key"
_ASKED_AT_ONCE = 8


def build_images(
    pipeline: Pipeline,
    project: Project,
    options: BuildOptions,
    reporter: BuildReporter | None = None,
    remembered: Mapping[str, str] | None = None,
) -> BuiltPipeline:
    """Build and push the images of the pipeline's steps that the registry lacks; without `push` those the engine lacks.

    `remembered` are digests by image name that are known to be of that content. Raises ExternalError if one image
    cannot be built or pushed, after those under way are done; KeyboardInterrupt once no builder runs any more.
    """
    return _Images(pipeline, project, options, reporter or SilentBuildReporter(), remembered or {}).make()


def local_images(
    pipeline: Pipeline, project: Project, options: BuildOptions | None = None, reporter: BuildReporter | None = None
) -> dict[str, str]:
    """The names of the images of the pipeline's steps, by step name: the builder's engine has them all.

    Only those that it did not have are built, and no registry of ours is asked. Raises as `build_images` does.
    """
    told = options or BuildOptions()
    quiet = BuildOptions(told.builder, told.platform, push=False, jobs=told.jobs, secrets=told.secrets)
    return {name: image.name for name, image in build_images(pipeline, project, quiet, reporter).steps.items()}


class _Images:
    """One pipeline's images on their way."""

    def __init__(
        self,
        pipeline: Pipeline,
        project: Project,
        options: BuildOptions,
        reporter: BuildReporter,
        remembered: Mapping[str, str],
    ) -> None:
        self._project, self._options, self._reporter = project, options, reporter
        self._remembered = dict(remembered)
        self._commands = Commands()
        self._recipes = pipeline_recipes(pipeline, project, self._seen(pipeline))
        self._telling = threading.Lock()
        suffix = f"-{options.platform.replace('/', '-')}" if options.platform else ""
        steps = {n: StepImage(n, r.repository, f"{r.tag}{suffix}", r.key) for n, r in self._recipes.items()}
        self.built = BuiltPipeline(pipeline.name, self._recipes, steps)
        hosts = {split_repository(r.repository)[0] for r in self._recipes.values()}
        self._registries = {host: Registry(host) for host in hosts}

    def _seen(self, pipeline: Pipeline) -> dict[str, str]:
        """The digests, as of now, of the base images that are not locked. Locked ones ask nobody."""
        used = {base_image(step, self._project) for step in pipeline.steps} - locked_digests(self._project).keys()
        names = sorted(name for name in used if "@" not in name)
        return seen_digests(
            names, lambda: find_builder(self._options.builder, self._commands), engine_first=not self._options.push
        )

    def make(self) -> BuiltPipeline:
        """All images, each there at the end."""
        started = time.monotonic()
        self._reporter.started(self.built)
        if self._options.push:
            self._each(self._ask, self._recipes, _ASKED_AT_ONCE)
        missing = [name for name, image in self.built.steps.items() if image.state == "waiting"]
        if missing and not self._options.dry_run:
            with build_lock(self._project.root, self._reporter.waits):
                if self._options.push:  # another build may have brought some meanwhile
                    self._each(self._ask, missing, _ASKED_AT_ONCE)
                    missing = [name for name in missing if self.built.steps[name].state == "waiting"]
                if missing:
                    self._build(missing)
        self.built.seconds = time.monotonic() - started
        return self.built

    def _build(self, missing: list[str]) -> None:
        builder = find_builder(self._options.builder, self._commands)
        with tempfile.TemporaryDirectory(prefix="kaleyard-build-") as made:
            folder = Path(made)
            # Copies, since builders read the paths of secrets as lists with commas.
            secrets = {name: folder / name for name in self._options.secrets}
            for name, path in self._options.secrets.items():
                shutil.copyfile(path, secrets[name])
            told = origin(self._project.root)

            def one(name: str) -> None:
                self._make(name, builder, folder / f"context-{name}", secrets, told)

            self._each(one, missing, self._options.jobs or builder.jobs)

    def _each(self, act: Callable[[str], None], names: Iterable[str], jobs: int) -> None:
        """Act on each name, some at once. The first error is raised once those under way are done."""
        with ThreadPoolExecutor(jobs) as pool:
            futures = [pool.submit(act, name) for name in names]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            except BaseException:
                self._commands.stop()
                raise
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
            wait([f for f in futures if not f.cancelled()])
        for future in futures:
            if not future.cancelled():
                future.result()

    def _ask(self, name: str) -> None:
        """Note the image's digest, if the registry has it. Raises ExternalError if its tag holds something else."""
        image, recipe = self.built.steps[name], self._recipes[name]
        host, path = split_repository(image.repository)
        registry = self._registries[host]
        digest = registry.digest(path, image.tag)
        if digest is None:
            return
        if self._remembered.get(image.name) != digest:
            key = registry.manifest(path, digest, self._options.platform).labels.get(_KEY)
            if key != image.key:
                raise ExternalError(
                    f"{image.name} exists with other content: its label {_KEY} is {key or 'missing'}, not {image.key}",
                    place=recipe.place,
                    fix="Somebody else pushed it. Delete that tag, or build to another --registry.",
                )
        image.digest = digest
        self._tell(image, "there" if image.state == "waiting" else image.state)

    def _make(
        self, name: str, builder: Builder, folder: Path, secrets: Mapping[str, Path], told: Mapping[str, str]
    ) -> None:
        """Build and push one image, as far as that is still to do."""
        image, recipe = self.built.steps[name], self._recipes[name]
        started = time.monotonic()
        labels = builder.labels(image.name)
        if not labels or labels.get(_KEY) != image.key:
            self._tell(image, "building")
            folder.mkdir()
            write_context(recipe, self._project, folder)
            arguments = dict(told) | {"KALEYARD_KEY": image.key}
            platform = self._options.platform
            builder.build(BuildRequest(image.name, folder, arguments, secrets, platform, recipe.place))
            image.built = True
        if self._options.push:
            self._ask(name)  # two machines may build the same at once: the first to push decides
            if not image.digest:
                self._tell(image, "pushing")
                builder.push(image.name, recipe.place)
                image.pushed = True
                self._ask(name)
            if not image.digest:
                raise ExternalError(f"the registry does not have {image.name} after its push", place=recipe.place)
        image.seconds = time.monotonic() - started
        self._tell(image, "pushed" if image.pushed else "built" if image.built else "there")

    def _tell(self, image: StepImage, state: str) -> None:
        with self._telling:
            changed, image.state = image.state != state, state
            if changed:
                self._reporter.changed(image)
