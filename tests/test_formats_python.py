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
from kaleyard.runtime import formats
from kaleyard.runtime.formats.encoding import Decoder, Encoder, dumps, loads


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
        return same(sorted(one, key=repr), sorted(other, key=repr))
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
        Encoder().encode(value)
    except DataError:
        return False
    return True


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(values.filter(_is_tree))
def test_any_python_value_comes_back_equal_and_of_its_type(value: Any) -> None:
    text = dumps(Encoder().encode(value))
    again = Decoder().decode(loads(text.encode()))
    assert same(again, value)
    assert dumps(Encoder().encode(again)) == text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text().filter(lambda key: key != "$"), inner),
    max_leaves=10,
)


@settings(max_examples=100, deadline=None)
@given(json_values)
def test_plain_json_stays_plain_json(value: Any) -> None:
    assert json.loads(dumps(Encoder().encode(value))) == value


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
        ("enum", {"class": "Plain", "name": "GREEN"}, "is no enum"),
        ("namedtuple", {"class": "Pair", "fields": [["left", 1]]}, "has other fields"),
        ("dataclass", {"class": "Plain", "fields": [["a", 1]]}, "has fields here that it had not.*: b, _c"),
        ("dataclass", {"class": "Both", "fields": [["a", 1], ["z", 1]]}, "has no field `z`"),
        ("dataclass", {"class": "Colour", "fields": []}, "is no dataclass"),
    ],
)
def test_a_class_that_changed_is_named(tag: str, told: dict[str, Any], what: str, tmp_path: Path) -> None:
    told = {"$": tag, "value": told | {"class": f"{__name__}:{told['class']}"}}
    (tmp_path / "x").write_text(json.dumps(told))
    with pytest.raises(DataError, match=what):
        formats.load("x", "json", tmp_path / "x")


def test_a_kind_from_a_newer_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").write_text('{"$": "hologram", "value": 1}')
    with pytest.raises(DataError, match="no kind of value called `hologram`"):
        formats.load("x", "json", tmp_path / "x")


NUMPY = ["float16(0.1)", "float32(0.1)", "float64('nan')", "float64(-0.0)", "float32('inf')", "longdouble(1) / 3"]
NUMPY += ["int8(-1)", "uint64(2**64 - 1)", "int64(1)", "longlong(1)", "bool_(True)", "str_('a\\0')", "bytes_(b'a')"]
NUMPY += ["complex64(1j)", "complex128(complex('nan'))", "datetime64('2024-01-01', 'ns')", "datetime64('NaT')"]
NUMPY += ["timedelta64(3, 'D')", "datetime64('2024', '25s')"]


@pytest.mark.parametrize("code", NUMPY)
def test_a_numpy_scalar_comes_back_as_the_same_type(code: str, tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    value = eval(f"np.{code}", {"np": np})
    for again, kind in (
        (kept(value, tmp_path / "x"), "alone"),
        (kept({"a": [(value,)]}, tmp_path / "x")["a"][0][0], "inside"),
    ):
        assert type(again) is type(value), kind
        assert again.dtype == value.dtype
        assert again.tobytes() == value.tobytes()


PANDAS = ["Timestamp('2024-01-01 00:00:00.000000001')", "Timestamp('2024-01-01', tz='Europe/Berlin')", "NaT", "NA"]
PANDAS += ["Timestamp('2024-10-27 02:30', tz='UTC').tz_convert('Europe/Berlin').as_unit('s')", "Timedelta(5, 'ns')"]
PANDAS += ["Timestamp('2024-01-01T00:00+05:30')", "Timestamp.max", "Timedelta(5, 'h').as_unit('ms')"]


@pytest.mark.parametrize("code", PANDAS)
def test_a_moment_of_pandas_comes_back_equal(code: str, tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    value = eval(f"pd.{code}", {"pd": pd})
    again = kept([value], tmp_path / "x")[0]
    assert type(again) is type(value)
    assert repr(again) == repr(value)
    assert getattr(again, "unit", None) == getattr(value, "unit", None)
    assert type(getattr(again, "tzinfo", None)) is type(getattr(value, "tzinfo", None))
