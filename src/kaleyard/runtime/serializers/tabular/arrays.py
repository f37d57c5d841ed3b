"""Arrays and masked arrays of numpy, and sparse arrays of scipy."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from kaleyard.errors import DataError
from kaleyard.runtime.serializers.plain.encoding import dumps, loads
from kaleyard.runtime.serializers.serializer import made_by, write_zip

__all__ = ["Masked", "Npy", "Sparse", "write_npy"]


class Npy:
    """Arrays of numpy with any dtype but object, in their memory order; they come back writable."""

    name = "npy"
    suffix = ".npy"

    def accepts(self, value: object) -> bool:
        """Arrays of exactly numpy's own class."""
        return _is_instance(value, "numpy", "ndarray")

    def save(self, value: Any, path: Path) -> None:
        """Write the file that `numpy.save` writes, without pickles."""
        _check(value)
        with path.open("wb") as file:
            write_npy(file, value)

    def load(self, path: Path, extra: Mapping[str, str]) -> Any:  # noqa: ARG002
        """The array."""
        import numpy as np

        with path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)


class Masked:
    """Masked arrays of numpy: data, mask, fill value and whether the mask is hard."""

    name = "masked"
    suffix = ".npz"

    def accepts(self, value: object) -> bool:
        """Masked arrays of exactly numpy's own class."""
        return _is_instance(value, "numpy.ma", "MaskedArray") or _is_instance(value, "numpy.ma.core", "MaskedArray")

    def save(self, value: Any, path: Path) -> None:
        """Write an .npz file that `numpy.load` can read."""
        import numpy as np

        if value._baseclass is not np.ndarray or value._optinfo or value._basedict:  # noqa: SLF001
            raise DataError("it wraps another kind of array, or has attributes of its own")
        _check(value.data)
        parts = {"data": value.data, "fill_value": np.asarray(value.fill_value)}
        if value.mask is not np.ma.nomask:
            parts["mask"] = value.mask
        attributes = {"hard_mask": value.hardmask}
        with path.open("wb") as file:
            entries = [(f"{name}.npy", _npy_bytes(part)) for name, part in parts.items()]
            write_zip(file, [*entries, ("kaleyard.json", dumps(attributes).encode())])

    def load(self, path: Path, extra: Mapping[str, str]) -> Any:  # noqa: ARG002
        """The masked array."""
        import numpy as np

        with np.load(path, allow_pickle=False) as parts:
            attributes = loads(parts["kaleyard.json"])
            mask = parts.get("mask", np.ma.nomask)
            fill = parts["fill_value"]
            return np.ma.MaskedArray(parts["data"], mask, fill_value=fill[()], hard_mask=attributes["hard_mask"])


class Sparse:
    """Sparse matrices and arrays of scipy in the formats csr, csc, coo, bsr and dia."""

    name = "sparse"
    suffix = ".npz"

    def accepts(self, value: object) -> bool:
        """Sparse matrices and arrays of scipy's own classes."""
        return str(type(value).__module__).startswith("scipy.sparse") and hasattr(value, "nnz")

    def save(self, value: Any, path: Path) -> None:
        """Write the file of `scipy.sparse.save_npz`, read it back and compare."""
        if value.format not in {"csr", "csc", "coo", "bsr", "dia"}:
            raise DataError(f"scipy cannot save the sparse format {value.format}")
        from scipy import sparse

        with path.open("wb") as file:
            # Uncompressed, because compressed bytes differ between builds of zlib, and so would cache keys.
            sparse.save_npz(file, value, compressed=False)
        try:
            again = sparse.load_npz(path)
        except ValueError as error:
            raise DataError(f"scipy cannot read it back: {error}") from error
        if not _same_sparse(value, again):
            raise DataError("scipy does not read back the same matrix")

    def load(self, path: Path, extra: Mapping[str, str]) -> Any:  # noqa: ARG002
        """The matrix or array, of the same class."""
        from scipy import sparse

        return sparse.load_npz(path)


def write_npy(file: IO[bytes], value: Any) -> None:
    """Write an .npy file, with zeros instead of uninitialized memory in the padding between record fields."""
    import numpy as np

    if not _has_padding(value.dtype):
        np.lib.format.write_array(file, value, allow_pickle=False)
        return
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, value, allow_pickle=False)
    raw = np.zeros(value.nbytes, "u1")
    order: Any = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
    _copy_fields(raw.view(value.dtype).reshape(value.shape, order=order), value)
    header = buffer.getvalue()[: buffer.tell() - value.nbytes]
    # Not as records: numpy copies them through uninitialized memory, too.
    file.write(header + raw.tobytes())


def _copy_fields(target: Any, source: Any) -> None:
    for name in source.dtype.names:
        if source.dtype[name].names:
            _copy_fields(target[name], source[name])
        else:
            target[name][...] = source[name]


def _has_padding(dtype: Any) -> bool:
    if dtype.names is None:
        return False
    kinds = [dtype.fields[name][0] for name in dtype.names]
    return sum(kind.itemsize for kind in kinds) < dtype.itemsize or any(_has_padding(kind.base) for kind in kinds)


def _is_instance(value: object, module: str, name: str) -> bool:
    cls = type(value)
    return cls.__module__ == module and cls.__qualname__ == name and made_by(value, "numpy")


def _check(value: Any) -> None:
    """Raise DataError if a .npy file cannot hold the array's dtype exactly."""
    if value.dtype.hasobject:
        raise DataError(f"arrays of dtype {value.dtype} hold Python objects")
    import numpy as np

    try:
        stored = np.lib.format.descr_to_dtype(_description(value.dtype))
    except (TypeError, ValueError) as error:
        raise DataError(f"a .npy file cannot hold the dtype {value.dtype}: {error}") from error
    if stored != value.dtype or stored.type is not value.dtype.type or value.dtype.metadata:
        raise DataError(f"a .npy file cannot hold all of the dtype {value.dtype!r}")


def _description(dtype: Any) -> Any:
    import warnings

    import numpy as np

    with warnings.catch_warnings():
        # The warning is about lost metadata of the dtype, which `_check` reports.
        warnings.simplefilter("ignore", UserWarning)
        return np.lib.format.dtype_to_descr(dtype)


def _npy_bytes(value: Any) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    write_npy(buffer, np.asanyarray(value))
    return buffer.getvalue()


def _same_sparse(left: Any, right: Any) -> bool:
    import numpy as np

    if type(left) is not type(right) or left.shape != right.shape:
        return False
    names = ["data", *(name for name in ("indices", "indptr", "offsets", "coords") if hasattr(left, name))]
    pairs = [(getattr(left, name), getattr(right, name)) for name in names]
    return all(_same(np, x, y) for x, y in pairs)


def _same(np: Any, left: Any, right: Any) -> bool:
    if isinstance(left, tuple):
        return len(left) == len(right) and all(_same(np, x, y) for x, y in zip(left, right, strict=True))
    return bool(left.dtype == right.dtype and np.array_equal(left, right, equal_nan=left.dtype.kind in "fc"))
