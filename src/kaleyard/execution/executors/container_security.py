"""What a step may do in its container, and what it sees there of this machine: nothing it does not need.

The root is read-only but for /tmp, no capability and no network is left, and the step's own limits hold. A step that
needs the network is tagged `network:on`; on a cluster that is a label of its pod, which a NetworkPolicy can select.
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
    # Compiled code may be made and loaded there, as numba does.
    "--tmpfs=/tmp:exec,mode=1777",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    # Where SELinux is in force, it would keep the step from the folders that are mounted for it.
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
_PERIOD = 100_000  # microseconds over which processor time is shared out
_LEAST_MEMORY = 6 * 1024**2  # what Docker accepts
_LEAST_CPU = 0.01
_ROOTS_STEPS = 1000  # who runs the steps when root runs Kaleyard
_INSIDE = "/mnt/kaleyard"


def confinement(settings: Settings, place: Location) -> list[str]:
    """The engine's options for a step with these settings. Raises NotebookError for a setting that cannot be."""
    limits = dict(settings.limits)
    options = [*_CONFINED, f"--user={_user()}", *_network(settings, place)]
    memory = memory_limit(settings, place)
    if memory:
        # No swap beyond it: a cluster has none either.
        options += [f"--memory={memory}", f"--memory-swap={memory}"]
    if "cpu" in limits:
        # A quota may be more than the machine has, where Docker refuses so many --cpus.
        quota = round(_cpus(limits["cpu"], place) * _PERIOD)
        options += [f"--cpu-period={_PERIOD}", f"--cpu-quota={quota}"]
    # Without a value, the engine's command takes it from its own environment: it is in no list of processes.
    options += [f"--env={secret.variable}" for secret in settings.secrets]
    return options


def memory_limit(settings: Settings, place: Location) -> int:
    """The step's memory limit in bytes, 0 for none. Raises NotebookError for one that cannot be."""
    text = dict(settings.limits).get("memory")
    if text is None:
        return 0
    found = _MEMORY.fullmatch(text)
    size = int(found[1]) * _UNITS[found[2] or ""] if found else 0
    if size < _LEAST_MEMORY:
        raise _bad_limit("memory", text, 'a whole number with a unit, at least "6Mi", such as "4Gi"', place)
    return size


def _cpus(text: str, place: Location) -> float:
    found = _CPU.fullmatch(text)
    number = float(found[1]) / (1000 if found[2] else 1) if found else 0.0
    if number < _LEAST_CPU:
        raise _bad_limit("cpu", text, 'a number, or millicores, at least "10m", such as "500m"', place)
    return number


def _bad_limit(key: str, text: str, wanted: str, place: Location) -> NotebookError:
    return NotebookError(f"the limit {key} is {text!r}", place=place, fix=f"Make it {wanted}.")


def _network(settings: Settings, place: Location) -> list[str]:
    told = dict(settings.labels).get(NETWORK_LABEL, "off")
    if told not in ("on", "off"):
        fix = "Tag it `network:on` or `network:off`."
        raise NotebookError(f"the label {NETWORK_LABEL} is {told!r}", place=place, fix=fix)
    return [] if told == "on" else ["--network=none"]


def _user() -> str:
    """Who the step is: whoever runs it, so that what it makes is theirs, but never root."""
    if os.getuid() == 0:
        return f"{_ROOTS_STEPS}:{_ROOTS_STEPS}"
    return f"{os.getuid()}:{os.getgid()}"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What of a step's files its container sees: its executor input, its inputs, and an empty folder for outputs.

    `folder` is the step's in the run; `given` is its executor input, `output_file` where its executor output belongs.
    """

    folder: Path
    given: Mapping[str, Any]
    output_file: Path

    def pack(self) -> list[str]:
        """The engine's options that mount the box, once it is made."""
        self._inner.mkdir(parents=True, exist_ok=True)
        self._outputs.mkdir()
        atomic_write(self._input, json.dumps(self._inside()))
        mounts = [(self._input, f"{_INSIDE}/{self._input.name}", True), (self._outputs, f"{_INSIDE}/outputs", False)]
        mounts += [(path, f"{_INSIDE}/inputs/{path.name}", True) for path in self._inputs.values()]
        if os.getuid() == 0:
            os.chown(self._outputs, _ROOTS_STEPS, _ROOTS_STEPS)
            for path in (path for path, _, read_only in mounts if read_only):
                _let_read(path)
        return [_mount(path, target, read_only=read_only) for path, target, read_only in mounts]

    @property
    def executor_input(self) -> str:
        """The step's executor input, as its command line names it inside."""
        return f"@{_INSIDE}/{self._input.name}"

    def unpack(self) -> None:
        """Put what the step made where the run wants it, and remove the box.

        Raises StepError if there is something that is neither file nor folder, such as a link out of the box.
        """
        odd = next((p for p in _tree(self._outputs) if not _is_plain(p)), None)
        if os.getuid() == 0:
            for path in _tree(self._outputs):
                os.chown(path, 0, 0, follow_symlinks=False)
        if odd is None:
            for made, target in self._targets():
                if made.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    made.replace(target)
        shutil.rmtree(self._inner, ignore_errors=True)
        if odd is not None:
            raise StepError(f"the step left {odd.name} among its outputs, which is neither file nor folder")

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
        told = self.given["inputs"]["artifacts"]
        return {name: Path(one["artifacts"][0]["uri"]) for name, one in told.items()}

    def _targets(self) -> Iterator[tuple[Path, Path]]:
        """Where the step's files are, and where the run wants them."""
        yield self._outputs / self.output_file.name, self.output_file
        yield self._outputs / FAILURE_FILE, self.output_file.with_name(FAILURE_FILE)
        for name, one in self.given["outputs"]["artifacts"].items():
            yield self._outputs / "artifacts" / name, Path(one["artifacts"][0]["uri"])

    def _inside(self) -> dict[str, Any]:
        """The executor input with the places that things have inside."""
        inside = json.loads(json.dumps(self.given))
        for name, path in self._inputs.items():
            inside["inputs"]["artifacts"][name]["artifacts"][0]["uri"] = f"{_INSIDE}/inputs/{path.name}"
        for name, one in inside["outputs"]["artifacts"].items():
            one["artifacts"][0]["uri"] = f"{_INSIDE}/outputs/artifacts/{name}"
        inside["outputs"]["outputFile"] = f"{_INSIDE}/outputs/{self.output_file.name}"
        return dict(inside)


def _mount(source: Path, target: str, *, read_only: bool) -> str:
    # The option is a line of CSV, so that any path can stand in it.
    fields = ["type=bind", f"src={source}", f"dst={target}", *(["readonly"] if read_only else [])]
    quoted = ('"' + field.replace('"', '""') + '"' if set(field) & set(',"\n') else field for field in fields)
    return "--mount=" + ",".join(quoted)


def _tree(path: Path) -> list[Path]:
    """The path and all below it, links not followed."""
    below = [Path(at) / name for at, folders, files in os.walk(path) for name in (*folders, *files)]
    return [path, *below]


def _is_plain(path: Path) -> bool:
    mode = path.lstat().st_mode
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _let_read(path: Path) -> None:
    """Root's files may be its own alone, and the step is not root."""
    for one in _tree(path):
        mode = one.stat().st_mode
        wanted = mode | (0o005 if stat.S_ISDIR(mode) else 0o004)
        if wanted != mode:
            one.chmod(wanted)
