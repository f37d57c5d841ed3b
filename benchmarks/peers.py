"""The peers: papermill step by step, Ploomber, Kale with kfp.local, and kfp's own notebook components."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Generator
from pathlib import Path

from benchmarks.notebooks import assignments, step_cells, tagged_cells, write_notebook, written_metric
from benchmarks.rows import AGAIN, CHANGED, FIRST
from benchmarks.runner import SLOW, Command, Found, Phase, Runner, Task, VoidError
from benchmarks.workloads import Step, Work

__all__ = ["RUNNERS"]

# Kale keeps values that pass between steps here, whatever the pipeline: what another run left there would be read.
_MARSHAL = Path("/tmp/marshal")
_KFP_LOCAL = Path(__file__).with_name("kfp_local.py")


def _papermill(task: Task) -> Generator[Phase, None, None]:
    """A `papermill` process for each step, in order."""
    work = task.work
    commands: list[Command] = []
    for step in work.steps:
        files = _file_parameters(step)
        source = _file_notebook(task, step, dict.fromkeys(files, ""))
        values = [word for name, file in files.items() for word in ("-r", name, file)]
        commands.append([task.programs / "papermill", source, task.folder / f"{step.name}.out.ipynb", *values])
    made = task.folder / f"{_telling(work)}.out.ipynb"
    yield Phase(FIRST, commands, lambda _output: Found(written_metric(made, work.metric)))


def _ploomber(task: Task, executor: str) -> Generator[Phase, None, None]:
    """`ploomber build`; for a workload with a late step also again, and again after that step's edit."""
    work = task.work
    maker = {name: step.name for step in work.steps for name in step.makes}
    tasks = []
    for step in work.steps:
        _ploomber_notebook(task, step, maker)
        product = {"nb": f"out/{step.name}.ipynb"} | {name: f"out/{name}.pkl" for name in step.makes}
        more = {"params": work.used(step)} if work.used(step) else {}
        tasks.append({"source": f"{step.name}.ipynb", "name": step.name, "product": product, **more})
    # JSON is YAML.
    (task.folder / "pipeline.yaml").write_text(json.dumps({"executor": executor, "tasks": tasks}), encoding="utf-8")

    def phase(name: str, expected: set[str]) -> Phase:
        def read(output: str) -> Found:
            ran = set(re.findall(r"^(\w+) +True ", output, flags=re.MULTILINE))
            if ran != expected:
                raise VoidError(f"the steps that ran were {', '.join(sorted(ran))}, not {', '.join(sorted(expected))}")
            return Found(written_metric(task.folder / "out" / f"{_telling(work)}.ipynb", work.metric))

        return Phase(name, [[task.programs / "ploomber", "build"]], read)

    yield phase(FIRST, {step.name for step in work.steps})
    if work.late:
        yield phase(AGAIN, set())
        (edited,) = (step for step in work.changed().steps if step.name == work.late)
        _ploomber_notebook(task, edited, maker)
        yield phase(CHANGED, {work.late} | _below(work, work.late))


def _kale(task: Task, *, install: bool) -> Generator[Phase, None, None]:
    """`kale --nb`, then the pipeline in kfp.local; where nothing is installed also again, with kfp's cache."""
    work = task.work
    compiling, generated = _kale_compiling(task)
    running: Command = [task.programs / "python", _KFP_LOCAL, generated, *([] if install else ["--install-nothing"])]

    def read(_output: str) -> Found:
        latest = max(task.folder.glob("out/*/*/executor_output.json"), key=lambda path: path.stat().st_mtime)
        # With its cache kfp appends to this file: the first object is the run's.
        output, _ = json.JSONDecoder().raw_decode(latest.read_text(encoding="utf-8"))
        return Found(float(output["artifacts"]["kale_metrics_artifact"]["artifacts"][0]["metadata"][work.metric]))

    shutil.rmtree(_MARSHAL, ignore_errors=True)
    try:
        yield Phase(FIRST, [compiling, running], read)
        if work.late and not install:
            yield Phase(AGAIN, [running], read)
    finally:
        shutil.rmtree(_MARSHAL, ignore_errors=True)


def _kale_compile(task: Task) -> Generator[Phase, None, None]:
    """`kale --nb`: it writes the pipeline as Python and as IR YAML."""
    compiling, generated = _kale_compiling(task)

    def read(_output: str) -> Found:
        _count_components(task.work, generated.read_text(encoding="utf-8"), r"^@kfp_dsl\.component\($")
        _count_components(task.work, generated.with_name("kale-pipeline.pipeline.yaml").read_text(), r"^    exec-.*:$")
        return Found()

    yield Phase(FIRST, [compiling], read)


