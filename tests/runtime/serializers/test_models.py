"""Models that skops does not take, or must not."""

import os
from pathlib import Path
from typing import Any

import pytest

from kaleyard.errors import DataError
from kaleyard.runtime import serializers as formats


def test_a_skops_file_with_a_type_beyond_the_list_is_not_loaded(tmp_path: Path) -> None:
    skops = pytest.importorskip("skops.io")
    transformer = pytest.importorskip("sklearn.preprocessing").FunctionTransformer(os.system)
    skops.dump(transformer, tmp_path / "x")
    with pytest.raises(DataError, match=r"posix\.system"):
        formats.load("x", "skops", tmp_path / "x")


def test_a_model_that_skops_cannot_hold_goes_to_cloudpickle(tmp_path: Path) -> None:
    birch = pytest.importorskip("sklearn.cluster").Birch(n_clusters=2).fit([[0.0], [1.0], [5.0]])
    saved = formats.save("x", birch, tmp_path / "x")
    assert saved.format == "cloudpickle"
    assert "Birch are not supported" in saved.closed
    again: Any = formats.load("x", saved.format, tmp_path / "x")
    assert again.predict([[5.0]]) == birch.predict([[5.0]])
