"""Arrays, images, tables, and containers of them: kept in open files, the same when they come back."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kaleyard.errors import DataError
from kaleyard.runtime import serializers as formats


@dataclasses.dataclass
class Split:
    train: Any
    test: Any


def kept(value: Any, path: Path, format_name: str) -> Any:
    """The value as the next step gets it, from the format it should be in."""
    saved = formats.save("x", value, path)
    assert saved.format == format_name, saved
    return formats.load("x", saved.format, path, saved.sha256, saved.extra)


def same(one: Any, other: Any) -> bool:
    """Equal arrays, bit by bit, in the same memory order."""
    alike = type(one) is type(other) and one.dtype == other.dtype and one.shape == other.shape
    orders = one.flags.f_contiguous and not one.flags.c_contiguous, other.flags.f_contiguous
    return bool(alike and one.tobytes() == other.tobytes() and (orders[1] or not orders[0]))


RECORDS = np.array([(1, 2.5, "a")], dtype=[("a", "i4"), ("b", "f8"), ("c", "U3")])
NESTED = np.dtype([("a", "u1"), ("b", np.dtype([("c", "u1"), ("d", "i8")], align=True))], align=True)
ARRAYS: dict[str, Any] = {
    "floats": np.array([[1.5, np.nan], [-0.0, np.inf]]),
    "no dimension": np.array(5),
    "nothing": np.empty((0, 3), "f4"),
    "booleans": np.array([True, False]),
    "texts": np.array(["a", "béc"]),
    "bytes": np.array([b"a", b"bc\0d"]),
    "complex": np.array([1j, complex("nan")]),
    "moments": np.array(["2024-01-01", "NaT"], "M8[ns]"),
    "durations": np.array([1, 2], "m8[25s]"),
    "big endian": np.arange(3, dtype=">i4"),
    "half": np.array([0.1], "f2"),
    "long double": np.array([1], "g") / 3,
    "records": RECORDS,
    "records with gaps": np.zeros(3, NESTED),
    "raw": np.array([b"ab"], "V2"),
    "Fortran order": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "every other": np.arange(10)[::2],
    "transposed and cut": np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1)[::2],
    "repeated": np.broadcast_to(np.arange(3), (2, 3)),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_an_array_comes_back_bit_by_bit(case: str, tmp_path: Path) -> None:
    again = kept(ARRAYS[case], tmp_path / "x", "npy")
    assert same(ARRAYS[case], again)
    assert again.flags.writeable


@pytest.mark.parametrize("order", ["C", "F"])
def test_what_memory_held_between_fields_is_not_saved(order: Any, tmp_path: Path) -> None:
    digests = set()
    for noise in (0, 255):
        value = np.full(NESTED.itemsize * 6, noise, "u1").view(NESTED).reshape((2, 3), order=order)
        value["a"], value["b"]["c"], value["b"]["d"] = 1, 2, np.arange(6).reshape(2, 3)
        digests.add(formats.save("x", value, tmp_path / "x").sha256)
        again: Any = formats.load("x", "npy", tmp_path / "x")
        assert (again == value).all()
    assert len(digests) == 1


CLOSED: dict[str, Any] = {
    "objects": np.array([1, "a", None], dtype=object),
    "records with objects": np.array([(1,)], dtype=[("a", object)]),
    "a matrix": np.eye(2).view(np.matrix),
    "an array of records": np.zeros(1, np.dtype((np.record, [("a", "i4")]))),
    "a record array": RECORDS.view(np.recarray),
    "a dtype with metadata": np.zeros(1, np.dtype("i4", metadata={"unit": "m"})),
    "variable strings": np.array(["a", "b"], np.dtypes.StringDType()),
    "masked objects": np.ma.MaskedArray(np.array([1, "a"], dtype=object), [False, True]),
    "the masked constant": np.ma.masked,
}


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("case", CLOSED)
def test_an_array_that_npy_would_change_goes_to_cloudpickle(case: str, tmp_path: Path) -> None:
    again = kept(CLOSED[case], tmp_path / "x", "cloudpickle")
    assert type(again) is type(CLOSED[case])
    assert again.dtype == CLOSED[case].dtype


masked_array: Any = np.ma.array
MASKED: dict[str, Any] = {
    "hard": np.ma.MaskedArray([1.5, 2.5], [False, True], fill_value=-1, hard_mask=True),
    "no mask": np.ma.MaskedArray([1, 2]),
    "records": masked_array(RECORDS, mask=[(1, 0, 1)], fill_value=(7, 8.5, "z")),
    "two dimensions": np.ma.masked_greater(np.asfortranarray(np.arange(6).reshape(2, 3)), 3),
}


@pytest.mark.parametrize("case", MASKED)
def test_a_masked_array_comes_back_with_all_four_parts(case: str, tmp_path: Path) -> None:
    value = MASKED[case]
    again = kept(value, tmp_path / "x", "masked")
    assert type(again) is np.ma.MaskedArray
    assert same(value.data, again.data)
    assert (again.mask is np.ma.nomask) == (value.mask is np.ma.nomask)
    assert np.array_equal(again.mask, value.mask)
    assert again.fill_value == value.fill_value
    assert again.hardmask == value.hardmask


@pytest.mark.parametrize("kind", ["matrix", "array"])
@pytest.mark.parametrize("name", ["csr", "csc", "coo", "bsr", "dia"])
def test_a_sparse_matrix_comes_back_with_its_class_and_parts(name: str, kind: str, tmp_path: Path) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    value = getattr(sparse, f"{name}_{kind}")(np.array([[0, 1.5, np.nan], [0, 0, -2]]))
    again = kept(value, tmp_path / "x", "sparse")
    assert type(again) is type(value)
    assert np.array_equal(again.toarray(), value.toarray(), equal_nan=True)
    assert again.data.dtype == value.data.dtype


def test_a_sparse_matrix_keeps_unsorted_and_doubled_entries(tmp_path: Path) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    value = sparse.csr_matrix((np.array([1, 2, 3]), np.array([2, 0, 0]), np.array([0, 3])), shape=(1, 3))
    again = kept(value, tmp_path / "x", "sparse")
    assert again.indices.tolist() == [2, 0, 0]


@pytest.mark.parametrize("name", ["lil", "dok"])
def test_a_sparse_matrix_without_a_file_of_its_own_goes_to_cloudpickle(name: str, tmp_path: Path) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    value = getattr(sparse, f"{name}_matrix")(np.eye(2))
    again = kept(value, tmp_path / "x", "cloudpickle")
    assert type(again) is type(value)
    assert (again.toarray() == np.eye(2)).all()


def test_containers_of_arrays_become_a_folder_that_shows_what_is_in_it(tmp_path: Path) -> None:
    value: Any = {"x": np.arange(3), "y": [np.eye(2), (1, np.float32(2))], "z": Split(np.zeros(1), {"a"}), 5: None}
    again = kept(value, tmp_path / "x", "tree")
    assert list(again) == ["x", "y", "z", 5]
    assert same(again["x"], value["x"])
    assert same(again["y"][0], value["y"][0])
    assert again["y"][1] == (1, 2)
    assert type(again["z"]) is Split
    assert same(again["z"].train, value["z"].train)
    assert sorted(p.name for p in (tmp_path / "x").iterdir()) == ["0.npy", "1.npy", "2.npy", "value.json"]
    assert json.loads((tmp_path / "x" / "value.json").read_text())["$"] == "dict"


def test_frames_models_and_arrays_stand_in_one_container(tmp_path: Path) -> None:
    pd, svm = pytest.importorskip("pandas"), pytest.importorskip("sklearn.linear_model")
    model = svm.LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])
    value = (pd.DataFrame({"a": ["x", None]}), model, np.arange(2))
    frame, again, array = kept(value, tmp_path / "x", "tree")
    pd.testing.assert_frame_equal(frame, value[0])
    assert again.predict([[3.0]]) == model.predict([[3.0]])
    assert same(array, value[2])
    assert sorted(p.suffix for p in (tmp_path / "x").iterdir()) == [".json", ".npy", ".parquet", ".skops"]


def test_one_array_in_two_places_stays_one_array(tmp_path: Path) -> None:
    array = np.zeros(2)
    again = kept([array, {"a": array}], tmp_path / "x", "cloudpickle")
    assert again[0] is again[1]["a"]


def test_a_container_with_a_part_that_has_no_open_format_says_which(tmp_path: Path) -> None:
    saved = formats.save("x", {"a": np.eye(2), "b": np.array([None])}, tmp_path / "x")
    assert saved.format == "cloudpickle"
    assert "no open format keeps a numpy.ndarray" in saved.closed
    assert "dtype object" in saved.closed


def test_a_tree_with_a_changed_leaf_is_not_loaded(tmp_path: Path) -> None:
    saved = formats.save("x", [np.zeros(2)], tmp_path / "x")
    np.save(tmp_path / "x" / "0.npy", np.ones(2))
    with pytest.raises(DataError, match="is not what was saved"):
        formats.load("x", saved.format, tmp_path / "x", saved.sha256)


def _image(mode: str) -> Any:
    image = pytest.importorskip("PIL.Image")
    if mode == "I;16":
        return image.fromarray(np.arange(12, dtype="u2").reshape(3, 4) * 5000)
    whole = image.fromarray(np.arange(48, dtype="u1").reshape(4, 3, 4) * 5, "RGBA")
    return whole.convert("RGB").quantize(5) if mode == "P" else whole.convert(mode)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_an_image_comes_back_equal_from_png(mode: str, tmp_path: Path) -> None:
    image = _image(mode)
    again = kept(image, tmp_path / "x", "png")
    assert again == image
    assert (again.mode, again.tobytes()) == (mode, image.tobytes())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("mode", ["CMYK", "F", "I", "HSV", "YCbCr"])
def test_an_image_that_png_would_change_goes_to_cloudpickle(mode: str, tmp_path: Path) -> None:
    image = _image("RGB").convert("L").convert(mode) if mode in "FI" else _image("RGB").convert(mode)
    assert kept(image, tmp_path / "x", "cloudpickle") == image


def test_an_image_with_words_that_png_loses_goes_to_cloudpickle(tmp_path: Path) -> None:
    image = _image("L")
    image.info["taken by"] = ("me", 5)
    assert kept(image, tmp_path / "x", "cloudpickle").info == image.info


def test_a_figure_comes_back_to_be_drawn(tmp_path: Path) -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure()
    figure.subplots().plot([1, 2])
    again = kept(figure, tmp_path / "x", "cloudpickle")
    assert again.axes[0].lines[0].get_ydata().tolist() == [1, 2]


def test_an_arrow_table_comes_back_with_chunks_and_metadata(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    value = pa.table({"a": pa.chunked_array([[1, None], [3]]), "b": [["x"], [], None]}).replace_schema_metadata(
        {"k": "v"}
    )
    again = kept(value, tmp_path / "x", "arrow")
    assert again.equals(value, check_metadata=True)
    assert again.column("a").num_chunks == 2


def test_a_polars_frame_comes_back_equal(tmp_path: Path) -> None:
    import polars as pl

    value = pl.DataFrame({"a": [1, None], "b": ["x", "y"], "c": [[1.5], []]})
    again = kept(value, tmp_path / "x", "polars")
    assert again.schema == value.schema
    assert again.equals(value, null_equal=True)


def test_a_polars_frame_of_objects_is_refused(tmp_path: Path) -> None:
    import polars as pl

    with pytest.raises(DataError, match=r"`x` \(polars.*Object"):
        formats.save("x", pl.DataFrame({"a": pl.Series([object()], dtype=pl.Object)}), tmp_path / "x")


@pytest.mark.torch
def test_tensors_come_back_equal_and_in_order(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="install torch and safetensors to run this test")
    value = {"b": torch.arange(3), "a": torch.ones(2, 2)}
    again = kept(value, tmp_path / "x", "safetensors")
    assert list(again) == ["b", "a"]
    assert all(torch.equal(again[name], value[name]) for name in value)
    assert torch.equal(kept(value["a"], tmp_path / "y", "safetensors"), value["a"])


def test_a_large_array_takes_little_time_and_no_second_copy(tmp_path: Path) -> None:
    tracemalloc = pytest.importorskip("tracemalloc")
    value = np.arange(4_000_000, dtype="f8")
    tracemalloc.start()
    formats.save("x", value, tmp_path / "x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < value.nbytes / 4
