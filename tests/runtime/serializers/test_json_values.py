"""Python values: kept as JSON, equal and of the same types when they come back."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import json
import math
import pathlib
import struct
import types
import typing
import uuid
import zoneinfo
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kaleyard.errors import DataError
from kaleyard.runtime import serializers as formats
from kaleyard.runtime.serializers.plain.encoding import dumps, loads
from kaleyard.runtime.serializers.plain.kinds import decoder, encoder


class Colour(enum.Enum):
    RED = "r"
    ROUGE = "r"  # noqa: PIE796
    BLUE = (1, 2)


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    YES = "yes"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Pair(typing.NamedTuple):
    left: int
    right: Any = None


Old = collections.namedtuple("Old", "a b")  # noqa: PYI024


@dataclasses.dataclass
class Plain:
    a: int
    b: Any = dataclasses.field(default_factory=list)
    _c: int = 5


@dataclasses.dataclass(frozen=True)
class Frozen:
    a: Any
    b: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "b", 7)


@dataclasses.dataclass(slots=True)
class Slotted:
    a: int
    late: int = dataclasses.field(init=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Both:
    a: int


class Child(Plain):
    """A dataclass by inheritance."""


def kept(value: Any, path: Path) -> Any:
    """The value as the next step gets it, from an open format."""
    saved = formats.save("x", value, path)
    assert saved.format == "json", saved
    return formats.load("x", saved.format, path, saved.sha256, saved.extra)


def same(one: Any, other: Any) -> bool:
    """Equal, and of equal types all the way down; nan is nan."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return struct.pack(">d", one) == struct.pack(">d", other)
    if isinstance(one, complex):
        return same([one.real, one.imag], [other.real, other.imag])
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, (list, tuple, collections.deque)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, (set, frozenset)):
        # No order would do: the text of a set within has one of its own.
        return len(one) == len(other) and all(any(same(item, its) for its in other) for item in one)
    if isinstance(one, (dt.datetime, dt.time)):
        return one == other and same((one.tzinfo, one.fold), (other.tzinfo, other.fold))
    if dataclasses.is_dataclass(one):
        names = [field.name for field in dataclasses.fields(one)]
        return all(same(getattr(one, name, ...), getattr(other, name, ...)) for name in names)
    if isinstance(one, decimal.Decimal):
        return bool(one.as_tuple() == other.as_tuple())
    return bool(one == other and (type(one) in {int, fractions.Fraction} or repr(one) == repr(other)))


BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
PLUS_TWO = dt.timezone(dt.timedelta(hours=2, microseconds=5), "plus two")
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 10**40, 10**5000, -(10**5000), "", "é🌱", "\ud800", "\ud83d\udc00", "\udcff/x", "a\0b"),
    *(0.1, -0.0, 1e-320, math.nan, math.inf, -math.inf, -math.nan, struct.unpack(">d", b"\x7f\xf0\0\0\0\0\0\1")[0]),
    *(1 + 2j, complex(-0.0, math.nan), complex(math.inf, -0.0)),
    *([], {}, (), [[], [[]]], {"a": {"b": [1, (2, [3])]}}, {"b": 1, "a": 2}, {"$": 1}, {"$": "tuple", "value": [1]}),
    *({1: "a", "1": "b"}, {(1, 2): 3, None: 4, True: 5, 2.5: 6}, {"\ud800": 1}, {Colour.RED: 1, Word.YES: 2}),
    *({1, "a", None, (1, 2)}, set(), frozenset({frozenset(), 1}), {b"a", 1.5}),
    *(b"", b"\0\xff", bytearray(b"abc")),
    *(decimal.Decimal("1.10"), decimal.Decimal("-0"), decimal.Decimal("sNaN12"), decimal.Decimal("1E+400")),
    *(fractions.Fraction(1, 3), fractions.Fraction(10**5000, 3)),
    *(dt.datetime(2024, 1, 2, 3, 4, 5, 6), dt.datetime(1, 1, 1), dt.datetime(2024, 10, 27, 2, 30, fold=1)),  # noqa: DTZ001
    *(dt.datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN), dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=BERLIN)),
    *(dt.datetime(2024, 1, 1, tzinfo=dt.UTC), dt.datetime(2024, 1, 1, tzinfo=PLUS_TWO)),
    *(dt.date(2024, 2, 29), dt.time(1, 2, 3, 4), dt.time(1, tzinfo=dt.UTC, fold=1), dt.timedelta(-1, 2, 3)),
    *(BERLIN, PLUS_TWO, dt.UTC, dt.timezone(dt.timedelta(0), "UTC")),
    *(uuid.UUID(int=5), range(3), range(10, -5, -3), slice(None, 3), slice((1,), "b", 2), ..., NotImplemented),
    *(pathlib.PurePosixPath("/a/b"), pathlib.PureWindowsPath("c:\\a"), Path("not/there"), [Path("not/there")]),
    *(collections.OrderedDict([("b", 1), ("a", [2])]), collections.Counter("hello"), collections.Counter({"a": -1})),
    *(collections.defaultdict(list, {"a": [1]}), collections.defaultdict(None, {1: 2}), collections.defaultdict(int)),
    *(collections.deque([1, 2], maxlen=2), collections.deque()),
    *(types.SimpleNamespace(a=1, b=[2]), Pair(1), Pair(1, Pair(2)), Old([1], 2)),
    *(Colour.RED, Colour.ROUGE, Colour.BLUE, Level.LOW, Word.YES, Access.READ, Access.READ | Access.WRITE, Access(0)),
    *(Plain(1), Plain(1, [Plain(2)]), Child(1), Frozen((1, 2)), Frozen(Frozen(1)), Both(1), [Frozen(1), Frozen(1)]),
]


