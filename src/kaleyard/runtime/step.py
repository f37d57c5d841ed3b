"""Runs one step: executor input in, papermill over step.ipynb, executor output out.

Whatever happens, the executed notebook and its page are written where the executor input wants them; a failure is
also written as data beside the executor output.
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
from kaleyard.runtime.result_files import collect_files, look_at, place_files, wanted_paths
from kaleyard.runtime.signals import Stopped, caught
from kaleyard.runtime.step_failure import explain
from kaleyard.runtime.work_folder import LEVELS, scratch, work_folder, work_root

__all__ = ["run_step"]


@dataclass(frozen=True, slots=True)
class _Interface:
    """The step notebook's own words on what it takes and gives."""

    data: Mapping[str, Any]

    @property
    def place(self) -> Location:
        return Location(self.data["notebook"], step=self.data["step"])


def run_step(
    given: ExecutorInput, step_folder: Path, project: Path | None = None, guard: Sequence[str] = ()
) -> dict[str, dict[str, Any]]:
    """Run the step in `step_folder` (step.ipynb, and project/ unless `project` is told); each output's metadata.

    `guard` names inputs that later steps also take: the step fails if it changes them in place.
    Raises StepError, with notebook, cell and step, if the step does not come to its end.
    """
    notebook = step_folder / "step.ipynb"
    try:
        interface = _Interface(json.loads(notebook.read_text(encoding="utf-8"))["metadata"][METADATA])
    except (OSError, ValueError, KeyError) as error:
        raise ExternalError(f"{notebook} is no step notebook: {error!r}", fix="Compile the notebook again.") from error
    failure = given.output_file.with_name(FAILURE_FILE)
    failure.unlink(missing_ok=True)
    with scratch() as folder:
        executed = folder / "executed.ipynb"
        numbered = _numbered(notebook, folder / "step.ipynb")
        failed: KaleyardError | None = None
        try:
            values = _parameters(given, interface)
            _prepare(given, interface, folder, guard)
            cwd = work_folder(
                folder, project or step_folder / "project", interface.data["project"], interface.place.notebook or ""
            )
            before = _place_files(given, interface, work_root(folder), values)
            _execute(numbered, executed, values, cwd, folder, interface, page=PAGE in given.outputs)
            records = _records(folder, interface, executed)
            if FILES in given.outputs:
                records[FILES] = collect_files(work_root(folder), LEVELS, before, given.outputs[FILES].path)
        except KaleyardError as caught:
            failed = caught
        if not executed.exists():
            shutil.copyfile(numbered, executed)
        _keep(given, executed, interface)
        if failed is not None:
            if failed.place == Location():
                failed.place = interface.place
            atomic_write(failure, json.dumps(failed.to_dict()))
            raise failed
        write_executor_output(given, records)
    return records


def _numbered(notebook: Path, target: Path) -> Path:
    """The step notebook with the numbers its cells have in the user's notebook, as far as they are told."""
    data = json.loads(notebook.read_text(encoding="utf-8"))
    numbers = [int(n) for n in os.environ.get(CELLS_VARIABLE, "").split(",") if n.isdecimal()]
    ours = [m for m in (c["metadata"].get(METADATA, {}) for c in data["cells"]) if m.get("role") in ("setup", "user")]
    for metadata, number in zip(ours, numbers, strict=False):
        if number:
            metadata["cell"] = number
    target.write_text(json.dumps(data), encoding="utf-8")
    return target


def _parameters(given: ExecutorInput, interface: _Interface) -> dict[str, Any]:
    told = interface.data["parameters"]
    values = {n: given.parameters.get(artifact_name(n), p["default"]) for n, p in told.items()}
    return {n: coerce(n, v, told[n]["type"], told[n]["default"]) for n, v in values.items()}


