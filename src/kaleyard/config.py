"""Where a project's things are, and what its `[tool.kaleyard]` says.

Settings come from pyproject.toml, then `KALEYARD_*` variables, then options of the command: the later wins.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from kaleyard.errors import ProjectError

__all__ = ["Project", "find_project", "template_folder"]

_MARKERS = ("pyproject.toml", ".git")
# How a variable says yes and no.
_YES, _NO = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Project:
    """A project's root folder and its settings; folders are relative to the root.

    `files` are patterns (relative to the root) of data files that every step gets besides those its code names.
    `module_path` are folders, besides each notebook's own, whose modules travel with the steps that import them.
    `disable` are codes of rules that `check` tells of and does not stop at. `kfp_host` and `kfp_namespace` are where
    `submit` goes; `experiment` is for its runs, if the notebook names none. `tolerance` is
    how far, as a share, a number in a notebook's output may be from the stored one in `test`; `sanitize` are regular
    expressions for what is another each time. `write_files` says whether `run` puts the files that steps write in the
    project too, where the notebook would have put them.
    """

    root: Path
    registry: str = "localhost:5000"
    base_image: str = f"python:{sys.version_info.major}.{sys.version_info.minor}-slim"
    notebooks: str = "notebooks"
    components: str = "components"
    runs: str = "runs"
    cache: str = ".kaleyard/cache"
    lock: str = "requirements.lock"
    module_path: tuple[str, ...] = ("src",)
    files: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    kfp_host: str = ""
    kfp_namespace: str = ""
    experiment: str = ""
    tolerance: str = "1e-9"
    sanitize: tuple[str, ...] = ()
    write_files: bool = False

    @property
    def notebooks_folder(self) -> Path:
        """Where the pipeline notebooks are."""
        return self.root / self.notebooks

    @property
    def components_folder(self) -> Path:
        """Where `compile` writes."""
        return self.root / self.components

    @property
    def runs_folder(self) -> Path:
        """Where every run leaves its report and artifacts."""
        return self.root / self.runs

    @property
    def cache_folder(self) -> Path:
        """Where outputs of steps are kept by content."""
        return self.root / self.cache

    def relative(self, path: Path) -> str:
        """A path as the project names it: relative to the root with forward slashes, else absolute."""
        resolved = path.resolve()
        if resolved.is_relative_to(self.root):
            return resolved.relative_to(self.root).as_posix()
        return resolved.as_posix()


def find_project(start: Path | None = None) -> Project:
    """The project that holds `start` (a file or folder; the current folder by default), with its settings.

    The root is the nearest folder upwards with `[tool.kaleyard]` in its pyproject.toml, else the nearest with a
    pyproject.toml or a .git, else the folder itself. Raises ProjectError for settings that cannot be used.
    """
    here = (start or Path.cwd()).resolve()
    here = here if here.is_dir() else here.parent
    folders = [here, *here.parents]
    with_table = next((f for f in folders if _table(f) is not None), None)
    root = with_table or next((f for f in folders if any((f / m).exists() for m in _MARKERS)), here)
    project = _apply(Project(root), _table(root) or {}, f"{root / 'pyproject.toml'} [tool.kaleyard]")
    return _apply(project, _variables(), "KALEYARD_* variables")


def template_folder(name: str) -> Path:
    """The folder of the engine's file templates called `name`: the packaged one, else the repository's."""
    packaged = Path(__file__).parent / "templates" / name
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "templates" / name


def _table(folder: Path) -> dict[str, Any] | None:
    path = folder / "pyproject.toml"
    if not path.is_file():
        return None
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProjectError(f"{path} is not valid TOML: {error}", fix="Mend the file.") from error
    except OSError as error:
        raise ProjectError(f"{path} cannot be read: {error.strerror}", fix="Make it readable.") from error
    table = data.get("tool", {}).get("kaleyard")
    return table if isinstance(table, dict) else None


def _apply(project: Project, table: Mapping[str, Any], where: str) -> Project:
    kinds = {f.name: f for f in fields(Project) if f.name != "root"}
    changes: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in kinds:
            known = ", ".join(sorted(k.replace("_", "-") for k in kinds))
            raise ProjectError(f"{where}: unknown setting {key!r}", fix=f"Known settings: {known}.")
        changes[name] = _setting(name, value, getattr(project, name), where)
    return replace(project, **changes)


def _setting(name: str, value: Any, before: Any, where: str) -> bool | str | tuple[str, ...]:
    """The setting as `Project` holds it; what it is now says of which type it is."""
    setting = f"{where}: {name.replace('_', '-')}"
    if isinstance(before, bool):
        if isinstance(value, bool):
            return value
        raise ProjectError(f"{setting} must be true or false, not {value!r}", fix="Write it without quotes.")
    if isinstance(before, tuple):
        items = [v for v in value.split(os.pathsep) if v] if isinstance(value, str) else value
        if isinstance(items, list) and all(isinstance(v, str) for v in items):
            return tuple(items)
        raise ProjectError(f"{setting} must be a list of strings")
    if name == "tolerance" and isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str) and value:
        return value
    raise ProjectError(f"{setting} must be a non-empty string")


def _variables() -> dict[str, Any]:
    """The settings that `KALEYARD_*` variables tell, by name. Raises ProjectError for a yes or no that is neither."""
    found: dict[str, Any] = {}
    for setting in fields(Project):
        variable = f"KALEYARD_{setting.name.upper()}"
        value = os.environ.get(variable)
        if not value or setting.name == "root":
            continue
        found[setting.name] = value
        if isinstance(setting.default, bool):
            if value.lower() not in _YES | _NO:
                raise ProjectError(
                    f"{variable} must be true or false, not {value!r}", fix="Set it to one, or unset it."
                )
            found[setting.name] = value.lower() in _YES
    return found
