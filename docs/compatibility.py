"""Writes docs/how-to/what-fits.md from the matrix: `python docs/compatibility.py > docs/how-to/what-fits.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from kaleyard.compatibility import compatibility, range_of

HEAD = """\
# What fits together, and how much it needs

<!-- Written by `python docs/compatibility.py` from compatibility.yaml; a test holds the two together. -->

One file, [`compatibility.yaml`](../../templates/cluster/compatibility.yaml), says which versions fit:
`kaleyard doctor`, the scripts beside it and this page read it.

"""

TAIL = """
A run on this machine, as processes or as containers, needs no cluster. Every step in a cluster is two pods, which take
some seconds each before the step itself starts: many tiny steps are quicker here.
"""

_PARTS = {
    "kfp": "Kubeflow Pipelines",
    "argo": "Argo Workflows, which comes with it",
    "kale": "Kale",
    "kserve": "KServe (option)",
    "cert-manager": "cert-manager (with KServe)",
    "prometheus-operator": "Prometheus operator (option)",
}


def compatibility_page() -> str:
    """The whole page."""
    told = compatibility()
    parts = [(title, told[key]["version"], told[key]["source"]) for key, title in _PARTS.items()]
    ranges = {"kubernetes": "Kubernetes", "python": "Python", "kfp": "servers that `submit` speaks to"}
    parts += [(title, str(range_of(key)), told[key]["source"]) for key, title in ranges.items()]
    tools = [(f"`{name}`", f"{tool['minimum']} or newer", tool["source"]) for name, tool in told["tools"].items()]
    sizes = []
    for name, title in (("local", "runs here, without a cluster"), ("cluster", "a cluster on this machine")):
        low, high = told["machine"][name]["minimum"], told["machine"][name]["recommended"]
        sizes.append((title, *(f"{low[k]:g} ({high[k]:g})" for k in ("cores", "memory", "disk"))))
    return "".join(
        (
            HEAD,
            _table(("part", "version", "read where"), parts),
            "\n",
            _table(("tool", "version", "why"), tools),
            "\nAt least, and in brackets what is recommended:\n\n",
            _table(("for", "processors", "memory, GiB", "free disk, GiB"), sizes),
            f"\nThe figures for a cluster: {told['machine']['cluster']['source']}.\n",
            TAIL,
        )
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


if __name__ == "__main__":
    sys.stdout.write(compatibility_page())
