"""Which locked packages a step needs: those it imports, those the step runner imports, and all they need in turn.

The graph comes from the lock's own `# via` comments. They name packages without their extras, so a package that
anyone in the lock asks for with an extra brings what the extra needs (`jsonschema[format]`: a few small packages too
many, never one too few). Versions for other platforms come along too: pip picks by their markers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kaleyard.errors import Location, ProjectError
from kaleyard.installed_packages import normal_name, providers
from kaleyard.pipeline import Step

__all__ = [
    "COMPANIONS",
    "RUNNER",
    "Lock",
    "Locked",
    "distributions",
    "step_distributions",
    "step_layers",
    "step_requirements",
]

# What `kaleyard.runtime` imports, in the runner's process and in the step's kernel.
RUNNER = (
    "beautifulsoup4",
    "cloudpickle",
    "ipykernel",
    "jinja2",
    "jupyter-client",
    "markupsafe",
    "nbclient",
    "nbconvert",
    "nbformat",
    "papermill",
    "psutil",
)
# What our data formats need beside the package whose values they keep.
COMPANIONS: Mapping[str, tuple[str, ...]] = {"pandas": ("pyarrow",), "scikit-learn": ("skops",)}
# A step's own packages get a layer each, as many as this: images then share all packages they have in common, whatever
# else each has. Engines stack about 120 layers.
OWN_LAYERS = 60
# Modules that are in every step image without being installed.
_OURS = frozenset({"kaleyard"})

_LOCK_COMMAND = "Lock again: uv pip compile --universal --generate-hashes pyproject.toml --all-extras -o"


@dataclass(frozen=True, slots=True)
class Locked:
    """An entry of the lock: its distribution, the requirement with its marker, and its hashes."""

    name: str
    requirement: str
    hashes: tuple[str, ...]

    def __str__(self) -> str:
        return " \\\n    ".join((self.requirement, *self.hashes))


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock file's entries, and for each distribution those it needs."""

    path: Path
    entries: Mapping[str, tuple[Locked, ...]]
    needs: Mapping[str, frozenset[str]]
    options: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Lock:
        """The lock in that file, as uv or pip-tools wrote it. Raises ProjectError if it cannot be read."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ProjectError(f"{path} cannot be read: {error}", fix=f"{_LOCK_COMMAND} {path.name}") from error
        options, drafts = _parse(text)
        entries: dict[str, list[Locked]] = {}
        needs: dict[str, set[str]] = {}
        for draft in drafts:
            entries.setdefault(draft.name, []).append(Locked(draft.name, draft.requirement, tuple(draft.hashes)))
            for parent in draft.via:
                needs.setdefault(parent, set()).add(draft.name)
        frozen = {name: frozenset(found) for name, found in needs.items()}
        return cls(path, {name: tuple(found) for name, found in entries.items()}, frozen, tuple(options))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and normal_name(name) in self.entries

    def closure(self, names: Iterable[str]) -> tuple[Locked, ...]:
        """The entries of those distributions and of all they need, sorted by name.

        Raises ProjectError for a distribution that is not in the lock.
        """
        waiting = sorted(map(normal_name, names), reverse=True)  # the first that lacks is told, whatever the hash seed
        found: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name in found:
                continue
            if name not in self.entries:
                raise ProjectError(f"{self.path} has no {name}", fix=self._fix(name))
            found.add(name)
            waiting += self.needs.get(name, ())
        return tuple(entry for name in sorted(found) for entry in self.entries[name])

    def text(self, names: Iterable[str]) -> str:
        """A requirements.txt with hashes of those distributions and all they need, the same text every time."""
        return self.lines(sorted({entry.name for entry in self.closure(names)}))

    def lines(self, names: Iterable[str]) -> str:
        """A requirements.txt with hashes of those distributions alone, each as `closure` names it."""
        entries = [entry for name in names for entry in self.entries[name]]
        for entry in entries:
            if not entry.hashes:
                raise ProjectError(
                    f"{self.path} has no hashes for {entry.name}", fix=f"{_LOCK_COMMAND} {self.path.name}"
                )
        return "".join(f"{line}\n" for line in (*self.options, *map(str, entries)))

    def _fix(self, name: str) -> str:
        return f"Add {name} to the dependencies in pyproject.toml. {_LOCK_COMMAND} {self.path.name}"


def distributions(modules: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """For each top-level module the installed distributions that provide it: several for a namespace package."""
    installed = providers()
    return {module: installed.get(module, ()) for module in modules}


def step_requirements(step: Step, lock: Lock) -> str:
    """The step's requirements.txt: the runner's packages, its own, and all they need.

    Raises ProjectError for a module that no installed or no locked distribution provides.
    """
    return lock.text(_wanted(step, lock))


def step_distributions(step: Step, lock: Lock) -> tuple[str, ...]:
    """The names of the distributions in the step's requirements.txt. Raises ProjectError likewise."""
    return tuple(sorted({entry.name for entry in lock.closure(_wanted(step, lock))}))


