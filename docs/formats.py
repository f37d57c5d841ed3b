"""Writes docs/formats.md from the formats themselves: `python docs/formats.py > docs/formats.md`."""

from __future__ import annotations

import sys

from kaleyard.runtime.serializers import describe, is_open

HEAD = """\
# Data between steps

<!-- Written from the code by `python docs/formats.py`; a test holds the two together. -->

A value that a later step uses, a step's result and its metrics are kept as files, each in the first of these formats
that keeps it *exactly*: the value that comes back is equal, of the same type. A value that no format keeps is refused
by name, with what to do. Equal values give equal bytes in every process, so that the cache can know them by digest.

| format | file | keeps |
| --- | --- | --- |
"""

TAIL = """
`cloudpickle` is the one closed format: reading it runs code and needs like versions of packages. `kaleyard check` warns
where it can see that a value will go that way (KY501), and a run says so in its notes. What cannot travel at all is
refused: generators, open files, locks, sockets, database connections, modules.

Names that share an object, such as a list and a dict that holds it, travel together in one pickle and share it in the
next step too. A step may not change a value that another step also uses: if it does, and Kaleyard could not see it in
the code, the step fails at its end and the message says what to do.

## A format of your own

A package adds one by an entry point in its `pyproject.toml`, that leads to a class:

```toml
[project.entry-points."kaleyard.formats"]
onnx = "my_package.formats:Onnx"
```

```python
class Onnx:
    \"\"\"Models in ONNX.\"\"\"

    name = "onnx"
    suffix = ".onnx"

    def accepts(self, value):
        return type(value).__module__.startswith("onnx.")

    def save(self, value, path):
        path.write_bytes(value.SerializeToString(deterministic=True))

    def load(self, path, extra):
        import onnx

        return onnx.load_model_from_string(path.read_bytes())
```

Formats of other packages are asked first. `accepts` should look at `type(value).__module__` and import nothing. A
`save` that raises `kaleyard.errors.DataError` leaves the value to the next format; what it returns, a dict of texts, is
handed to `load` as `extra`. The same value has to give the same bytes in every process. The package has to be in the
project's lock, so that the steps that use it have it.
"""


def formats_page() -> str:
    """The page, in Markdown."""
    rows = []
    for told in describe():
        name = f"`{told.name}`{'' if is_open(told.name) else ' (closed)'}"
        rows.append(f"| {name} | {f'`{told.suffix}`' if told.suffix else 'as it is'} | {told.keeps} |")
    return HEAD + "\n".join(rows) + "\n" + TAIL


if __name__ == "__main__":
    sys.stdout.write(formats_page())