@pytest.mark.parametrize("number", range(len(VALUES)), ids=lambda n: f"{type(VALUES[n]).__name__}{n}")
def test_a_python_value_comes_back_equal_and_of_its_type(number: int, tmp_path: Path) -> None:
    value = VALUES[number]
    again = kept(value, tmp_path / "x")
    assert same(again, value)


atoms = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters()), st.binary(), st.complex_numbers(),
    st.decimals(allow_nan=False), st.fractions(), st.dates(), st.times(), st.timedeltas(), st.uuids(),
    st.datetimes(timezones=st.none() | st.timezones()), st.sampled_from([*Colour, *Level, *Access, ...]),
)  # fmt: skip
hashables = st.recursive(
    atoms.filter(lambda v: v == v),  # noqa: PLR0124
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3) | st.builds(Frozen, inner),
    max_leaves=4,
)
values = st.recursive(
    atoms | hashables,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.tuples(inner, inner), st.sets(hashables, max_size=3),
        st.dictionaries(st.text(st.characters() | st.just("$"), max_size=3), inner, max_size=4),
        st.dictionaries(hashables, inner, max_size=3), st.builds(Plain, st.integers(), inner),
        st.builds(Pair, st.integers(), inner), st.builds(collections.deque, st.lists(inner, max_size=2)),
    ),
    max_leaves=12,
)  # fmt: skip


def _is_tree(value: Any) -> bool:
    """Whether no mutable object stands twice in it: Hypothesis reuses some."""
    try:
        encoder().encode(value)
    except DataError:
        return False
    return True


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(values.filter(_is_tree))
def test_any_python_value_comes_back_equal_and_of_its_type(value: Any) -> None:
    text = dumps(encoder().encode(value))
    again = decoder().decode(loads(text.encode()))
    assert same(again, value)
    assert dumps(encoder().encode(again)) == text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text().filter(lambda key: key != "$"), inner),
    max_leaves=10,
)


@settings(max_examples=100, deadline=None)
@given(json_values)
def test_plain_json_stays_plain_json(value: Any) -> None:
    assert json.loads(dumps(encoder().encode(value))) == value


def test_text_is_readable_in_the_file(tmp_path: Path) -> None:
    formats.save("x", {"Straße": ["a", 1, 0.5, None, True]}, tmp_path / "x")
    assert (tmp_path / "x").read_text("utf-8") == '{"Straße": ["a", 1, 0.5, null, true]}\n'


def test_a_field_that_was_never_set_stays_unset(tmp_path: Path) -> None:
    again = kept(Slotted(1), tmp_path / "x")
    assert again.a == 1
    assert not hasattr(again, "late")


def test_an_attribute_beyond_the_fields_comes_back(tmp_path: Path) -> None:
    value = Plain(1)
    value.more = {"x": (1,)}  # type: ignore[attr-defined]
    assert vars(kept(value, tmp_path / "x")) == vars(value)


def test_making_a_dataclass_again_does_not_run_its_code(tmp_path: Path) -> None:
    value = Frozen(1)
    object.__setattr__(value, "b", 8)
    assert kept(value, tmp_path / "x").b == 8
