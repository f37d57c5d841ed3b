"""Python values that JSON would change, and classes that are not what they were."""

import collections
import dataclasses
import enum
import json
import types
import typing
from pathlib import Path
from typing import Any

import pytest

from kaleyard.errors import DataError
from kaleyard.runtime import serializers as formats


class Colour(enum.Enum):
    RED = "r"
    ROUGE = "r"  # noqa: PIE796
    BLUE = (1, 2)


class Pair(typing.NamedTuple):
    left: int
    right: Any = None


@dataclasses.dataclass
class Plain:
    a: int
    b: Any = dataclasses.field(default_factory=list)
    _c: int = 5


@dataclasses.dataclass(frozen=True, slots=True)
class Both:
    a: int


class Sums(dict[str, int]):
    """A subclass of dict."""


class Name(str):  # noqa: SLOT000
    """A subclass of str."""


T = typing.TypeVar("T")


@dataclasses.dataclass
class Box(typing.Generic[T]):
    a: Any


def kept(value: Any, path: Path) -> Any:
    """The value as the next step gets it, from an open format."""
    saved = formats.save("x", value, path)
    assert saved.format == "json", saved
    return formats.load("x", saved.format, path, saved.sha256, saved.extra)


@dataclasses.dataclass
class Own:
    a: int

    def __getstate__(self) -> Any:
        return {"a": self.a + 1}


@dataclasses.dataclass
class Listed(list):  # type: ignore[type-arg]
    a: int = 0


def _with_attribute() -> Any:
    value = collections.OrderedDict(a=1)
    value.extra = 1  # type: ignore[attr-defined]
    return value


def _local() -> Any:
    class Local(enum.Enum):
        A = 1

    return Local.A


SHARED: list[int] = [1]
CLOSED = {
    "a subclass of dict": Sums(a=1),
    "a subclass of str": [Name("a")],
    "a subclass of str as key": {Name("a"): 1},
    "a dataclass with its own state": Own(1),
    "a dataclass that is a list": Listed(1),
    "an ordered dict with attributes": _with_attribute(),
    "a defaultdict with a function": collections.defaultdict(_local, {}),
    "a list twice in one value": [SHARED, SHARED],
    "a list in two tuples": ((SHARED,), {"a": SHARED}),
    "a namespace twice": [n := types.SimpleNamespace(), n],
    "a function": len,
    "a class": int,
    "an exception": ValueError("a"),
    "a generic dataclass, made with its type": Box[int](1),
}


@pytest.mark.parametrize("case", CLOSED)
def test_what_json_would_change_goes_to_cloudpickle(case: str, tmp_path: Path) -> None:
    value = CLOSED[case]
    saved = formats.save("x", value, tmp_path / "x")
    assert saved.format == "cloudpickle"
    assert saved.closed
    again = formats.load("x", saved.format, tmp_path / "x", saved.sha256)
    assert type(again) is type(value)


def test_two_names_for_one_list_stay_one_list(tmp_path: Path) -> None:
    saved = formats.save("x", [SHARED, SHARED], tmp_path / "x")
    again: Any = formats.load("x", saved.format, tmp_path / "x")
    assert again[0] is again[1]


def test_equal_lists_are_not_taken_for_one(tmp_path: Path) -> None:
    assert kept([[1], [1], [[]]], tmp_path / "x") == [[1], [1], [[]]]


def test_a_value_in_itself_is_refused_by_name(tmp_path: Path) -> None:
    value: list[Any] = [1]
    value.append({"a": value})
    with pytest.raises(DataError, match=r"`loop` \(list\).*it contains itself: a list"):
        formats.save("loop", value, tmp_path / "x")


def test_a_member_of_a_local_class_is_kept_with_its_class(tmp_path: Path) -> None:
    saved = formats.save("x", _local(), tmp_path / "x")
    assert saved.format == "cloudpickle"


def test_a_deeply_nested_list_goes_to_cloudpickle_and_comes_back(tmp_path: Path) -> None:
    value: list[Any] = []
    for _ in range(400):
        value = [value]
    saved = formats.save("x", value, tmp_path / "x")
    assert (saved.format, formats.load("x", saved.format, tmp_path / "x")) == ("cloudpickle", value)


def test_a_bottomless_value_is_refused(tmp_path: Path) -> None:
    value: list[Any] = []
    for _ in range(50_000):
        value = [value]
    with pytest.raises(DataError, match="nested too deeply"):
        formats.save("x", value, tmp_path / "x")


def test_a_class_that_is_missing_is_named_with_where_to_define_it(tmp_path: Path) -> None:
    told = {"$": "enum", "value": {"class": "__main__:Gone", "name": "A"}}
    (tmp_path / "x").write_text(json.dumps(told))
    with pytest.raises(DataError, match="the class `Gone` is missing here") as raised:
        formats.load("x", "json", tmp_path / "x")
    assert "tagged `functions`" in str(raised.value.fix)


def test_a_module_that_is_missing_is_named(tmp_path: Path) -> None:
    told = {"$": "enum", "value": {"class": "nowhere.to_be.found:Gone", "name": "A"}}
    (tmp_path / "x").write_text(json.dumps(told))
    with pytest.raises(DataError, match=r"the class `Gone` of the module `nowhere\.to_be\.found` is missing here"):
        formats.load("x", "json", tmp_path / "x")


@pytest.mark.parametrize(
    ("tag", "told", "what"),
    [
        ("enum", {"class": "Colour", "name": "GREEN"}, "has no member `GREEN`"),
        ("enum", {"class": "Plain", "name": "GREEN"}, "is not an enum"),
        ("namedtuple", {"class": "Pair", "fields": [["left", 1]]}, "has other fields"),
        ("dataclass", {"class": "Plain", "fields": [["a", 1]]}, "has new fields here.*: b, _c"),
        ("dataclass", {"class": "Both", "fields": [["a", 1], ["z", 1]]}, "has no field `z`"),
        ("dataclass", {"class": "Colour", "fields": []}, "is not a dataclass"),
    ],
)
def test_a_class_that_changed_is_named(tag: str, told: dict[str, Any], what: str, tmp_path: Path) -> None:
    told = {"$": tag, "value": told | {"class": f"{__name__}:{told['class']}"}}
    (tmp_path / "x").write_text(json.dumps(told))
    with pytest.raises(DataError, match=what):
        formats.load("x", "json", tmp_path / "x")


def test_a_kind_from_a_newer_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").write_text('{"$": "hologram", "value": 1}')
    with pytest.raises(DataError, match="unknown kind of value: `hologram`"):
        formats.load("x", "json", tmp_path / "x")


# What a notebook may define as `it`; a `__main__` of its own has it.