def _kfp_compile(task: Task) -> Generator[Phase, None, None]:
    """A module with a `dsl.notebook_component` for each step, compiled to IR YAML."""
    module, package = task.folder / "pipeline.py", task.folder / "pipeline.yaml"
    module.write_text(_kfp_module(task, package.name), encoding="utf-8")

    def read(_output: str) -> Found:
        _count_components(task.work, package.read_text(encoding="utf-8"), r"^    exec-.*:$")
        return Found()

    yield Phase(FIRST, [[task.programs / "python", module]], read)


def _kale_compiling(task: Task) -> tuple[Command, Path]:
    """The command that compiles the workload's notebook, and the module it will write."""
    notebook = write_notebook(task.folder / "work.ipynb", tagged_cells(task.work, order=True))
    return [task.programs / "kale", "--nb", notebook.name], task.folder / ".kale" / "kale-pipeline.kale.py"


def _kfp_module(task: Task, package: str) -> str:
    work = task.work
    maker = {name: step.name for step in work.steps for name in step.makes}
    lines = ["from kfp import compiler, dsl", ""]
    for step in work.steps:
        files, values = _file_parameters(step), work.used(step)
        notebook = _file_notebook(task, step, dict.fromkeys(files, ""))
        typed = [f"in_{name}: dsl.Input[dsl.Artifact]" for name in step.takes]
        typed += [f"out_{name}: dsl.Output[dsl.Artifact]" for name in step.makes]
        typed += [f"{name}: {type(value).__name__} = {value!r}" for name, value in values.items()]
        given = [f"{name}={name}.path" for name in files] + [f"{name}={name}" for name in values]
        lines += [
            f"@dsl.notebook_component(notebook_path={str(notebook)!r}, packages_to_install=[])",
            f"def make_{step.name}({', '.join(typed)}):",
            f"    dsl.run_notebook({', '.join(given)})",
            "",
        ]
    lines += ["@dsl.pipeline(name='work')", "def work():"]
    for step in work.steps:
        given = [f"in_{name}={maker[name]}.outputs['out_{name}']" for name in step.takes]
        lines.append(f"    {step.name} = make_{step.name}({', '.join(given)})")
    return "\n".join([*lines, "", f"compiler.Compiler().compile(work, {package!r})", ""])


def _file_parameters(step: Step) -> dict[str, str]:
    """The step's values as parameters that say where they lie: `in_NAME` and `out_NAME`, each with a file."""
    taken = {f"in_{name}": f"{name}.pkl" for name in step.takes}
    return taken | {f"out_{name}": f"{name}.pkl" for name in step.makes}


def _file_notebook(task: Task, step: Step, files: dict[str, str]) -> Path:
    """The step as a notebook whose parameters say where its values lie."""
    head = assignments(files | task.work.used(step)) or "pass"
    cells = step_cells(task.work, step, head, "in_{}".format, "out_{}".format)
    return write_notebook(task.folder / f"{step.name}.ipynb", cells)


def _ploomber_notebook(task: Task, step: Step, maker: dict[str, str]) -> Path:
    """The step as a notebook that finds its values where Ploomber says they are."""
    values = {"upstream": task.work.upstream(step) or None, "product": None}
    head = assignments(values | dict.fromkeys(task.work.used(step)))
    cells = step_cells(
        task.work,
        step,
        head,
        lambda name: f"upstream[{maker[name]!r}][{name!r}]",
        lambda name: f"product[{name!r}]",
    )
    return write_notebook(task.folder / f"{step.name}.ipynb", cells)


def _telling(work: Work) -> str:
    """The step that prints the metric."""
    return next(step.name for step in work.steps if f"print('{work.metric}'" in step.source)


def _below(work: Work, name: str) -> set[str]:
    """The steps that need that step, in one way or another."""
    found: set[str] = set()
    for step in work.steps:
        if {name, *found} & set(work.upstream(step)):
            found.add(step.name)
    return found


def _count_components(work: Work, text: str, pattern: str) -> None:
    """Raises VoidError unless the text holds a component for each step."""
    made = len(re.findall(pattern, text, flags=re.MULTILINE))
    if made != len(work.steps):
        raise VoidError(f"{made} components were made, not {len(work.steps)}")


_RUNS = ("housing", "chain-?", "chain-??", "fan-?")
RUNNERS = (
    Runner("papermill", "papermill", _RUNS, _papermill),
    Runner("ploomber", "ploomber", ("housing", "chain-?", "chain-??"), lambda task: _ploomber(task, "serial"), SLOW),
    Runner("ploomber-parallel", "ploomber", ("fan-?",), lambda task: _ploomber(task, "parallel"), SLOW),
    Runner("kale", "kale", ("housing",), lambda task: _kale(task, install=True), SLOW),
    Runner("kale-install-nothing", "kale", _RUNS, lambda task: _kale(task, install=False), SLOW),
    Runner("kale", "kale", ("compile-*",), _kale_compile, SLOW),
    Runner("kfp-notebooks", "kale", ("compile-*",), _kfp_compile, SLOW),
)
