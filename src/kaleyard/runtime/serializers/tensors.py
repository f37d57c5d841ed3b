"""Tensors of PyTorch, alone or as a state dict, as safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kaleyard.errors import DataError

__all__ = ["Safetensors"]

_SINGLE = "tensor"


class Safetensors:
    """A tensor of PyTorch, or a plain dict of tensors by name, where `safetensors` is installed."""

    name = "safetensors"
    suffix = ".safetensors"

    def accepts(self, value: object) -> bool:
        """Plain tensors; dicts that begin with one."""
        first = next(iter(value.items()), (0, None)) if type(value) is dict else (_SINGLE, value)
        cls = type(first[1])
        return cls.__module__ == "torch" and cls.__qualname__ == "Tensor" and type(first[0]) is str

    def save(self, value: Any, path: Path) -> Mapping[str, str]:
        """Write the file, read it back and compare; returns the order of the names."""
        try:
            from safetensors.torch import save_file  # type: ignore[import-not-found,unused-ignore]
        except ImportError as error:
            raise DataError("open files of tensors need the package `safetensors`, which is not installed") from error
        tensors = value if type(value) is dict else {_SINGLE: value}
        if not all(type(name) is str and self.accepts(tensor) for name, tensor in tensors.items()):
            raise DataError("it holds other values than tensors by name")
        extra = {"names": json.dumps(list(tensors))} if type(value) is dict else {}
        try:
            save_file(tensors, path)
        except (RuntimeError, ValueError) as error:
            raise DataError(f"safetensors cannot hold it: {error}") from error
        again = self.load(path, extra)
        pairs = zip(tensors.values(), again.values() if extra else [again], strict=True)
        if not all(_same(before, after) for before, after in pairs):
            raise DataError("safetensors does not give back the same tensors")
        return extra

    def load(self, path: Path, extra: Mapping[str, str]) -> Any:
        """The tensor, or the dict in its original order."""
        from safetensors.torch import load_file

        tensors = load_file(path)
        return {name: tensors[name] for name in json.loads(extra["names"])} if "names" in extra else tensors[_SINGLE]


def _same(left: Any, right: Any) -> bool:
    same_kind = left.dtype == right.dtype and left.shape == right.shape and left.stride() == right.stride()
    same_kind = same_kind and left.device == right.device and left.requires_grad == right.requires_grad
    import torch

    return bool(same_kind and torch.equal(torch.nan_to_num(left), torch.nan_to_num(right)))
