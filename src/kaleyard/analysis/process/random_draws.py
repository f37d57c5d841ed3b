"""Which steps draw random numbers from the generators of a process, so that their state goes on from step to step.

A seed counts for all that runs after it, in whatever step. So once a generator has been seeded, its state travels: out
of each step that may draw or seed, into the next one that may draw.
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

# The generators whose state can be kept.
RANDOM_KINDS = ("numpy", "random", "torch")
# Packages that draw from no generator of the process. What is not here may.
_CALM = frozenset(
    "matplotlib mpl_toolkits PIL IPython ipywidgets tqdm rich pyarrow requests yaml bs4 plotly openpyxl joblib "
    "pydantic psutil tabulate dateutil pytz polars lxml altair bokeh sqlalchemy httpx jinja2 markdown".split()
)
# Attributes that draw with matplotlib, whoever imports it.
_PLOTS = frozenset({"plot", "hist", "boxplot", "scatter_matrix", "from_estimator", "from_predictions", "plot_tree"})
# What makes a generator that does not look at the process's own.
_APART = frozenset("default_rng Generator RandomState SeedSequence PCG64 Philox MT19937 Random SystemRandom".split())


@dataclass(slots=True)
class RandomStates:
    """What is known of the random state after the steps so far: who holds it, and which generators were seeded."""

    kinds: set[str] = field(default_factory=set)
    holder: StepCode | None = None

    def seeded_by(self, units: Iterable[CodeFragment], settings: ProcessSettings) -> frozenset[str]:
        """The generators that the units seed, of those whose state can be kept."""
        found = (settings.seeds(node) for unit in units for node in unit.nodes)
        return frozenset[str]().union(*found) & frozenset(RANDOM_KINDS)


def may_draw(modules: Collection[str], units: Iterable[CodeFragment], settings: ProcessSettings) -> bool:
    """Whether code that can reach these top-level modules may draw from a generator of the process."""
    if any(m not in _CALM and m not in ("numpy", "pandas") and m not in sys.stdlib_module_names for m in modules):
        return True
    known = settings.known(_draws, units)
    return any(of_process or (samples and "pandas" in modules) for of_process, samples in known)


def _draws(unit: CodeFragment, settings: ProcessSettings) -> tuple[bool, bool]:
    """Whether a unit names a generator of the process, and whether it calls a method named as pandas' `sample`."""
    of_process = samples = False
    for node in (n for top in unit.nodes for n in ast.walk(top)):
        if isinstance(node, (ast.Attribute, ast.Name)):
            samples |= isinstance(node, ast.Attribute) and node.attr == "sample"
            full = settings.full_name(node)
            drawn = full.startswith(("numpy.random.", "random.")) and full.rpartition(".")[2] not in _APART
            of_process |= drawn and full != "numpy.random"
        elif isinstance(node, ast.ImportFrom):
            of_process |= node.module in ("random", "numpy.random")
    return of_process, samples


def can_see(
    modules: Collection[str], touched: Collection[str], units: Collection[CodeFragment], settings: ProcessSettings
) -> bool:
    """Whether code that can reach `modules` can see what was set in one of the `touched` ones.

    Settings of the standard library are seen by all code. "numpy.random" stands for the generators of random numbers.
    """
    if "numpy.random" in touched:
        return may_draw(modules, units, settings)
    foreign = [m for m in touched if m not in sys.stdlib_module_names]
    if not foreign or not set(foreign).isdisjoint(modules):
        return True
    if "numpy" in foreign and any(m not in sys.stdlib_module_names for m in modules):
        return True
    return "matplotlib" in foreign and any(settings.known(_plots, units))


def _plots(unit: CodeFragment, _: ProcessSettings) -> bool:
    nodes = (n for top in unit.nodes for n in ast.walk(top))
    return any(isinstance(n, ast.Attribute) and n.attr in _PLOTS for n in nodes)
