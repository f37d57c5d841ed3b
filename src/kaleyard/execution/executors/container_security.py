"""Restricts what a step's container may do and what it sees of this machine.

The root is read-only except for /tmp, there are no capabilities and no network, and the step's limits apply. To allow
network access, tag the step `network:on`; on a cluster that is a label of its pod, which a NetworkPolicy can select.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaleyard.errors import Location, NotebookError, StepError
from kaleyard.notebook.tags import NETWORK_LABEL
from kaleyard.pipeline import Settings
from kaleyard.runtime.contract import FAILURE_FILE
from kaleyard.runtime.executor_io import atomic_write

__all__ = ["Sandbox", "confinement", "memory_limit"]


_CONFINED = (
    "--read-only",
    # Executable, so that numba and others can compile code there and load it.
    "--tmpfs=/tmp:exec,mode=1777",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    # SELinux would otherwise deny access to the mounted folders.
    "--security-opt=label=disable",
    "--pids-limit=4096",
)
_UNITS = {
    "": 1,
    **{unit: 1000**power for power, unit in enumerate("KMGTPE", 1)},
    **{f"{unit}i": 1024**power for power, unit in enumerate("KMGTPE", 1)},
}
_MEMORY = re.compile(r"([0-9]+)([EPTGMK]i?)?")
_CPU = re.compile(r"([0-9]*[.]?[0-9]+)(m?)")
_PERIOD = 100_000  # microseconds, of the CPU quota
_LEAST_MEMORY = 6 * 1024**2  # accepted by Docker
_LEAST_CPU = 0.01
_STEP_USER = 1000  # id of the user for steps if root runs Kaleyard
_INSIDE = "/mnt/kaleyard"


def confinement(settings: Settings, place: Location) -> list[str]:
    """The engine's options for a step with these settings. Raises NotebookError for an invalid setting."""
    limits = dict(settings.limits)
    options = [*_CONFINED, f"--user={_user()}", *_network(settings, place)]
    memory = memory_limit(settings, place)
    if memory:
        # No swap, as on a cluster.
        options += [f"--memory={memory}", f"--memory-swap={memory}"]
    if "cpu" in limits:
        # Unlike --cpus, a quota may be larger than the machine.
        quota = round(_cpus(limits["cpu"], place) * _PERIOD)
        options += [f"--cpu-period={_PERIOD}", f"--cpu-quota={quota}"]
    # Without a value, the engine's command takes it from its own environment, so no process list shows it.
    options += [f"--env={secret.variable}" for secret in settings.secrets]
    return options


def memory_limit(settings: Settings, place: Location) -> int:
    """The step's memory limit in bytes, 0 for none. Raises NotebookError if it is invalid."""
    text = dict(settings.limits).get("memory")
    if text is None:
        return 0
    match = _MEMORY.fullmatch(text)
    size = int(match[1]) * _UNITS[match[2] or ""] if match else 0
    if size < _LEAST_MEMORY:
        raise _bad_limit("memory", text, 'a whole number with a unit, at least "6Mi", such as "4Gi"', place)
    return size


def _cpus(text: str, place: Location) -> float:
    match = _CPU.fullmatch(text)
    number = float(match[1]) / (1000 if match[2] else 1) if match else 0.0
    if number < _LEAST_CPU:
        raise _bad_limit("cpu", text, 'a number, or millicores, at least "10m", such as "500m"', place)
    return number


def _bad_limit(key: str, text: str, expected: str, place: Location) -> NotebookError:
    return NotebookError(f"the limit {key} is {text!r}", place=place, fix=f"Make it {expected}.")


def _network(settings: Settings, place: Location) -> list[str]:
    access = dict(settings.labels).get(NETWORK_LABEL, "off")
    if access not in ("on", "off"):
        fix = "Tag it `network:on` or `network:off`."
        raise NotebookError(f"the label {NETWORK_LABEL} is {access!r}", place=place, fix=fix)
    return [] if access == "on" else ["--network=none"]


