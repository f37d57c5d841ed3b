"""A plain notebook run whole in one kernel, and cut into steps at some places: what each gives, to be compared.

A last cell tells of every value that lives at the end: in the steps, all of them have to travel to it.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

import kaleyard
from kaleyard.errors import KaleyardError
from kaleyard.reporting.console import SilentReporter
from kaleyard.testing.notebook_execution import execute

__all__ = ["Outcome", "cut", "differences", "living", "own_cells", "run_steps", "run_whole", "tell", "with_telling"]

# What is another each time: addresses, and the folder for temporary files.
_NOISE = ((re.compile(r"0x[0-9a-f]{6,}"), "0x"), (re.compile(r"/tmp/[^\s'\"]+"), "/tmp"))
# Says what a value is, the same for equal values, in any process. It stands in the notebooks that are compared.
DESCRIBE = """\
def _told(value, depth=0):
    import hashlib, types
    kind = type(value)
    name = kind.__module__ + "." + kind.__qualname__
    if depth > 6:
        return name
    if kind is float or (kind.__module__ == "numpy" and kind.__name__.startswith("float")):
        return name + format(float(value), ".9g")  # the order in memory decides the last digits of sums
    if value is None or kind in (bool, int, complex, str, bytes, range):
        return repr(value) if len(repr(value)) < 200 else name + hashlib.sha256(repr(value).encode()).hexdigest()
    if isinstance(value, (list, tuple)):
        return name + "[" + ", ".join(_told(v, depth + 1) for v in value) + "]"
    if isinstance(value, (set, frozenset)):
        return name + "{" + ", ".join(sorted(_told(v, depth + 1) for v in value)) + "}"
    if isinstance(value, dict):
        return name + "{" + ", ".join(_told(k, depth + 1) + ": " + _told(v, depth + 1) for k, v in value.items()) + "}"
    if isinstance(value, type):
        return "class " + value.__qualname__
    if isinstance(value, (types.FunctionType, types.BuiltinFunctionType, types.MethodType)):
        return "function " + value.__qualname__
    if kind.__module__ == "numpy" and hasattr(value, "dtype"):
        if value.dtype == object:
            return name + str(value.shape) + _told(value.ravel().tolist(), depth + 1)
        if value.dtype.kind == "f":
            return name + str(value.dtype) + str(value.shape) + _told([float(v) for v in value.ravel()[:200]], 5)
        return name + str(value.dtype) + str(value.shape) + hashlib.sha256(value.tobytes()).hexdigest()
    if kind.__module__.startswith("pandas") and hasattr(value, "to_csv"):
        types_ = str(getattr(value, "dtypes", "")) + str(value.index.dtype) + str(value.shape)
        return name + hashlib.sha256((types_ + value.to_csv(float_format="%.9g")).encode()).hexdigest()
    if kind.__module__.startswith("pandas"):
        items = value.to_list() if hasattr(value, "to_list") else repr(value)
        return name + str(getattr(value, "dtype", "")) + hashlib.sha256(repr(items).encode()).hexdigest()
    if kind.__module__.startswith("PIL.") and hasattr(value, "tobytes"):
        # Not what saving notes on a picture, which no reader of a picture gets back either.
        return name + value.mode + str(value.size) + hashlib.sha256(value.tobytes()).hexdigest()
    if kind.__module__.startswith(("matplotlib", "mpl_toolkits", "_io", "sqlite3", "logging", "tqdm", "joblib")):
        return name
    state = getattr(value, "__dict__", None)
    if state is not None:
        return name + "(" + ", ".join(k + "=" + _told(v, depth + 1) for k, v in sorted(state.items())) + ")"
    text = repr(value)
    return name if " at 0x" in text else text
