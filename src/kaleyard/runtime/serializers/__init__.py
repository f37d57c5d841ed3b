"""How a value between steps is kept as a file or folder, and comes back exactly, or is refused by name.

`save` asks each format in turn (`formats()`); the first that can keep the value exactly writes it, the same bytes for
the same value in every process. `load` reads it in another process. Open formats come first; cloudpickle, the last,
takes what they leave. Beside the file, only what `save` returns has to be handed on:

    saved = save("model", model, folder / "model")
    model = load("model", saved.format, folder / "model", saved.sha256, saved.extra)

Another package adds a format by an entry point that leads to a class with the attributes and methods of `Serializer`:

    [project.entry-points."kaleyard.formats"]
    onnx = "my_package.formats:Onnx"

Formats of other packages are asked first. They need not keep everything they accept: a `save` that raises
`kaleyard.errors.DataError` leaves the value to the next. `accepts` should look at `type(value).__module__` rather than
import the library it is about.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from kaleyard.errors import DataError, ExternalError, KaleyardError
from kaleyard.runtime.serializers.artifact_digest import digest
from kaleyard.runtime.serializers.cloudpickle_fallback import Cloudpickle
from kaleyard.runtime.serializers.containers import Tree
from kaleyard.runtime.serializers.path_values import PathFormat
from kaleyard.runtime.serializers.pickling.class_state import ClassState
from kaleyard.runtime.serializers.pickling.definitions import check_classes, fingerprint, referred
from kaleyard.runtime.serializers.pickling.global_reads import noting_reads
from kaleyard.runtime.serializers.plain.json_values import JSON
from kaleyard.runtime.serializers.png_images import Png
from kaleyard.runtime.serializers.serializer import RefusedError, Serializer, type_name
from kaleyard.runtime.serializers.skops_models import Skops
from kaleyard.runtime.serializers.tabular.arrays import Masked, Npy, Sparse
from kaleyard.runtime.serializers.tabular.arrow_tables import Arrow, Polars
from kaleyard.runtime.serializers.tabular.frames import Parquet
from kaleyard.runtime.serializers.tensors import Safetensors
from kaleyard.runtime.serializers.value_groups import Together, TogetherFormat

__all__ = ["Described", "Saved", "Serializer", "describe", "digest", "formats", "is_open", "load", "save"]

_GROUP = "kaleyard.formats"
_CLASSES = "classes"


@dataclass(frozen=True)
class Saved:
    """What was written. Equal values have equal `format`, `sha256` and `extra`: all three belong in a cache key.

    `suffix` is what the file may be called; `size` is in bytes; `extra` is for `load`; `closed` says, for a value that
    went to cloudpickle, why no open format kept it.
    """

    name: str
    format: str
    suffix: str
    sha256: str
    size: int
    extra: dict[str, str] = field(default_factory=dict)
    closed: str = field(default="", compare=False)


class Described(NamedTuple):
    """A format in a word, and what it keeps in a line."""

    name: str
    suffix: str
    keeps: str


@functools.cache
def formats() -> tuple[Serializer, ...]:
    """All formats in the order they are asked: those of other packages, then ours."""
    leaves: tuple[Serializer, ...] = (
        Npy(),
        Masked(),
        Sparse(),
        Parquet(),
        Skops(),
        Png(),
        Arrow(),
        Polars(),
        Safetensors(),
    )
    added = tuple(_added())
    tree = Tree((*added, *leaves))
    ours: tuple[Serializer, ...] = (PathFormat(), JSON(), *leaves, tree, TogetherFormat(), ClassState(), Cloudpickle())
    owners: dict[str, str] = {}
    for kept in (*ours, *added):
        owner = f"{type(kept).__module__}.{type(kept).__qualname__}"
        if kept.name in owners:
            fix = "Uninstall one of the two packages, or rename one of the formats."
            raise DataError(f"two formats are called `{kept.name}`: {owners[kept.name]} and {owner}.", fix=fix)
        owners[kept.name] = owner
    return (*added, *ours)


def describe() -> tuple[Described, ...]:
    """All formats, for documentation."""
    lines = [(kept, (type(kept).__doc__ or "").strip().partition("\n")[0]) for kept in formats()]
    return tuple(Described(kept.name, kept.suffix, line) for kept, line in lines)


def is_open(format_name: str) -> bool:
    """Whether values in this format can be read without running code that came with them."""
    return format_name not in (Cloudpickle.name, TogetherFormat.name, ClassState.name)


def save(name: str, value: object, path: Path) -> Saved:
    """Writes the variable `name` to `path`, a file or a folder, and says how; what was at `path` is replaced.

    Raises DataError, with the variable, its type and what to do, for a value that no format keeps.
    """
    reasons: list[DataError] = []
    with _sibling(path) as draft:
        for kept in formats():
            if not kept.accepts(value):
                continue
            try:
                with referred() as classes:
                    extra = dict(kept.save(value, draft) or {})
                sha256, size = digest(draft)
            except DataError as error:
                reasons.append(error)
                _remove(draft)
                if isinstance(error, RefusedError):
                    break
            else:
                if draft.is_dir() or path.is_dir():
                    _remove(path)
                draft.replace(path)
                closed = "" if is_open(kept.name) else _why(value, reasons)
                if classes and not closed:
                    # A name alone may come to mean another class; a pickle has the code itself.
                    extra[_CLASSES] = json.dumps({n: fingerprint(c) for n, c in sorted(classes.items())})
                return Saved(name, kept.name, extra.pop("suffix", kept.suffix), sha256, size, extra, closed)
    raise _refusal(name, value, reasons)


def load(
    name: str,
    format_name: str,
    path: Path,
    sha256: str | None = None,
    extra: Mapping[str, str] | None = None,
    changed: Collection[str] = (),
) -> object:
    """The value that `save` wrote to `path`.

    `changed` are names of the notebook that mean something else by now. Raises DataError if the value is not there as
    it was saved, or if a function in it reads one of them.
    """
    kept = next((kept for kept in formats() if kept.name == format_name), None)
    if kept is None:
        known = ", ".join(kept.name for kept in formats())
        fix = f"Install the package that brings it in this step too; here are {known}."
        raise DataError(f"`{name}` was saved in the format `{format_name}`, unknown here.", fix=fix)
    again = "Run the step that makes it again."
    if not path.exists():
        raise DataError(f"the file of `{name}` is missing: {path}.", fix=again)
    if sha256 is not None and digest(path)[0] != sha256:
        raise DataError(f"the file of `{name}` is not what was saved: {path} has changed since.", fix=again)
    given = {**(extra or {}), "name": name}
    try:
        check_classes(json.loads(given.pop(_CLASSES, "{}")))
        with noting_reads() as reads:
            value = kept.load(path, given)
        _check_reads(name, reads.intersection(changed))
    except KaleyardError as error:
        raise DataError(f"`{name}` cannot be loaded: {error.what}", fix=error.fix) from error
    except ImportError as error:
        fix = f"Add the package that has the module `{error.name}` to this step: import it in one of its cells."
        raise DataError(f"`{name}` cannot be loaded: {error}.", fix=fix) from error
    except Exception as error:
        # Whatever a library, or a class of the user's own, says about the file.
        what = f"`{name}` cannot be loaded from {path} as {format_name}: {type(error).__name__}: {error}"
        raise DataError(what, fix="Use the same versions of its packages in both steps.") from error
    return value


def _check_reads(name: str, outdated: Collection[str]) -> None:
    if outdated:
        names = " and ".join(f"`{read}`" for read in sorted(outdated))
        raise DataError(
            f"a function in it reads {names} as it was when `{name}` was made, and it has changed since",
            fix=f"Pass {names} to the function as an argument, or call the function by its own name.",
        )


def _added() -> Iterator[Serializer]:
    for entry in sorted(importlib.metadata.entry_points(group=_GROUP), key=lambda entry: entry.name):
        try:
            found = entry.load()
        except (ImportError, AttributeError) as error:
            fix = "Repair or uninstall the package it comes from."
            raise DataError(
                f"the format `{entry.name}` ({entry.value}) cannot be imported: {error}.", fix=fix
            ) from error
        yield found() if isinstance(found, type) else found


def _why(value: object, reasons: list[DataError]) -> str:
    # The formats for its kind may have said the same in turn: JSON and the tree do.
    if isinstance(value, Together):
        return value.reason
    told = dict.fromkeys(reason.what for reason in reasons)
    return "; ".join(told) or f"no open format is for {type_name(value)}"


def _refusal(name: str, value: object, reasons: list[DataError]) -> DataError:
    last = reasons[-1]
    fix = (last.fix or "").replace("{name}", name) or None
    return DataError(f"`{name}` ({type_name(value)}) cannot be kept for the next step: {last.what}.", fix=fix)


@contextmanager
def _sibling(path: Path) -> Iterator[Path]:
    """A place beside `path` to write to, so that `path` is never half written; nothing of it stays."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            yield folder / "draft"
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        fix = "See that the disk has room, and that the folder can be written to."
        raise ExternalError(f"{path} cannot be written: {error}", fix=fix) from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
