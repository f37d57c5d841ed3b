"""The state of the process's generators of random numbers as plain values, and back."""

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

    One whose library this process has not imported is left out: nothing was drawn from it.
    """
    found: dict[str, Any] = {}
    for kind in kinds:
        if kind == "random":
            version, numbers, gauss = random.getstate()
            found[kind] = [version, list(numbers), gauss]
        elif kind == "numpy" and "numpy" in sys.modules:
            name, keys, *rest = sys.modules["numpy"].random.get_state()
            found[kind] = [name, keys.tolist(), *rest]
        elif kind == "torch" and "torch" in sys.modules:
            found[kind] = sys.modules["torch"].get_rng_state().tolist()
    return found


def set_random_state(state: Mapping[str, Any]) -> None:
    """Set the generators to a state that `random_state` gave, as far as their libraries are here."""
    if "random" in state:
        version, numbers, gauss = state["random"]
        random.setstate((version, tuple(numbers), gauss))
    if "numpy" in state and (np := _library("numpy")):
        name, keys, *rest = state["numpy"]
        np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    if "torch" in state and (torch := _library("torch")):
        torch.set_rng_state(torch.tensor(state["torch"], dtype=torch.uint8))


def _library(name: str) -> Any:
    """The library, None where it is not installed: the step draws nothing from it."""
    return importlib.import_module(name) if importlib.util.find_spec(name) else None
