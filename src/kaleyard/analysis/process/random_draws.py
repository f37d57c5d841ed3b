"""Which steps draw random numbers from the process's generators, so that the state passes from step to step.

A seed affects all code after it, in any step. So once a generator is seeded, each step that may draw or seed saves
its state, and the next step that may draw loads it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from kaleyard.analysis.effects.code_fragments import CodeFragment
from kaleyard.analysis.process.module_settings import ProcessSettings
from kaleyard.analysis.step_code import StepCode

__all__ = ["RANDOM_KINDS", "RandomStates", "can_see", "may_draw"]

# The generators whose state can be saved.
RANDOM_KINDS = ("numpy", "random", "torch")
# Packages that never draw from the process's generators. Any other package may.
_NEVER_DRAW = frozenset(
    "matplotlib mpl_toolkits PIL IPython ipywidgets tqdm rich pyarrow requests yaml bs4 plotly openpyxl joblib "
    "pydantic psutil tabulate dateutil pytz polars lxml altair bokeh sqlalchemy httpx jinja2 markdown".split()
)
# Attributes that plot with matplotlib without an import of it.
_PLOTTING = frozenset({"plot", "hist", "boxplot", "scatter_matrix", "from_estimator", "from_predictions", "plot_tree"})
# Constructors of generators that are independent of the process's.
_SEPARATE = frozenset("default_rng Generator RandomState SeedSequence PCG64 Philox MT19937 Random SystemRandom".split())


@dataclass(slots=True)
class RandomStates:
    """The random state after the steps so far: which step saved it, and which generators were seeded."""

    kinds: set[str] = field(default_factory=set)
    holder: StepCode | None = None

    def seeded_by(self, units: Iterable[CodeFragment], settings: ProcessSettings) -> frozenset[str]:
        """The generators that the units seed, of those whose state can be saved."""
        seeds = (settings.seeds(node) for unit in units for node in unit.nodes)
        return frozenset[str]().union(*seeds) & frozenset(RANDOM_KINDS)


def may_draw(modules: Collection[str], units: Iterable[CodeFragment], settings: ProcessSettings) -> bool:
    """Whether code that uses these top-level modules may draw from a generator of the process."""
    if any(m not in _NEVER_DRAW and m not in ("numpy", "pandas") and m not in sys.stdlib_module_names for m in modules):
        return True
    facts = settings.facts(_draws, units)
    return any(draws_from_process or (samples and "pandas" in modules) for draws_from_process, samples in facts)


def _draws(unit: CodeFragment, settings: ProcessSettings) -> tuple[bool, bool]:
    """Whether a unit uses a generator of the process, and whether it calls a method named `sample`, as pandas has."""
    from_process = samples = False
    for node in (n for top in unit.nodes for n in ast.walk(top)):
        if isinstance(node, (ast.Attribute, ast.Name)):
            samples |= isinstance(node, ast.Attribute) and node.attr == "sample"
            dotted = settings.full_name(node)
            is_draw = dotted.startswith(("numpy.random.", "random.")) and dotted.rpartition(".")[2] not in _SEPARATE
            from_process |= is_draw and dotted != "numpy.random"
        elif isinstance(node, ast.ImportFrom):
            from_process |= node.module in ("random", "numpy.random")
    return from_process, samples


def can_see(
    modules: Collection[str], changed: Collection[str], units: Collection[CodeFragment], settings: ProcessSettings
) -> bool:
    """Whether code that uses `modules` can see settings of one of the `changed` modules.

    All code can see settings of the standard library. "numpy.random" stands for the random generators.
    """
    if "numpy.random" in changed:
        return may_draw(modules, units, settings)
    third_party = [m for m in changed if m not in sys.stdlib_module_names]
    if not third_party or not set(third_party).isdisjoint(modules):
        return True
    if "numpy" in third_party and any(m not in sys.stdlib_module_names for m in modules):
        return True
    return "matplotlib" in third_party and any(settings.facts(_plots, units))


def _plots(unit: CodeFragment, _: ProcessSettings) -> bool:
    nodes = (n for top in unit.nodes for n in ast.walk(top))
    return any(isinstance(n, ast.Attribute) and n.attr in _PLOTTING for n in nodes)
