"""The state of the process's random number generators as plain values, and back."""

from __future__ import annotations

import importlib
import importlib.util
import random
import sys
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["random_state", "set_random_state"]


def random_state(kinds: Iterable[str]) -> dict[str, Any]:
    """The state of these generators: `numpy` (its global one), `random` and `torch` (on the processor).

    A generator is omitted if its library is not imported: nothing was drawn from it.
    """
    states: dict[str, Any] = {}
    for kind in kinds:
        if kind == "random":
            version, numbers, gauss = random.getstate()
            states[kind] = [version, list(numbers), gauss]
        elif kind == "numpy" and "numpy" in sys.modules:
            name, keys, *rest = sys.modules["numpy"].random.get_state()
            states[kind] = [name, keys.tolist(), *rest]
        elif kind == "torch" and "torch" in sys.modules:
            states[kind] = sys.modules["torch"].get_rng_state().tolist()
    return states


def set_random_state(state: Mapping[str, Any]) -> None:
    """Set the generators to a state from `random_state`, as far as their libraries are installed."""
    if "random" in state:
        version, numbers, gauss = state["random"]
        random.setstate((version, tuple(numbers), gauss))
    if "numpy" in state and (np := _library("numpy")):
        name, keys, *rest = state["numpy"]
        np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    if "torch" in state and (torch := _library("torch")):
        torch.set_rng_state(torch.tensor(state["torch"], dtype=torch.uint8))


def _library(name: str) -> Any:
    """The library, or None if it is not installed: then the step draws nothing from it."""
    return importlib.import_module(name) if importlib.util.find_spec(name) else None
