"""Runs one step: executor input in, papermill over step.ipynb, executor output out.

The executed notebook and its page are always written to the paths in the executor input. A failure is also written as
data next to the executor output.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from kaleyard.errors import ExternalError, KaleyardError, Location, StepError
from kaleyard.runtime.contract import (
    CELLS_VARIABLE,
    FAILURE_FILE,
    FILES,
    IO_VARIABLE,
    METADATA,
    METRICS,
    NOTEBOOK,
    PAGE,
    PARAMETER_FILES,
    WORK_VARIABLE,
    artifact_name,
    files_input,
)
from kaleyard.runtime.exchange.parameter_types import coerce
from kaleyard.runtime.executor_io import ExecutorInput, atomic_write, write_executor_output
from kaleyard.runtime.import_shortcuts import skip_iri_grammar
from kaleyard.runtime.result_files import collect_files, place_files, snapshot, wanted_paths
from kaleyard.runtime.signals import Stopped, caught
from kaleyard.runtime.step_failure import explain
from kaleyard.runtime.work_folder import LEVELS, scratch, work_folder, work_root

__all__ = ["run_step"]


@dataclass(frozen=True, slots=True)
class _Interface:
    """The step notebook's metadata: its inputs, outputs, parameters and files."""

    data: Mapping[str, Any]

    @property
    def location(self) -> Location:
        return Location(self.data["notebook"], step=self.data["step"])


def run_step(
    executor_input: ExecutorInput, step_folder: Path, project: Path | None = None, guard: Sequence[str] = ()
) -> dict[str, dict[str, Any]]:
    """Run the step in `step_folder`; returns the metadata of each output.

    The folder holds step.ipynb, and project/ unless `project` is given. `guard` names inputs that later steps also use:
    the step fails if it changes them in place. Raises StepError, with notebook, cell and step, if the step fails.
    """
    notebook = step_folder / "step.ipynb"
    try:
        interface = _Interface(json.loads(notebook.read_text(encoding="utf-8"))["metadata"][METADATA])
    except (OSError, ValueError, KeyError) as error:
        raise ExternalError(f"{notebook} is not a step notebook: {error!r}", fix="Compile it again.") from error
    failure = executor_input.output_file.with_name(FAILURE_FILE)
    failure.unlink(missing_ok=True)
    with scratch() as folder:
        executed = folder / "executed.ipynb"
        numbered = _numbered(notebook, folder / "step.ipynb")
        failed: KaleyardError | None = None
        try:
            values = _parameters(executor_input, interface)
            _prepare(executor_input, interface, folder, guard)
            cwd = work_folder(
                folder, project or step_folder / "project", interface.data["project"], interface.location.notebook or ""
            )
            before = _place_files(executor_input, interface, work_root(folder), values)
            _execute(numbered, executed, values, cwd, folder, interface, page=PAGE in executor_input.outputs)
            records = _records(folder, interface, executed)
            if FILES in executor_input.outputs:
                records[FILES] = collect_files(work_root(folder), LEVELS, before, executor_input.outputs[FILES].path)
        except KaleyardError as error:
            failed = error
        if not executed.exists():
            shutil.copyfile(numbered, executed)
        _write_notebook(executor_input, executed, interface)
        if failed is not None:
            if failed.place == Location():
                failed.place = interface.location
            atomic_write(failure, json.dumps(failed.to_dict()))
            raise failed
        write_executor_output(executor_input, records)
    return records


def _numbered(notebook: Path, target: Path) -> Path:
    """Copy the step notebook, with the cell numbers of the user's notebook where they are known."""
    data = json.loads(notebook.read_text(encoding="utf-8"))
    numbers = [int(n) for n in os.environ.get(CELLS_VARIABLE, "").split(",") if n.isdecimal()]
    cells = [m for m in (c["metadata"].get(METADATA, {}) for c in data["cells"]) if m.get("role") in ("setup", "user")]
    for metadata, number in zip(cells, numbers, strict=False):
        if number:
            metadata["cell"] = number
    target.write_text(json.dumps(data), encoding="utf-8")
    return target


def _parameters(executor_input: ExecutorInput, interface: _Interface) -> dict[str, Any]:
    declared = interface.data["parameters"]
    passed = executor_input.parameters
    return {
        name: coerce(name, passed.get(artifact_name(name), p["default"]), p["type"], p["default"])
        for name, p in declared.items()
    }


def _prepare(executor_input: ExecutorInput, interface: _Interface, folder: Path, guard: Sequence[str]) -> None:
    """Write the file that tells the kernel where to load and save values."""
    inputs = {}
    for name in interface.data["inputs"]:
        if artifact_name(name) not in executor_input.inputs:
            raise StepError(f"missing in the executor input: the artifact `{name}`", fix="Compile the pipeline again.")
        artifact = executor_input.inputs[artifact_name(name)]
        extra = {k[6:]: v for k, v in artifact.metadata.items() if k.startswith("extra_")}
        location = {"path": str(artifact.path), "format": artifact.metadata.get("format"), "extra": extra}
        inputs[name] = location | {"sha256": artifact.metadata.get("sha256")}
    missing = [n for n in interface.data["outputs"] if artifact_name(n) not in executor_input.outputs]
    if missing:
        raise StepError(f"missing in the executor input: the output `{missing[0]}`", fix="Compile the pipeline again.")
    (folder / "records").mkdir()
    outputs = {n: str(executor_input.outputs[artifact_name(n)].path) for n in interface.data["outputs"]}
    io = {"inputs": inputs, "outputs": outputs, "records": str(folder / "records"), "guard": list(guard)}
    (folder / "io.json").write_text(json.dumps(io), encoding="utf-8")


