"""How long `kaleyard test` takes for N notebooks: at most the slowest one's time and a second for each two of them.

python -m benchmarks.testing [N ...]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_SLOW = 4  # seconds that the slowest notebook sleeps
_REPEATS = 3


def _notebook(path: Path, seconds: float) -> None:
    source = f"import time\nimport numpy as np\ntime.sleep({seconds})\nprint(int(np.arange(10).sum()))"
    stored = {"output_type": "stream", "name": "stdout", "text": ["45\n"]}
    cell = {"cell_type": "code", "id": "one", "metadata": {}, "execution_count": 1, "outputs": [stored]}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [cell | {"source": source.splitlines(keepends=True)}]
    path.write_text(json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))


def _seconds(*notebooks: Path, folder: Path) -> float:
    """The wall time of the whole command; it must pass."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "kaleyard", "test", *map(str, notebooks)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - began


def main(counts: list[int]) -> None:
    """Print a line for each count: what it took, and what it may take."""
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "notebooks").mkdir()
        (folder / "pyproject.toml").write_text("[tool.kaleyard]\n")
        slowest = folder / "notebooks" / "n0.ipynb"
        _notebook(slowest, _SLOW)
        alone = statistics.median(_seconds(slowest, folder=folder) for _ in range(_REPEATS))
        print(f"{cores} processors; the slowest notebook alone: {alone:.2f} s")
        for count in counts:
            paths = [folder / "notebooks" / f"n{n}.ipynb" for n in range(count)]
            for path in paths[1:]:
                _notebook(path, 0)
            together = statistics.median(_seconds(*paths, folder=folder) for _ in range(_REPEATS))
            most = alone + count / cores
            print(f"{count:3} notebooks: {together:.2f} s, {together / most:.2f} of the {most:.2f} s they may take")


if __name__ == "__main__":
    main([int(n) for n in sys.argv[1:]] or [2, 8, 20])
