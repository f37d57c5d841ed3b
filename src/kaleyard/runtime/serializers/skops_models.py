"""Estimators of scikit-learn as skops files, whose loading runs no code of the file's own."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kaleyard.errors import DataError
from kaleyard.runtime.serializers.serializer import made_by, write_zip
from kaleyard.runtime.serializers.tabular.arrays import write_npy

__all__ = ["Skops"]

_SCHEMA = "schema.json"

# Beside what skops itself trusts. Each row is needed by estimators that people use daily, and is data or a pure
# function: making one runs nothing that a file could choose. What a crafted tree can do is crash the process.
_TRUSTED = [
    "numpy.dtype",
    "scipy.sparse._csr.csr_matrix",
    "sklearn._loss.loss.HalfTweedieLossIdentity",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.feature_selection._univariate_selection.chi2",
    "sklearn.feature_selection._univariate_selection.f_classif",
    "sklearn.feature_selection._univariate_selection.f_regression",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    "sklearn.gaussian_process.kernels.ConstantKernel",
    "sklearn.gaussian_process.kernels.Matern",
    "sklearn.gaussian_process.kernels.Product",
    "sklearn.gaussian_process.kernels.RBF",
    "sklearn.gaussian_process.kernels.Sum",
    "sklearn.gaussian_process.kernels.WhiteKernel",
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.model_selection._split.KFold",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
]

# Where a text vectorizer keeps the memory address of its stop words, to warn about them only once.
_ADDRESS = "_stop_words_id"

# Kinds of nodes for which standing twice means nothing; whether they share an id differs between processes.
_NO_IDENTITY = {
    *("JsonNode", "TypeNode", "FunctionNode", "TupleNode", "SliceNode", "BytesNode", "DTypeNode"),
    *("OperatorFuncNode", "ConstructorFromReduceNode"),
}


class Skops:
    """Estimators of scikit-learn and pipelines of them; with parts of your own they go to cloudpickle."""

    name = "skops"
    suffix = ".skops"

    def accepts(self, value: object) -> bool:
        """Whatever has a class, or a base, of scikit-learn."""
        return made_by(value, "sklearn")

    def save(self, value: Any, path: Path) -> None:
        """A skops file with nothing in it that differs between processes, read back once."""
        try:
            from skops import io as skops
        except ImportError as error:
            raise DataError("open files of models need the package `skops`, which is missing here") from error
        try:
            parts = _canonical(skops.dumps(value))
            content = _zipped(parts, zipfile.ZIP_STORED)
            unknown = [name for name in skops.get_untrusted_types(data=content) if name not in _TRUSTED]
            again = [] if unknown else _canonical(skops.dumps(skops.loads(content, trusted=_TRUSTED)))
        except Exception as error:
            # Whatever skops, or a part of the estimator, stumbles over.
            raise DataError(f"skops cannot keep it: {type(error).__name__}: {error}") from error
        if unknown:
            raise DataError(f"skops does not know {', '.join(unknown)}")
        if again != parts:
            raise DataError("skops does not give back the same model")
        path.write_bytes(_zipped(parts, zipfile.ZIP_DEFLATED))

    def load(self, path: Path, extra: Mapping[str, str]) -> Any:  # noqa: ARG002
        """The estimator; types beyond the fixed list are refused."""
        from skops import io as skops

        return skops.load(path, trusted=_TRUSTED)


def _canonical(content: bytes) -> list[tuple[str, bytes]]:
    """What a skops file holds, with parts named by their content, and ids only for what stands in it twice."""
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        files = {name: source.read(name) for name in source.namelist()}
    schema = json.loads(files.pop(_SCHEMA))
    files = {name: _quiet(part) if name.endswith(".npy") else part for name, part in files.items()}
    names = {name: hashlib.sha256(part).hexdigest()[:32] + Path(name).suffix for name, part in files.items()}
    for node in _nodes(schema):
        if "file" in node:
            node["file"] = names[node["file"]]
        if node["__loader__"] == "DictNode" and _ADDRESS in node["content"]:
            node["content"][_ADDRESS]["content"] = "null"
    _renumber(schema)
    parts = {names[name]: part for name, part in files.items()}
    return [(_SCHEMA, json.dumps(schema).encode()), *sorted(parts.items())]


def _zipped(parts: list[tuple[str, bytes]], compression: int) -> bytes:
    buffer = io.BytesIO()
    write_zip(buffer, parts, compression)
    return buffer.getvalue()


def _quiet(content: bytes) -> bytes:
    """An array's file without what its memory happened to hold between the fields of its records."""
    if b"|V" not in content[:65536]:
        # Gaps are told as fields of the type V; most arrays have neither.
        return content
    import numpy as np

    buffer = io.BytesIO()
    write_npy(buffer, np.load(io.BytesIO(content), allow_pickle=False))
    return buffer.getvalue()


def _renumber(schema: dict[str, Any]) -> None:
    for node in _nodes(schema):
        scalar = node["__loader__"] == "NdArrayNode" and node["__class__"] != "ndarray"
        if node["__loader__"] in _NO_IDENTITY or scalar:
            node.pop("__id__", None)
    for node in _nodes(schema):
        if node["__loader__"] == "SetNode":
            node["content"].sort(key=_without_ids)
    counts = Counter(node["__id__"] for node in _nodes(schema) if "__id__" in node)
    numbers: dict[int, int] = {}
    for node in _nodes(schema):
        if counts[node.get("__id__")] > 1:
            node["__id__"] = numbers.setdefault(node["__id__"], len(numbers) + 1)
        else:
            node.pop("__id__", None)


def _nodes(part: Any) -> Iterator[dict[str, Any]]:
    """Every node of a schema, a parent before its parts."""
    waiting = [part]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            if "__loader__" in found:
                yield found
            # Pushed in reverse, so that they come out as they stand.
            waiting.extend(reversed(list(found.values())))
        elif isinstance(found, list):
            waiting.extend(reversed(found))


def _without_ids(node: Any) -> str:
    copy = json.loads(json.dumps(node))
    for part in _nodes(copy):
        part.pop("__id__", None)
    return json.dumps(copy, sort_keys=True)