"""


@dataclass(slots=True)
class Outcome:
    """What a run gave: each cell's text by its number, and every file by its path, as a digest of its content."""

    texts: dict[int, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    error: str = ""


def text_of(outputs: Sequence[Any]) -> str:
    """What a cell prints and shows as text."""
    parts: list[str] = []
    for output in outputs:
        if output["output_type"] == "stream" and output["name"] == "stdout":
            parts.append("".join(output["text"]))
        elif output["output_type"] in ("execute_result", "display_data") and "text/plain" in output["data"]:
            parts.append("\n" + "".join(output["data"]["text/plain"]) + "\n")
        elif output["output_type"] == "error":
            parts.append(f"\n{output['ename']}: {output['evalue']}\n")
    text = re.sub(r"\n+", "\n", "".join(parts))
    for pattern, plain in _NOISE:
        text = pattern.sub(plain, text)
    return text.strip()


def tell(folder: Path, unless: Sequence[str] = ()) -> dict[str, str]:
    """Every file below a folder but notebooks and what Python and Kaleyard keep for themselves, by its path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        ours = name.startswith((".kaleyard", "runs/", "pyproject.toml")) or "__pycache__" in name
        if path.is_file() and not ours and path.suffix != ".ipynb" and name not in unless:
            found[name] = content(path)
    return found


def content(path: Path) -> str:
    """What a file holds; of an archive what is in it, whenever that was put there.

    A pickle of equal values may be of other bytes: which of its parts are one object may differ.
    """
    if path.suffix in (".joblib", ".pkl", ".pickle"):
        return "a pickle"
    if path.suffix in (".png", ".jpg", ".svg", ".pdf"):
        return "a picture"
    if zipfile.is_zipfile(path) and path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            parts = {n: hashlib.sha256(archive.read(n)).hexdigest() for n in sorted(archive.namelist())}
        return json.dumps(parts)
    if path.name.endswith(".tar.gz"):
        with tarfile.open(path) as archive:
            parts = {}
            for member in archive.getmembers():
                inner = archive.extractfile(member)
                parts[member.name] = hashlib.sha256(inner.read()).hexdigest() if inner else ""
        return json.dumps(dict(sorted(parts.items())))
    if path.name == "metadata.json" and "joblib" in path.parts:
        return "how long it took"
    return hashlib.sha256(path.read_bytes()).hexdigest()


_LIVING = """
import builtins as _builtins, types as _types, cloudpickle as _cloudpickle
def _keeps(value):
    if isinstance(value, _types.ModuleType) or hasattr(value, '__next__'):
        return False
    # Models and figures are told by what the cells show of them.
    if type(value).__module__.startswith(('matplotlib', 'mpl_toolkits')) or hasattr(value, 'get_params'):
        return False
    try:
        _cloudpickle.dumps(value)
    except Exception:
        return False
    return True
_names = [n for n in globals() if not n.startswith('_')]
_names = [n for n in _names if n not in ('In', 'Out', 'exit', 'quit', 'open', 'get_ipython') and _keeps(globals()[n])]
"""


def with_telling(notebook: Any, names: Sequence[str] | None = None) -> Any:
    """The notebook with a last cell that tells of the values of these names, or of all that live at its end."""
    whole = nbformat.from_dict(json.loads(json.dumps(notebook)))
    lines = [f"__import__('builtins').print(repr({name!r}), _told({name}))" for name in names or ()]
    if names is None:
        lines = [_LIVING, "for _n in _names:\n    _builtins.print(repr(_n), _told(globals()[_n]))"]
    whole.cells.append(nbformat.v4.new_code_cell(DESCRIBE + "\n" + "\n".join(lines)))
    return whole


def living(whole: Outcome) -> list[str]:
    """The names whose values the last cell of a whole run told of."""
    last = whole.texts[max(whole.texts)]
    return [ast.literal_eval(line.partition(" ")[0]) for line in last.splitlines() if line.startswith("'")]


def run_whole(notebook: Any, folder: Path) -> Outcome:
    """What the notebook gives when one kernel runs it from top to bottom, in `folder`/notebooks."""
    (folder / "notebooks").mkdir(parents=True, exist_ok=True)
    done = execute(notebook, folder / "notebooks", frozenset(), 120)
    numbers = [n for n, cell in enumerate(notebook.cells, 1) if cell.cell_type == "code"]
    found = Outcome({number: text_of(done.outputs[at]) for at, number in enumerate(numbers)})
    errors = (o for outputs in done.outputs.values() for o in outputs if o["output_type"] == "error")
    found.error = next((f"{o['ename']}: {o['evalue']}" for o in errors), done.trouble.words if done.trouble else "")
    found.files = tell(folder)
    return found


def role(source: str) -> str:
    """The tag of a cell of imports or of definitions alone; "" for any other."""
    text = "\n".join(line for line in source.split("\n") if not line.lstrip().startswith(("%", "!")))
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return ""
    if body and all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in body):
        return "imports"
    return "functions" if body and all(isinstance(n, (ast.FunctionDef, ast.ClassDef)) for n in body) else ""


def cut(notebook: Any, starts: Sequence[int], *, shared: bool = True) -> Any:
    """The notebook in steps: `starts` count among the cells that are a step's own, where the later steps begin.

    `shared`: cells of imports and of definitions are tagged so; else they are in steps like any other.
    """
    made = nbformat.from_dict(json.loads(json.dumps(notebook)))
    code = [c for c in made.cells if c.cell_type == "code" and c.source.strip()]
    own = [c for c in code if not (shared and role(c.source))]
    places: Mapping[int, int] = {id(cell): index for index, cell in enumerate(own)}
    current, interrupted = "", False
    for cell in code:
        cell.metadata["tags"] = []
        if id(cell) not in places:
            cell.metadata["tags"], interrupted = [role(cell.source)], True
            continue
        index = places[id(cell)]
        if index == 0 or index in starts:
            current = f"step:part{sum(s <= index for s in starts) + 1}"
            cell.metadata["tags"] = [current]
        elif interrupted:  # without a tag it would go on with the shared cell
            cell.metadata["tags"] = [current]
        interrupted = False
    return made


def own_cells(notebook: Any, *, shared: bool) -> int:
    """How many code cells are a step's own when the notebook is cut."""
    code = [c for c in notebook.cells if c.cell_type == "code" and c.source.strip()]
    return len([c for c in code if not (shared and role(c.source))])


def run_steps(notebook: Any, folder: Path) -> Outcome:
    """What a cut notebook gives, run by Kaleyard in the project `folder`; `error` says why if it does not run."""
    (folder / "notebooks").mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text("[tool.kaleyard]\n", encoding="utf-8")
    path = folder / "notebooks" / "cut.ipynb"
    nbformat.write(notebook, path)
    found = Outcome()
    try:
        done = kaleyard.run(path, reporter=SilentReporter(), cache=False)
    except KaleyardError as error:
        found.error = str(error)
        return found
    failed = next((s.error for s in done.steps.values() if s.error), None)
    found.error = f"cell {failed['cell']}: {failed['what']}" if failed else ""
    for step in done.steps.values():
        cells = json.loads((done.folder / step.notebook).read_text())["cells"] if step.notebook else []
        for cell in cells:
            told = cell["metadata"].get("kaleyard", {})
            if told.get("role") == "user" and told.get("cell") and cell["cell_type"] == "code":
                found.texts[told["cell"]] = text_of(cell["outputs"])
    found.files = {name: content(place) for name, place in done.files.items()}
    return found


def differences(whole: Outcome, steps: Outcome) -> list[str]:
    """Where the two differ: cells by their first lines that do, and files."""
    found = []
    for number, text in steps.texts.items():
        one = whole.texts.get(number, "")
        if one != text:
            pairs = zip([*one.split("\n"), ""], [*text.split("\n"), ""], strict=False)
            line = next(((a, b) for a, b in pairs if a != b), ("", ""))
            found.append(f"cell {number}: {line[0][:200]!r} whole, {line[1][:200]!r} in steps")
    names = sorted({*whole.files, *steps.files})
    found += [f"file {name}" for name in names if whole.files.get(name) != steps.files.get(name)]
    return found
