"""What a pipeline is: frozen data and its order. No files, no Kale, no KFP.

A `Pipeline` holds `Step`s in the order they can run. A step names what it takes (`inputs`, each made by one
earlier step), what it gives (`outputs`), the parameters it uses, and the cells that make it up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from kaleyard.errors import Location, NotebookError

__all__ = [
    "Cell",
    "FileInput",
    "Input",
    "Parameter",
    "ParameterType",
    "Pipeline",
    "Secret",
    "Settings",
    "Step",
    "Volume",
]

ParameterType: TypeAlias = Literal["bool", "int", "float", "str", "list", "dict"]
Pairs: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """A notebook cell: its number as Jupyter counts (from 1, all cells), its kind and its source.

    `raises`: it may raise, and the cells after it run all the same.
    """

    number: int
    kind: Literal["code", "markdown"]
    source: str
    raises: bool = False


@dataclass(frozen=True, slots=True)
class Parameter:
    """A pipeline parameter: its name, its type by its default, the default, and the cell it stands in."""

    name: str
    type: ParameterType
    default: Any
    cell: int


@dataclass(frozen=True, slots=True)
class Input:
    """A value a step takes: the variable's name and the step that makes it.

    `changed` are names that functions in the value may read, and that mean something else by the time it is taken.
    `optional`: the other step may not make it, and this one may not read it.
    """

    name: str
    step: str
    changed: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True, slots=True)
class FileInput:
    """Files that an earlier step writes: the step, and the paths from the project's root that are taken of them.

    `out/*` stands for all paths that start with "out/".
    """

    step: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Secret:
    """A key of a Kubernetes secret, given to the step as an environment variable."""

    name: str
    key: str
    variable: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What Kale's tags say about how a step runs on a cluster (`limit:`, `label:`, `image:`, ...)."""

    image: str = ""
    cache: bool = True
    report: bool = True
    limits: Pairs = ()
    labels: Pairs = ()
    annotations: Pairs = ()
    secrets: tuple[Secret, ...] = ()


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of the notebook's metadata that every step mounts.

    `kind` is `pvc` (an existing claim called `name`) or `new_pvc` (made for the run, `size` such as "5Gi").
    """

    name: str
    mount_point: str
    kind: Literal["pvc", "new_pvc"]
    size: str = ""
    access_mode: str = ""
    storage_class: str = ""
    variable: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its cells and what they need and give.

    `setup` holds what the step uses of the imports and functions (and of definitions in earlier steps), in the
    notebook's order; `late_setup` is setup that works with the `early` ones of the inputs, and comes before the others
    are loaded; `cells` are its own. `optional` are outputs that it may not make, and that no step surely reads.
    `together` are groups of outputs that may be one object, `random_state` the generators of random numbers whose
    state is an output, `evolving` classes that steps change after they are defined. `remade` are values that setup
    makes and other steps may make again, each with the use of a notebook that it belongs to. `after` names steps that
    only come before it. `packages` are the top-level modules it imports from installed distributions. `modules` and
    `files` are paths of the project, relative to its root, that travel with the step; `module_path` are the folders
    modules are imported from. `file_inputs` are files that earlier steps write, `folders` those that have to be there
    for its own.
    """

    name: str
    cells: tuple[Cell, ...]
    setup: tuple[Cell, ...] = ()
    late_setup: tuple[Cell, ...] = ()
    early: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    inputs: tuple[Input, ...] = ()
    outputs: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    together: tuple[tuple[str, ...], ...] = ()
    evolving: tuple[str, ...] = ()
    remade: Pairs = ()
    random_state: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    module_path: tuple[str, ...] = ()
    file_inputs: tuple[FileInput, ...] = ()
    folders: tuple[str, ...] = ()
    notebook: str = ""
    settings: Settings = field(default_factory=Settings)

    @property
    def upstream(self) -> tuple[str, ...]:
        """The steps that must be done before this one, sorted by name."""
        return tuple(sorted({i.step for i in self.inputs} | {i.step for i in self.file_inputs} | set(self.after)))


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A whole pipeline; `steps` stand in an order they can run in.

    `notebook` is the notebook's path, relative to the project's root, with forward slashes.
    Raises NotebookError when steps depend on each other in a circle or on a step that is not there.
    """

    name: str
    notebook: str
    steps: tuple[Step, ...]
    parameters: tuple[Parameter, ...] = ()
    description: str = ""
    experiment: str = "Default"
    volumes: tuple[Volume, ...] = ()

    def __post_init__(self) -> None:
        done: set[str] = set()
        for step in self.steps:
            late = [name for name in step.upstream if name not in done]
            if late:
                raise NotebookError(
                    f"step {step.name} comes after {', '.join(late)}, which does not come before it",
                    place=Location(self.notebook, step=step.name),
                    fix="Remove one of the `prev:` tags, or move the cells.",
                )
            done.add(step.name)

    def step(self, name: str) -> Step:
        """The step of that name; KeyError if there is none."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)

    @property
    def names(self) -> tuple[str, ...]:
        """The steps' names, in order."""
        return tuple(s.name for s in self.steps)

    @property
    def edges(self) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
        """Every edge as (earlier step, later step, names of the values on it), none for order alone."""
        found: list[tuple[str, str, tuple[str, ...]]] = []
        for step in self.steps:
            for other in step.upstream:
                names = sorted(i.name for i in step.inputs if i.step == other)
                names += sorted(p.rpartition("/")[2] or p for i in step.file_inputs if i.step == other for p in i.paths)
                found.append((other, step.name, tuple(names)))
        return tuple(found)

    def downstream(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those steps and all that depend on them, in order."""
        wanted = set(names)
        for step in self.steps:
            if wanted.intersection(step.upstream):
                wanted.add(step.name)
        return tuple(n for n in self.names if n in wanted)

    def ancestors(self, name: str) -> tuple[str, ...]:
        """All steps that must be done before that one, in order."""
        wanted = {name}
        for step in reversed(self.steps):
            if step.name in wanted:
                wanted.update(step.upstream)
        return tuple(n for n in self.names if n in wanted and n != name)

    def guarded(self, name: str) -> tuple[str, ...]:
        """The values of a step that it must not change in place: later steps also take them, or make them again."""
        step = self.step(name)
        later = self.steps[self.names.index(name) + 1 :]
        taken = {i for s in later for i in s.inputs}
        again = {r for s in later for r in s.remade}
        names = [i.name for i in step.inputs if i in taken and i.name not in step.outputs]
        return (*names, *(r[0] for r in step.remade if r in again and r[0] not in step.outputs))

    def defaults(self) -> dict[str, Any]:
        """Parameter names with their default values."""
        return {p.name: p.default for p in self.parameters}

    def to_dict(self) -> dict[str, Any]:
        """The pipeline as JSON values; `from_dict` gives an equal pipeline back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Pipeline:
        """The pipeline that `to_dict` described."""
        steps = tuple(_step(s) for s in data["steps"])
        parameters = tuple(Parameter(**p) for p in data["parameters"])
        volumes = tuple(Volume(**v) for v in data["volumes"])
        return cls(**{**data, "steps": steps, "parameters": parameters, "volumes": volumes})


def _step(data: Mapping[str, Any]) -> Step:
    settings = dict(data["settings"])
    for key in ("limits", "labels", "annotations"):
        settings[key] = tuple((k, v) for k, v in settings[key])
    settings["secrets"] = tuple(Secret(**s) for s in settings["secrets"])
    lists = {k: tuple(v) for k, v in data.items() if isinstance(v, (list, tuple))}
    lists["cells"] = tuple(Cell(**c) for c in data["cells"])
    lists["setup"] = tuple(Cell(**c) for c in data["setup"])
    lists["late_setup"] = tuple(Cell(**c) for c in data["late_setup"])
    lists["together"] = tuple(tuple(group) for group in data["together"])
    lists["remade"] = tuple((name, use) for name, use in data["remade"])
    lists["file_inputs"] = tuple(FileInput(i["step"], tuple(i["paths"])) for i in data["file_inputs"])
    lists["inputs"] = tuple(Input(**{**i, "changed": tuple(i["changed"])}) for i in data["inputs"])
    return Step(**{**data, **lists, "settings": Settings(**settings)})