def _prepare(given: ExecutorInput, interface: _Interface, folder: Path, guard: Sequence[str]) -> None:
    """Tell the kernel, in a file, where its values come from and go to."""
    inputs = {}
    for name in interface.data["inputs"]:
        if artifact_name(name) not in given.inputs:
            raise StepError(f"the executor input lacks the artifact `{name}`", fix="Compile the pipeline again.")
        artifact = given.inputs[artifact_name(name)]
        extra = {k[6:]: v for k, v in artifact.metadata.items() if k.startswith("extra_")}
        told = {"path": str(artifact.path), "format": artifact.metadata.get("format"), "extra": extra}
        inputs[name] = told | {"sha256": artifact.metadata.get("sha256")}
    missing = [n for n in interface.data["outputs"] if artifact_name(n) not in given.outputs]
    if missing:
        raise StepError(f"the executor input has no place for `{missing[0]}`", fix="Compile the pipeline again.")
    (folder / "records").mkdir()
    outputs = {n: str(given.outputs[artifact_name(n)].path) for n in interface.data["outputs"]}
    io = {"inputs": inputs, "outputs": outputs, "records": str(folder / "records"), "guard": list(guard)}
    (folder / "io.json").write_text(json.dumps(io), encoding="utf-8")


def _place_files(
    given: ExecutorInput, interface: _Interface, root: Path, values: Mapping[str, Any]
) -> Mapping[str, tuple[int, int]]:
    """Put in place what the step reads of files that earlier steps wrote; what there is before it begins."""
    named = given.output_file.parent / PARAMETER_FILES
    if named.is_dir():
        shutil.copytree(named, root, dirs_exist_ok=True)
    for name in interface.data["folders"]:
        target = root / name
        target.mkdir(parents=True, exist_ok=True)
    for step, paths in interface.data["files"]:
        if files_input(step) not in given.inputs:
            raise StepError(f"the executor input lacks the files of step {step}", fix="Compile the pipeline again.")
        taken = wanted_paths(paths, interface.data["parameters"], values)
        place_files(given.inputs[files_input(step)].path, root, taken)
    return look_at(root, LEVELS)


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
    _environment(folder, interface)
    logging.getLogger("papermill").setLevel(logging.ERROR)
    skip_iri_grammar()
    import papermill

    from kaleyard.runtime.kernels.papermill_engine import ENGINE, put_back_errors

    if page:
        # It is made after the cells, but what it needs can be imported while they run.
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
        raise explain(error, executed, interface.place) from error
    finally:
        if executed.exists():
            put_back_errors(executed)


def _environment(folder: Path, interface: _Interface) -> None:
    """What the kernel inherits: private Jupyter folders, the project's module folders, one fixed hash seed."""
    paths = [str(work_root(folder) / p) for p in interface.data["module_path"] if not Path(p).is_absolute()]
    ours = str(Path(__file__).parents[2])
    inherited = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    runtime = folder / "jupyter"
    runtime.mkdir()
    os.environ |= {
        IO_VARIABLE: str(folder / "io.json"),
        WORK_VARIABLE: str(work_root(folder)),
        "JUPYTER_RUNTIME_DIR": str(runtime),
        "IPYTHONDIR": str(folder / "ipython"),
        "PYTHONPATH": os.pathsep.join([*paths, *inherited, ours]),
        "PYTHONHASHSEED": os.environ.get("PYTHONHASHSEED", "0"),
    }


def _records(folder: Path, interface: _Interface, executed: Path) -> dict[str, dict[str, Any]]:
    """The metadata of every output artifact, from what the save cell left. Raises StepError if it left too little."""
    saved: dict[str, dict[str, Any]] = {NOTEBOOK: {}, PAGE: {}, METRICS: {}}
    for path in sorted((folder / "records").glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if "metric" in record:
            saved[METRICS][record["metric"]] = record["value"]
        else:
            extra = {f"extra_{k}": v for k, v in record.pop("extra").items()}
            saved[record.pop("name")] = record | extra
    lacking = [n for n in interface.data["outputs"] if n not in saved]
    lacking += [n for n in interface.data["metrics"] if n not in saved[METRICS]]
    if lacking:
        raise explain(StepError(f"it ended before it handed over `{lacking[0]}`"), executed, interface.place)
    return {artifact_name(n): metadata for n, metadata in saved.items()}


def _keep(given: ExecutorInput, executed: Path, interface: _Interface) -> None:
    """The executed notebook and its page, where the executor input wants them."""
    if NOTEBOOK in given.outputs:
        target = given.outputs[NOTEBOOK].path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(executed, target)
    if PAGE in given.outputs:
        target = given.outputs[PAGE].path
        target.parent.mkdir(parents=True, exist_ok=True)
        if interface.data["report"]:
            from kaleyard.runtime.notebook_page import write_page

            write_page(executed, target, f"{interface.data['pipeline']} / {interface.data['step']}")
        else:
            target.write_text("<!doctype html><title>No page</title><p>report:disabled", encoding="utf-8")
