"""Writes docs/architecture.md from the packages' docstrings: `python docs/architecture.py > docs/architecture.md`."""

from __future__ import annotations

import ast
import sys
import textwrap
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "kaleyard"

HEAD = """\
# Architecture

<!-- Written from the code by `python docs/architecture.py`; a test holds the two together. -->

`src/kaleyard` has a package for each question that one may ask of a pipeline. A package imports only packages below
it in this order, from the top: `jupyter`, `cli`, `api`, then `diagnosis`, `testing` and `project_template`, then
`execution` and `kubeflow`, then `images`, `reporting`, `records`, `compiler`, `rules`, `analysis`, `notebook`,
`config.py`, `pipeline.py`, `runtime`, `errors.py`. `lint-imports` checks this, and a test also follows lazy imports
and modules that are named in strings.

## The packages

"""

WAY = """
## From `kaleyard run` to a cell, and back

1. `cli/run.py` parses the command line and calls `api/run.py`, which other programs call as `kaleyard.run(...)`.
2. `execution/prediction.py` guesses from the last run whether kernels will be needed. If so,
   `execution/prewarm/fork_servers.py` starts a step server and a kernel server while the notebook is being read.
3. `notebook/document.py` reads the file, `notebook/kale_adapter.py` asks Kale for steps and settings,
   `notebook/composition.py` follows `notebook:` cells.
4. `analysis/effects/statements.py` finds what each statement does with names, `analysis/dataflow.py` which step makes
   what each step uses, `analysis/files/file_flow.py` the same for files. `analysis/notebook_analysis.py` returns a
   `Pipeline` (`pipeline.py`).
5. `rules/checker.py` asks every rule. A finding that is an error ends the command here.
6. `execution/scheduler.py` starts each step as soon as its inputs are there; `execution/step_runner.py` looks its cache
   key up in `execution/cache.py` and has a step that is not there run.
7. `compiler/step_notebook.py` writes the step's notebook: parameters, setup, load, the cells, save.
8. `execution/executors/process.py` or `execution/executors/container.py` starts `runtime/__main__.py`. On a cluster,
   Kubeflow Pipelines starts the same module in the step's image.
9. `runtime/step.py` makes the step's folder (`runtime/work_folder.py`) and lets papermill run the notebook in a kernel
   (`runtime/kernels/step_kernel.py`).
10. In the kernel, the load and save cells call `runtime/exchange/kernel_io.py`, which reads and writes values by
    `runtime/serializers/`.
11. `runtime/executor_io.py` writes KFP's executor output. `execution/step_runner.py` reads it, and
    `execution/cache.py` keeps the artifacts.
12. `records/run_record.py` holds what happened, `reporting/console.py` shows it while it goes on, and
    `reporting/html_report.py` writes the report.

## Where to put

| what | where |
| --- | --- |
| a tag | `notebook/tags.py`: a row of the table |
| a rule | `rules/checks/`: a class in the file of its subject |
| a serializer for another type | `runtime/serializers/`, or an entry point `kaleyard.formats` of your own package |
| another place that steps run in | `execution/executors/`: a class like `Executor` in `execution/task.py` |
| another registry's login | `images/credentials.py` |
| another program that builds images | `images/builders.py`: a row of the table |
| what is shown of a run | `reporting/console.py` in the terminal, `reporting/html_report.py` in the report |
| a server for models | a new package `serving`, above `execution` and `kubeflow` |
| a search over parameters | a new package `tuning`, above `execution` and `kubeflow` |
| a verb | a function in `api/`, a command of the same file name in `cli/` |

## Words

| word | what it means here |
| --- | --- |
| notebook | an `.ipynb` file whose cells have Kale's tags |
| step | the cells with one `step:` tag: a node of the pipeline, run in a process of its own |
| pipeline | the steps of a notebook, their order and what passes between them |
| composed notebook | a notebook whose `notebook:` cells bring in the steps of other notebooks |
| shared cell | an `imports` or `functions` cell: it runs in every step that needs it |
| setup | the statements of shared cells and of other steps that run before a step's own cells |
| value | what a variable holds when it passes from one step to another |
| artifact | a value, an executed notebook or the files of a step, as a file or folder |
| result file | a file that a step writes and no later step reads; it is kept with the run |
| parameter | a variable of the `pipeline-parameters` cell: a run may give it another value |
| metric | a number that the `pipeline-metrics` cell prints |
| finding | what a rule says of a notebook: an error, or a warning |
| content key | what decides what a step does: its code, its packages, its files, its base image |
| cache key | the content key with the values of parameters and the digests of inputs |
| digest | the SHA-256 of bytes |
| executor | what runs a step on this machine: as a process, or as a container |
| run | one execution of a pipeline, with its folder, its record `run.json` and its report |
| step notebook | the notebook that papermill runs for a step |
| component | a step as Kubeflow Pipelines knows it: an image, a command, inputs and outputs |
| pipeline package | the YAML file that Kubeflow Pipelines runs |
| serializer | a class that writes values of some types to a file and reads them again |
| prewarm | to start a process and import modules before they are needed |
"""


def caption(path: Path) -> str:
    """The docstring of a package or module, its lines joined."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first, _, rest = text.partition("\n\n")
    more = rest if rest.startswith("May import") else ""
    return " ".join(f"{first} {more}".split())


def item(text: str, depth: int, mark: str = "- ") -> list[str]:
    """The text as lines of an item of a list, indented by its depth."""
    before = "  " * depth
    return textwrap.wrap(text, 118, initial_indent=before + mark, subsequent_indent=before + "  ")


def tree(folder: Path, depth: int = 0) -> list[str]:
    """An item for each package below a folder, and one for each module of the top level."""
    lines = []
    for entry in sorted(folder.iterdir(), key=lambda p: (p.is_file(), p.name)):
        if entry.is_dir() and (entry / "__init__.py").is_file():
            modules = sorted(p.stem for p in entry.glob("*.py") if p.stem != "__init__")
            lines += item(f"**`{entry.name}/`** {caption(entry / '__init__.py')}", depth)
            lines += item(f"Files: {', '.join(f'`{m}`' for m in modules)}.", depth, "  ")
            lines += tree(entry, depth + 1)
        elif entry.suffix == ".py" and not depth and not entry.stem.startswith("__"):
            lines += item(f"**`{entry.name}`** {caption(entry)}", depth)
    return lines


if __name__ == "__main__":
    sys.stdout.write(HEAD + "\n".join(tree(SOURCE)) + "\n" + WAY)