def step_layers(step: Step, lock: Lock) -> dict[str, tuple[str, ...]]:
    """The names of the step's distributions by image layer: the runner's, the same for every step, then the others.

    Each of these has a layer of its own; if they are too many, those the step imports have, and the first of the rest.
    Raises ProjectError as `step_requirements` does.
    """
    runner = sorted({entry.name for entry in lock.closure(RUNNER)})
    wanted = _wanted(step, lock)
    own = [name for name in step_distributions(step, lock) if name not in runner]
    alone = sorted(own, key=lambda name: (name not in wanted, name))[:OWN_LAYERS]
    rest = tuple(name for name in own if name not in alone)
    layers = {"runner": tuple(runner)} | {f"own-{name}": (name,) for name in sorted(alone)}
    return layers | ({"others": rest} if rest else {})


def _wanted(step: Step, lock: Lock) -> set[str]:
    wanted = set(RUNNER)
    for module, found in distributions(sorted({*step.packages} - _OURS)).items():
        wanted |= set(_locked(module, found, step, lock))
    # Where the lock has no such companion, the format is missing here as well: the step fares the same everywhere.
    wanted |= {other for name in wanted for other in COMPANIONS.get(name, ()) if other in lock}
    return wanted


def _locked(module: str, found: tuple[str, ...], step: Step, lock: Lock) -> list[str]:
    place = Location(step.notebook or None, step=step.name)
    locked = [name for name in found if name in lock]
    if locked:
        return locked
    if not found:
        raise ProjectError(
            f"it imports {module}, which no installed package provides",
            place=place,
            fix=f"Add the package that provides it to the dependencies in pyproject.toml, and install it. "
            f"{_LOCK_COMMAND} {lock.path.name}",
        )
    raise ProjectError(
        f"it imports {module} from {' or '.join(found)}, which {lock.path.name} does not have",
        place=place,
        fix=lock._fix(found[0]),  # noqa: SLF001
    )


@dataclass(slots=True)
class _Draft:
    name: str
    requirement: str
    hashes: list[str] = field(default_factory=list)
    via: list[str] = field(default_factory=list)


_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?")


def _parse(text: str) -> tuple[list[str], list[_Draft]]:
    options: list[str] = []
    drafts: list[_Draft] = []
    for raw in text.splitlines():
        line = raw.strip().removesuffix("\\").rstrip()
        if line.startswith("--hash=") and " " not in line and drafts:  # nine lines of ten
            drafts[-1].hashes.append(line)
            continue
        line, _, comment = ("", "", line[1:]) if line.startswith("#") else line.partition(" #")
        body, *hashes = (part.strip() for part in re.split(r"(?=--hash=)", line))
        if body.startswith(("--index-url", "--extra-index-url", "-i ")):
            options.append(body)
        elif body and not body.startswith("-") and (named := _NAME.match(body)):
            drafts.append(_Draft(normal_name(named[1]), body))
        if drafts:
            drafts[-1].hashes += hashes
            drafts[-1].via += _parents(comment)
    return options, drafts


def _parents(comment: str) -> Iterator[str]:
    # "via a, b" on a line, or "via" and then a name a line. Roots such as "-r x.in" and "kaleyard (pyproject.toml)"
    # are no distributions of the lock.
    for part in re.sub(r"^\s*via\b", "", comment).split(","):
        named = _NAME.fullmatch(part.strip())
        if named:
            yield normal_name(named[1])
