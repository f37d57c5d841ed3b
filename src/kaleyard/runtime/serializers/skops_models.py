"""Estimators of scikit-learn as skops files, which can be loaded without running code from the file."""

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

# Trusted in addition to skops' own list. Common estimators need them, and each is data or a pure function: a file
# cannot choose code to run. A crafted tree can crash the process, though.
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

# The attribute in which a text vectorizer keeps the memory address of its stop words, to warn only once.
_STOP_WORDS_ID = "_stop_words_id"

# Kinds of nodes whose identity has no meaning; whether two of them share an id differs between processes.
_NO_IDENTITY = {
    *("JsonNode", "TypeNode", "FunctionNode", "TupleNode", "SliceNode", "BytesNode", "DTypeNode"),
    *("OperatorFuncNode", "ConstructorFromReduceNode"),
}


class Skops:
    """Estimators of scikit-learn and pipelines of them; those with your own classes go to cloudpickle."""

    name = "skops"
    suffix = ".skops"

    def accepts(self, value: object) -> bool:
        """Instances of scikit-learn's classes and their subclasses."""
        return made_by(value, "sklearn")

    def save(self, value: Any, path: Path) -> None:
        """Write a skops file that is the same in every process, once it has been read back."""
        try:
            from skops import io as skops
        except ImportError as error:
            raise DataError("open files of models need the package `skops`, which is not installed") from error
        try:
            parts = _canonical(skops.dumps(value))
            content = _zipped(parts, zipfile.ZIP_STORED)
            unknown = [name for name in skops.get_untrusted_types(data=content) if name not in _TRUSTED]
            again = [] if unknown else _canonical(skops.dumps(skops.loads(content, trusted=_TRUSTED)))
        except Exception as error:
            # skops and parts of the estimator raise errors of any type.
            raise DataError(f"skops cannot keep it: {type(error).__name__}: {error}") from error
        if unknown:
            raise DataError(f"skops does not know {', '.join(unknown)}")
        if again != parts:
            raise DataError("skops does not give back the same model")
        path.write_bytes(_zipped(parts, zipfile.ZIP_DEFLATED))

    def load(self, path: Path, extra: Mapping[str, str]) -> Any:  # noqa: ARG002
        """The estimator; types outside the fixed list are refused."""
        from skops import io as skops

        return skops.load(path, trusted=_TRUSTED)


def _canonical(content: bytes) -> list[tuple[str, bytes]]:
    """The parts of a skops file, named by their content, with ids only for objects that occur twice."""
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        files = {name: source.read(name) for name in source.namelist()}
    schema = json.loads(files.pop(_SCHEMA))
    files = {name: _without_padding(part) if name.endswith(".npy") else part for name, part in files.items()}
    names = {name: hashlib.sha256(part).hexdigest()[:32] + Path(name).suffix for name, part in files.items()}
    for node in _nodes(schema):
        if "file" in node:
            node["file"] = names[node["file"]]
        if node["__loader__"] == "DictNode" and _STOP_WORDS_ID in node["content"]:
            node["content"][_STOP_WORDS_ID]["content"] = "null"
    _renumber(schema)
    parts = {names[name]: part for name, part in files.items()}
    return [(_SCHEMA, json.dumps(schema).encode()), *sorted(parts.items())]


def _zipped(parts: list[tuple[str, bytes]], compression: int) -> bytes:
    buffer = io.BytesIO()
    write_zip(buffer, parts, compression)
    return buffer.getvalue()


def _without_padding(content: bytes) -> bytes:
    """An array's file without the bytes of the padding between record fields."""
    if b"|V" not in content[:65536]:
        # Padding appears as fields of the type V; most arrays have none.
        return content
    import numpy as np

    buffer = io.BytesIO()
    write_npy(buffer, np.load(io.BytesIO(content), allow_pickle=False))
    return buffer.getvalue()


def _renumber(schema: dict[str, Any]) -> None:
    for node in _nodes(schema):
        is_scalar = node["__loader__"] == "NdArrayNode" and node["__class__"] != "ndarray"
        if node["__loader__"] in _NO_IDENTITY or is_scalar:
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
    """All nodes of a schema, a parent before its children."""
    pending = [part]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if "__loader__" in node:
                yield node
            # Reversed, because the last one is popped first.
            pending.extend(reversed(list(node.values())))
        elif isinstance(node, list):
            pending.extend(reversed(node))


def _without_ids(node: Any) -> str:
    copy = json.loads(json.dumps(node))
    for part in _nodes(copy):
        part.pop("__id__", None)
    return json.dumps(copy, sort_keys=True)
