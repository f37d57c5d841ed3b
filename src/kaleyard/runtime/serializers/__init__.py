"""Save values to files or folders and load them exactly, or refuse them by name.

`save` tries the formats in order (`formats()`). The first one that can keep the value exactly writes it, with the same
bytes for the same value in every process. `load` reads it in another process. Open formats come first; cloudpickle is
the last and takes all other values. Besides the file, `load` needs only what `save` returns:

    saved = save("model", model, folder / "model")
    model = load("model", saved.format, folder / "model", saved.sha256, saved.extra)

Another package adds a format by an entry point for a class with the attributes and methods of `Serializer`:

    [project.entry-points."kaleyard.formats"]
    onnx = "my_package.formats:Onnx"

Formats of other packages are tried first. They need not keep every value that they accept: if `save` raises
`kaleyard.errors.DataError`, the next format is tried. `accepts` should look at `type(value).__module__` instead of
importing the library.
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
    """How a value was saved. Equal values have equal `format`, `sha256` and `extra`: all three belong in a cache key.

    `suffix` is the file name extension, `size` is in bytes, and `extra` is for `load`. If cloudpickle saved the value,
    `closed` is the reason why no open format did.
    """

    name: str
    format: str
    suffix: str
    sha256: str
    size: int
    extra: dict[str, str] = field(default_factory=dict)
    closed: str = field(default="", compare=False)


class Described(NamedTuple):
    """A format for documentation: its name, its file name extension and what it keeps."""

    name: str
    suffix: str
    keeps: str


@functools.cache
def formats() -> tuple[Serializer, ...]:
    """All formats in the order in which they are tried: those of other packages, then our own."""
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
    plugins = tuple(_plugins())
    tree = Tree((*plugins, *leaves))
    own: tuple[Serializer, ...] = (PathFormat(), JSON(), *leaves, tree, TogetherFormat(), ClassState(), Cloudpickle())
    owners: dict[str, str] = {}
    for serializer in (*own, *plugins):
        owner = f"{type(serializer).__module__}.{type(serializer).__qualname__}"
        if serializer.name in owners:
            message = f"two formats are called `{serializer.name}`: {owners[serializer.name]} and {owner}."
            raise DataError(message, fix="Uninstall one of the two packages, or rename one of the formats.")
        owners[serializer.name] = owner
    return (*plugins, *own)


def describe() -> tuple[Described, ...]:
    """All formats, for documentation."""
    lines = [(serializer, (type(serializer).__doc__ or "").strip().partition("\n")[0]) for serializer in formats()]
    return tuple(Described(serializer.name, serializer.suffix, summary) for serializer, summary in lines)


def is_open(format_name: str) -> bool:
    """Whether values in this format can be read without running code from the file."""
    return format_name not in (Cloudpickle.name, TogetherFormat.name, ClassState.name)


def save(name: str, value: object, path: Path) -> Saved:
    """Write the variable `name` to `path`, a file or folder that is replaced, and return how it was saved.

    Raises DataError, with the variable, its type and what to do, if no format can keep the value.
    """
    reasons: list[DataError] = []
    with _sibling(path) as draft:
        for serializer in formats():
            if not serializer.accepts(value):
                continue
            try:
                with referred() as classes:
                    extra = dict(serializer.save(value, draft) or {})
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
                closed = "" if is_open(serializer.name) else _closed_reason(value, reasons)
                if classes and not closed:
                    # The name may refer to another class later. A pickle holds the code instead.
                    extra[_CLASSES] = json.dumps({n: fingerprint(c) for n, c in sorted(classes.items())})
                return Saved(name, serializer.name, extra.pop("suffix", serializer.suffix), sha256, size, extra, closed)
    raise _refused(name, value, reasons)


def load(
    name: str,
    format_name: str,
    path: Path,
    sha256: str | None = None,
    extra: Mapping[str, str] | None = None,
    changed: Collection[str] = (),
) -> object:
    """The value that `save` wrote to `path`.

    `changed` are names of the notebook that have another meaning now. Raises DataError if the file is missing or has
    changed, or if a function in the value reads one of these names.
    """
    serializer = next((serializer for serializer in formats() if serializer.name == format_name), None)
    if serializer is None:
        known = ", ".join(serializer.name for serializer in formats())
        fix = f"Install the package that provides it in this step too. Known formats: {known}."
        raise DataError(f"`{name}` was saved in the format `{format_name}`, which is unknown here.", fix=fix)
    fix = "Run the step that makes it again."
    if not path.exists():
        raise DataError(f"the file of `{name}` is missing: {path}.", fix=fix)
    if sha256 is not None and digest(path)[0] != sha256:
        raise DataError(f"the file of `{name}` is not what was saved: {path} has changed.", fix=fix)
    arguments = {**(extra or {}), "name": name}
    try:
        check_classes(json.loads(arguments.pop(_CLASSES, "{}")))
        with noting_reads() as reads:
            value = serializer.load(path, arguments)
        _check_reads(name, reads.intersection(changed))
    except KaleyardError as error:
        raise DataError(f"`{name}` cannot be loaded: {error.what}", fix=error.fix) from error
    except ImportError as error:
        fix = f"Import the module `{error.name}` in a cell of this step, so that its package is installed."
        raise DataError(f"`{name}` cannot be loaded: {error}.", fix=fix) from error
    except Exception as error:
        # Libraries and the user's classes raise errors of any type.
        message = f"`{name}` cannot be loaded from {path} as {format_name}: {type(error).__name__}: {error}"
        raise DataError(message, fix="Use the same package versions in both steps.") from error
    return value


def _check_reads(name: str, outdated: Collection[str]) -> None:
    if outdated:
        names = " and ".join(f"`{read}`" for read in sorted(outdated))
        raise DataError(
            f"a function in it reads {names}, which has changed since `{name}` was made",
            fix=f"Pass {names} to the function as an argument, or call the function by its name.",
        )


def _plugins() -> Iterator[Serializer]:
    for entry_point in sorted(importlib.metadata.entry_points(group=_GROUP), key=lambda entry_point: entry_point.name):
        try:
            plugin = entry_point.load()
        except (ImportError, AttributeError) as error:
            message = f"the format `{entry_point.name}` ({entry_point.value}) cannot be imported: {error}."
            raise DataError(message, fix="Repair or uninstall its package.") from error
        yield plugin() if isinstance(plugin, type) else plugin


def _closed_reason(value: object, reasons: list[DataError]) -> str:
    if isinstance(value, Together):
        return value.reason
    messages = dict.fromkeys(reason.what for reason in reasons)  # JSON and the tree may give the same reason
    return "; ".join(messages) or f"no open format is for {type_name(value)}"


def _refused(name: str, value: object, reasons: list[DataError]) -> DataError:
    last = reasons[-1]
    fix = (last.fix or "").replace("{name}", name) or None
    return DataError(f"`{name}` ({type_name(value)}) cannot be saved for the next step: {last.what}.", fix=fix)


@contextmanager
def _sibling(path: Path) -> Iterator[Path]:
    """A temporary path next to `path` to write to, so that `path` is never incomplete."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            yield folder / "draft"
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        fix = "Check that the disk has space and the folder is writable."
        raise ExternalError(f"{path} cannot be written: {error}", fix=fix) from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