def _place_files(
    executor_input: ExecutorInput, interface: _Interface, root: Path, values: Mapping[str, Any]
) -> Mapping[str, tuple[int, int]]:
    """Copy the files of earlier steps that the step reads; returns all files that exist before it starts."""
    parameter_files = executor_input.output_file.parent / PARAMETER_FILES
    if parameter_files.is_dir():
        shutil.copytree(parameter_files, root, dirs_exist_ok=True)
    for name in interface.data["folders"]:
        target = root / name
        target.mkdir(parents=True, exist_ok=True)
    for step, paths in interface.data["files"]:
        if files_input(step) not in executor_input.inputs:
            raise StepError(f"missing in the executor input: files of step {step}", fix="Compile the pipeline again.")
        selected = wanted_paths(paths, interface.data["parameters"], values)
        place_files(executor_input.inputs[files_input(step)].path, root, selected)
    return snapshot(root, LEVELS)


def _execute(
    notebook: Path,
    executed: Path,
    values: Mapping[str, Any],
    cwd: Path,
    folder: Path,
    interface: _Interface,
    *,
    page: bool,
) -> None:
    _set_environment(folder, interface)
    logging.getLogger("papermill").setLevel(logging.ERROR)
    skip_iri_grammar()
    import papermill

    from kaleyard.runtime.kernels.papermill_engine import ENGINE, put_back_errors

    if page:
        # The page is written after the cells, but its modules can be imported while they run.
        threading.Thread(target=import_module, args=("nbconvert.exporters.html",), daemon=True).start()
    try:
        papermill.execute_notebook(
            str(notebook),
            str(executed),
            parameters=dict(values),
            cwd=str(cwd),
            kernel_name="python3",
            progress_bar=False,
            engine_name=ENGINE,
        )
    except (Exception, Stopped) as error:
        caught()
        raise explain(error, executed, interface.location) from error
    finally:
        if executed.exists():
            put_back_errors(executed)


def _set_environment(folder: Path, interface: _Interface) -> None:
    """Set the kernel's environment: private Jupyter folders, the project's module folders, a fixed hash seed."""
    paths = [str(work_root(folder) / p) for p in interface.data["module_path"] if not Path(p).is_absolute()]
    package_path = str(Path(__file__).parents[2])
    inherited = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    runtime = folder / "jupyter"
    runtime.mkdir()
    os.environ |= {
        IO_VARIABLE: str(folder / "io.json"),
        WORK_VARIABLE: str(work_root(folder)),
        "JUPYTER_RUNTIME_DIR": str(runtime),
        "IPYTHONDIR": str(folder / "ipython"),
        "PYTHONPATH": os.pathsep.join([*paths, *inherited, package_path]),
        "PYTHONHASHSEED": os.environ.get("PYTHONHASHSEED", "0"),
    }


def _records(folder: Path, interface: _Interface, executed: Path) -> dict[str, dict[str, Any]]:
    """The metadata of every output artifact, from the save cell's records. Raises StepError if one is missing."""
    saved: dict[str, dict[str, Any]] = {NOTEBOOK: {}, PAGE: {}, METRICS: {}}
    for path in sorted((folder / "records").glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if "metric" in record:
            saved[METRICS][record["metric"]] = record["value"]
        else:
            extra = {f"extra_{k}": v for k, v in record.pop("extra").items()}
            saved[record.pop("name")] = record | extra
    missing = [n for n in interface.data["outputs"] if n not in saved]
    missing += [n for n in interface.data["metrics"] if n not in saved[METRICS]]
    if missing:
        raise explain(StepError(f"the step ended before it saved `{missing[0]}`"), executed, interface.location)
    return {artifact_name(n): metadata for n, metadata in saved.items()}


def _write_notebook(executor_input: ExecutorInput, executed: Path, interface: _Interface) -> None:
    """Write the executed notebook and its page to the paths in the executor input."""
    if NOTEBOOK in executor_input.outputs:
        target = executor_input.outputs[NOTEBOOK].path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(executed, target)
    if PAGE in executor_input.outputs:
        target = executor_input.outputs[PAGE].path
        target.parent.mkdir(parents=True, exist_ok=True)
        if interface.data["report"]:
            from kaleyard.runtime.notebook_page import write_page

            write_page(executed, target, f"{interface.data['pipeline']} / {interface.data['step']}")
        else:
            target.write_text("<!doctype html><title>No page</title><p>report:disabled", encoding="utf-8")