def _user() -> str:
    """The step's user and group ids: the current user's, who then owns its files, but never root's."""
    if os.getuid() == 0:
        return f"{_STEP_USER}:{_STEP_USER}"
    return f"{os.getuid()}:{os.getgid()}"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The files that a step's container sees: its executor input, its inputs, and an empty folder for outputs.

    `folder` is the step's folder in the run; `output_file` is the target of its executor output.
    """

    folder: Path
    executor_input: Mapping[str, Any]
    output_file: Path

    def pack(self) -> list[str]:
        """Create the folder for outputs, and return the engine's options that mount the files."""
        self._inner.mkdir(parents=True, exist_ok=True)
        self._outputs.mkdir()
        atomic_write(self._input, json.dumps(self._inside()))
        mounts = [(self._input, f"{_INSIDE}/{self._input.name}", True), (self._outputs, f"{_INSIDE}/outputs", False)]
        mounts += [(path, f"{_INSIDE}/inputs/{path.name}", True) for path in self._inputs.values()]
        if os.getuid() == 0:
            os.chown(self._outputs, _STEP_USER, _STEP_USER)
            for path in (path for path, _, read_only in mounts if read_only):
                _make_readable(path)
        return [_mount(path, target, read_only=read_only) for path, target, read_only in mounts]

    @property
    def input_argument(self) -> str:
        """The argument for the step's executor input, with its path in the container."""
        return f"@{_INSIDE}/{self._input.name}"

    def unpack(self) -> None:
        """Move the step's outputs to their targets in the run, and remove the folder for outputs.

        Raises StepError if an output is neither a file nor a folder, such as a link.
        """
        odd = next((p for p in _tree(self._outputs) if not _is_plain(p)), None)
        if os.getuid() == 0:
            for path in _tree(self._outputs):
                os.chown(path, 0, 0, follow_symlinks=False)
        if odd is None:
            for output, target in self._targets():
                if output.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    output.replace(target)
        shutil.rmtree(self._inner, ignore_errors=True)
        if odd is not None:
            raise StepError(f"the step left {odd.name} among its outputs, which is neither a file nor a folder")

    @property
    def _inner(self) -> Path:
        return self.folder / "container"

    @property
    def _input(self) -> Path:
        return self._inner / "executor_input.json"

    @property
    def _outputs(self) -> Path:
        return self._inner / "outputs"

    @property
    def _inputs(self) -> dict[str, Path]:
        inputs = self.executor_input["inputs"]["artifacts"]
        return {name: Path(value["artifacts"][0]["uri"]) for name, value in inputs.items()}

    def _targets(self) -> Iterator[tuple[Path, Path]]:
        """Each output in the sandbox, and its target in the run."""
        yield self._outputs / self.output_file.name, self.output_file
        yield self._outputs / FAILURE_FILE, self.output_file.with_name(FAILURE_FILE)
        for name, value in self.executor_input["outputs"]["artifacts"].items():
            yield self._outputs / "artifacts" / name, Path(value["artifacts"][0]["uri"])

    def _inside(self) -> dict[str, Any]:
        """The executor input with the paths in the container."""
        inside = json.loads(json.dumps(self.executor_input))
        for name, path in self._inputs.items():
            inside["inputs"]["artifacts"][name]["artifacts"][0]["uri"] = f"{_INSIDE}/inputs/{path.name}"
        for name, value in inside["outputs"]["artifacts"].items():
            value["artifacts"][0]["uri"] = f"{_INSIDE}/outputs/artifacts/{name}"
        inside["outputs"]["outputFile"] = f"{_INSIDE}/outputs/{self.output_file.name}"
        return dict(inside)


def _mount(source: Path, target: str, *, read_only: bool) -> str:
    # The option is parsed as CSV: quoted, it can hold any path.
    fields = ["type=bind", f"src={source}", f"dst={target}", *(["readonly"] if read_only else [])]
    quoted = ('"' + field.replace('"', '""') + '"' if set(field) & set(',"\n') else field for field in fields)
    return "--mount=" + ",".join(quoted)


def _tree(path: Path) -> list[Path]:
    """The path and everything below it, without following links."""
    below = [Path(folder) / name for folder, folders, files in os.walk(path) for name in (*folders, *files)]
    return [path, *below]


def _is_plain(path: Path) -> bool:
    mode = path.lstat().st_mode
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _make_readable(path: Path) -> None:
    """Let the step's user read root's files."""
    for entry in _tree(path):
        mode = entry.stat().st_mode
        readable = mode | (0o005 if stat.S_ISDIR(mode) else 0o004)
        if readable != mode:
            entry.chmod(readable)
