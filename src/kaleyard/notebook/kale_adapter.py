"""Steps with their cells, order and settings, as Kale reads them from a notebook's tags.

Kale gets the notebook with each cell's number in place of its source, so that the source it returns for a step
lists the step's cells by Kale's own rules. Its code analysis is not used: `analysis` has its own, which keeps cells
and lines. Kale never contacts a cluster here, and what it rejects becomes a NotebookError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kaleyard.errors import Location, NotebookError
from kaleyard.notebook.document import METADATA_KEY, Notebook
from kaleyard.notebook.kale_loader import kale_reader
from kaleyard.notebook.tags import NETWORK_LABEL, is_kales
from kaleyard.pipeline import Secret, Settings, Volume

__all__ = ["Outline", "OutlineStep", "read_outline"]

_MOUNTABLE = ("pvc", "new_pvc")


@dataclass(frozen=True, slots=True)
class OutlineStep:
    """A step as its tags define it: the numbers of its cells, the steps before it, its settings.

    `reference`: it is a `notebook:` cell, and another notebook takes its place.
    """

    name: str
    cells: tuple[int, ...]
    prev: tuple[str, ...]
    settings: Settings
    reference: bool = False


@dataclass(slots=True)
class Outline:
    """A notebook as its tags define it; `shared`, `parameters` and `metrics` hold cell numbers."""

    name: str = ""
    description: str = ""
    experiment: str = ""
    steps: list[OutlineStep] = field(default_factory=list)
    shared: list[int] = field(default_factory=list)
    parameters: list[int] = field(default_factory=list)
    metrics: list[int] = field(default_factory=list)
    volumes: list[Volume] = field(default_factory=list)


def read_outline(notebook: Notebook, tags: Mapping[int, Sequence[str]], name: str) -> Outline:
    """The notebook's outline; `tags` are the tags of each code cell, `name` the pipeline's name if it has none.

    Raises NotebookError, with Kale's message, for what Kale rejects.
    """
    settings = {"pipeline_name": name, "experiment_name": "Default"}
    settings |= {k: v for k, v in notebook.settings.items() if v not in ("", None)}
    try:
        processor, parameters, metrics, shared = _process(notebook, tags, settings)
    except (ValueError, NotImplementedError, RuntimeError, TypeError, KeyError) as error:
        raise NotebookError(
            f"Kale rejects this notebook: {error}",
            place=Location(notebook.name),
            fix="Check its tags and its metadata.",
        ) from error
    pipeline = processor.pipeline
    config = pipeline.config
    outline = Outline(config.pipeline_name, config.pipeline_description, config.experiment_name)
    outline.parameters, outline.metrics, outline.shared = _numbers(parameters), _numbers(metrics), _numbers(shared)
    hidden = set(outline.shared)
    for step in (pipeline.get_step(n) for n in pipeline.nodes):
        cells = tuple(c for c in _numbers("\n".join(step.source)) if c not in hidden)
        prev = tuple(sorted(pipeline.predecessors(step.name)))
        caching = step.config.enable_caching if step.config.enable_caching is not None else config.enable_caching
        # Kale's default image is not used: without one in the notebook, the project's image applies.
        step_settings = _settings(step.config, str(notebook.settings.get("base_image") or ""), caching)
        step_settings = _with_own_tags(step_settings, [t for c in cells for t in tags[c]])
        is_reference = any(t.startswith("notebook:") for t in tags[cells[0]])
        outline.steps.append(OutlineStep(step.name, cells, prev, step_settings, is_reference))
    outline.steps.sort(key=lambda s: s.cells)
    outline.volumes = [_volume(v, notebook) for v in config.volumes]
    return outline


def _process(
    notebook: Notebook, tags: Mapping[int, Sequence[str]], settings: Mapping[str, Any]
) -> tuple[Any, str, str, str]:
    cells = []
    for cell in notebook.code_cells:
        kale_tags = [tag for tag in tags[cell.number] if is_kales(tag)]
        metadata = _AttributeDict(cell.metadata, tags=kale_tags, notebook_path=f"#{cell.number}")
        cells.append(_AttributeDict(cell_type="code", source=f"#{cell.number}", metadata=metadata))
    kale_notebook = _AttributeDict(cells=cells, metadata=_AttributeDict({METADATA_KEY: dict(settings)}))
    with kale_reader() as (nbprocessor, kale_step):
        base: Any = nbprocessor.NotebookProcessor

        class Processor(base):  # type: ignore[misc]
            """Kale's reader of tags, for a notebook in memory."""

            def _read_notebook(self) -> Any:
                return kale_notebook

            def _configure_poddefaults(self) -> None:
                """Do nothing: Kale would ask a cluster."""

            def _add_notebook_reference(self, name: str, rel_path: str) -> None:
                """Add a step for the other notebook, which `analysis.notebook_parts` reads."""
                self.pipeline.add_step(kale_step.Step(name=name, source=[rel_path]))

            def to_pipeline(self) -> None:
                self.blocks = self.parse_notebook()

        processor = Processor(str(notebook.path))
        processor.run()
    parameters, metrics, shared = processor.blocks
    return processor, parameters, metrics, shared


class _AttributeDict(dict[str, Any]):
    """A dict whose items are also attributes, like nbformat's `NotebookNode`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def _numbers(text: str) -> list[int]:
    return [int(line[1:]) for line in text.splitlines() if line.startswith("#")]


def _settings(config: Any, image: str, caching: bool) -> Settings:
    secrets = (Secret(s["secret_name"], s["secret_key"], v) for v, s in sorted((config.secrets or {}).items()))
    return Settings(
        image=config.base_image or image or "",
        cache=bool(caching),
        report=config.generate_html_report is not False,
        limits=_pairs(config.limits),
        labels=_pairs(config.labels),
        annotations=_pairs(config.annotations),
        secrets=tuple(secrets),
    )


def _with_own_tags(settings: Settings, tags: Sequence[str]) -> Settings:
    """The settings with those of the tags that only Kaleyard knows."""
    values = [value for word, _, value in (t.partition(":") for t in tags) if word == "network"]
    if not values:
        return settings
    labels = dict(settings.labels) | {NETWORK_LABEL: values[-1]}
    return replace(settings, labels=_pairs(labels))


def _pairs(values: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((str(k), str(v)) for k, v in (values or {}).items()))


def _volume(volume: Any, notebook: Notebook) -> Volume:
    if volume.type not in _MOUNTABLE:
        raise NotebookError(
            f"volume {volume.name} is of type {volume.type}, which KFP v2 cannot mount",
            place=Location(notebook.name),
            fix="Use an existing claim (pvc) or a new one (new_pvc).",
        )
    modes = volume.volume_access_mode
    return Volume(
        name=volume.name,
        mount_point=volume.mount_point,
        kind=volume.type,
        size=f"{volume.size}{volume.size_type or 'Gi'}" if volume.size else "",
        access_mode=modes[0] if isinstance(modes, list) and modes else "",
        storage_class=volume.storage_class_name or "",
        variable=f"KALE_VOLUME_{volume.name.upper().replace('-', '_')}" if volume.expose_as_env_var else "",
    )
