"""What one process saves another loads: the same bytes every time, and the reader's own classes."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from kaleyard.runtime import serializers as formats

DEFINITIONS = '''
import dataclasses, enum, collections, typing

class Base:
    def __eq__(self, other):
        return type(self) is type(other) and vars(self) == vars(other)

class Model(Base):
    """A class of the user's own."""
    def __init__(self, weights):
        self.weights, self.seen, self.kind = weights, {"b", "a", "c", ("d", 1)}, Kind.GOOD
    def predict(self, x):
        return helper(x) * self.weights

def helper(x):
    return x + OFFSET

OFFSET = 1

class Kind(enum.Enum):
    GOOD = "good"

@dataclasses.dataclass
class Config:
    rate: float
    kind: Kind = Kind.GOOD
'''

SAVE = """
import pathlib, sys
from kaleyard.runtime import serializers as formats
folder = pathlib.Path(sys.argv[1])
for name, value in VALUES.items():
    saved = formats.save(name, value, folder / name)
    print(name, saved.format, saved.sha256, saved.closed, sep="|")
"""

LOAD = """
import pathlib, sys
from kaleyard.runtime import serializers as formats
folder = pathlib.Path(sys.argv[1])
def load(name, format_name="cloudpickle"):
    return formats.load(name, format_name, folder / name)
"""


def start(folder: Path, *parts: str, seed: str = "0") -> subprocess.Popen[str]:
    """A running program; its definitions stand in `__main__`, as a kernel's do."""
    program = folder / f"program{seed}.py"
    program.write_text("".join(textwrap.dedent(part) for part in parts))
    env = dict(os.environ, PYTHONHASHSEED=seed)
    kept = folder / f"kept{seed}"
    return subprocess.Popen(
        [sys.executable, program, kept], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def end(program: subprocess.Popen[str]) -> str:
    """What the program printed, once it has ended well."""
    printed, errors = program.communicate()
    assert program.returncode == 0, errors
    return printed


def run(folder: Path, *parts: str, seed: str = "0") -> str:
    """What a program prints."""
    return end(start(folder, *parts, seed=seed))


USER = """
VALUES = {
    "model": Model(3),
    "models": [Model(1), Model(2), Base()],
    "function": helper,
    "class": Model,
    "lambda": lambda x: helper(x) in {"a", "b", "c", 5},
    "bound": Model(2).predict,
    "config": {"a": Config(0.5), "b": [Kind.GOOD, {1.5: {"x", "y", "z"}}]},
    "sets": frozenset(str(n) for n in range(50)),
    "objects": {"x": Model(1), "s": {str(n) for n in range(50)}},
}
"""


def test_a_users_own_values_give_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    printed = [run(tmp_path, DEFINITIONS, USER, SAVE, seed=seed) for seed in ("1", "2")]
    assert printed[0] == printed[1]
    assert "config|json|" in printed[0]
    assert "sets|json|" in printed[0]
    assert "model|cloudpickle|" in printed[0]


def test_equal_texts_are_written_alike_whether_they_are_one_object_or_two(tmp_path: Path) -> None:
    two = [str(10**9), str(10**9)]
    assert two[0] is not two[1]
    digests = {formats.save("x", ValueError(*texts), tmp_path / "x").sha256 for texts in (two, [two[0], two[0]])}
    assert len(digests) == 1


def test_the_reader_gets_its_own_classes(tmp_path: Path) -> None:
    run(tmp_path, DEFINITIONS, USER, SAVE)
    check = """
    assert type(load("model")) is Model and isinstance(load("model"), Base)
    assert load("model") == Model(3) and load("model").kind is Kind.GOOD
    assert [type(m) for m in load("models")] == [Model, Model, Base]
    assert load("function") is helper and load("class", "class-state") is Model
    assert load("lambda")(4) and load("bound")(1) == 4
    assert load("config", "json") == {"a": Config(0.5), "b": [Kind.GOOD, {1.5: {"x", "y", "z"}}]}
    """
    run(tmp_path, DEFINITIONS, LOAD, check)


def test_a_reader_without_the_classes_gets_working_ones(tmp_path: Path) -> None:
    run(tmp_path, DEFINITIONS, USER, SAVE)
    check = """
    model, models = load("model"), load("models")
    assert model.predict(1) == 6 and type(model).__doc__ == "A class of the user's own."
    assert type(model) is type(models[0]) is load("class", "class-state") is type(load("objects")["x"])
    assert isinstance(model, type(models[2])), "one base in all values"
    assert model == type(model)(3)
    assert load("function")(1) == 2 and load("lambda")(4) and load("bound")(1) == 4
    formats.save("again", model, folder / "again")
    """
    run(tmp_path, LOAD, check)
    run(tmp_path, DEFINITIONS, LOAD, "assert load('again') == Model(3) and type(load('again')) is Model")


def test_a_reader_with_some_of_the_classes_gets_those(tmp_path: Path) -> None:
    run(tmp_path, DEFINITIONS, USER, SAVE)
    check = """
    class Base:
        def __eq__(self, other):
            return type(self) is type(other) and vars(self) == vars(other)
    models = load("models")
    assert type(models[2]) is Base
    assert models[0].predict(1) == 2
    """
    run(tmp_path, LOAD, check)


def test_a_missing_class_of_an_open_value_is_named(tmp_path: Path) -> None:
    run(tmp_path, DEFINITIONS, USER, SAVE)
    check = """
    from kaleyard.errors import DataError
    try:
        load("config", "json")
    except DataError as error:
        print(error)
    """
    printed = run(tmp_path, LOAD, check)
    assert "`config` cannot be loaded: the class `Config` is missing here" in printed
    assert "tagged `functions`" in printed


def test_a_class_whose_code_cannot_travel_is_looked_up_by_name(tmp_path: Path) -> None:
    definitions = """
    import threading
    LOCK = threading.Lock()
    class Guarded:
        def size(self):
            with LOCK:
                return 5
    """
    run(tmp_path, definitions, "VALUES = {'guarded': Guarded()}", SAVE)
    run(tmp_path, definitions, LOAD, "assert load('guarded').size() == 5")
    check = """
    from kaleyard.errors import DataError
    try:
        load("guarded")
    except DataError as error:
        print(error)
    """
    assert "`Guarded` is missing here" in run(tmp_path, LOAD, check)


def test_a_class_that_was_defined_again_stays_the_old_one(tmp_path: Path) -> None:
    definitions = """
    class Thing:
        size = 1
    class Colour(enum.Enum):
        RED = 1
    old, red = Thing(), Colour.RED
    class Thing:
        size = 2
    class Colour(enum.Enum):
        RED = 2
    """
    run(tmp_path, "import enum\n", definitions, "VALUES = {'old': old, 'red': red}", SAVE)
    run(tmp_path, "import enum\n", definitions, LOAD, "assert load('old').size == 1 and load('red').value == 1")


def test_a_class_of_a_module_that_is_not_imported_yet_is_written_by_name(tmp_path: Path) -> None:
    value = "import numpy as np; VALUES = {'r': np.zeros(1, [('a', 'i4')]).view(np.recarray)}"
    assert run(tmp_path, value, SAVE).startswith("r|cloudpickle|")
    again: Any = formats.load("r", "cloudpickle", tmp_path / "kept0" / "r")
    assert type(again) is pytest.importorskip("numpy").recarray


LIBRARIES = """
import datetime as dt, numpy as np, pandas as pd, warnings
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
frame = pd.DataFrame({"n": [1.0, np.nan, 3.0, 4.0] * 20, "c": ["x", "y", "z", None] * 20, "y": np.arange(80.0)})
both = ColumnTransformer([
    ("n", make_pipeline(SimpleImputer(), StandardScaler()), ["n"]),
    ("c", OneHotEncoder(handle_unknown="ignore"), ["c"]),
])
texts = ["the red fox", "a blue whale", "red whale"] * 4
yes = [0, 1, 1] * 4
class Doubled(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self
    def transform(self, X):
        return [[2 * v for v in row] for row in X]
def plus(X):
    return [[v + 1 for v in row] for row in X]
VALUES = {
    "own": make_pipeline(Doubled(), FunctionTransformer(plus)),
    "boosted": make_pipeline(both, HistGradientBoostingRegressor(max_iter=5, random_state=0)).fit(frame, frame["y"]),
    "forest": RandomForestClassifier(5, random_state=np.random.RandomState(0)).fit(frame[["y"]], frame["y"] > 40),
    "linear": make_pipeline(StandardScaler(), SGDClassifier(random_state=0)).fit(frame[["y"]], frame["y"] > 40),
    "text": make_pipeline(TfidfVectorizer(stop_words="english"), SGDClassifier(random_state=0)).fit(texts, yes),
    "frame": frame.assign(d=pd.Timestamp("2024-01-01", tz="Europe/Berlin"), k=frame["c"].astype("category")),
    "array": np.arange(5), "masked": np.ma.masked_greater(np.arange(5), 2), "pair": (frame, {"x": np.eye(2)}),
    "unfitted": SGDClassifier(),
}
VALUES["unfitted"].words_ = {str(n) for n in range(20)}
"""
PREDICTED = """
import json
print(json.dumps({
    "boosted": list({model}("boosted").predict(frame)),
    "forest": {model}("forest").predict_proba(frame[["y"]]).tolist(),
    "linear": {model}("linear").decision_function(frame[["y"]]).tolist(),
    "text": {model}("text").decision_function(texts).tolist(),
}))
"""


def test_models_and_frames_give_the_same_bytes_in_every_process_and_predict_the_same(tmp_path: Path) -> None:
    pytest.importorskip("skops")
    pytest.importorskip("pyarrow")
    programs = [
        start(tmp_path, LIBRARIES, SAVE, PREDICTED.replace("{model}", "VALUES.get"), seed="1"),
        start(tmp_path, LIBRARIES, SAVE, "print()", seed="2"),
    ]
    first, second = (end(program).splitlines() for program in programs)
    assert first[:-1] == second[:-1]
    formats_used = {line.split("|")[0]: line.split("|")[1] for line in first[:-1]}
    assert formats_used == {
        **dict.fromkeys(["boosted", "forest", "linear", "text", "unfitted"], "skops"),
        "own": "cloudpickle",
        "frame": "parquet",
        "array": "npy",
        "masked": "masked",
        "pair": "tree",
    }
    assert "skops does not know __main__.Doubled, __main__.plus" in first[0]
    predicted: dict[str, Any] = json.loads(first[-1])
    folder = tmp_path / "kept1"
    texts = ["the red fox", "a blue whale", "red whale"] * 4
    frame: Any = formats.load("frame", "parquet", folder / "frame")
    models: Any = {name: formats.load(name, "skops", folder / name) for name in predicted}
    assert list(models["boosted"].predict(frame)) == predicted["boosted"]
    assert models["forest"].predict_proba(frame[["y"]]).tolist() == predicted["forest"]
    assert models["linear"].decision_function(frame[["y"]]).tolist() == predicted["linear"]
    own: Any = formats.load("own", "cloudpickle", folder / "own")
    assert own.transform([[1]]) == [[3]]
    assert models["text"].decision_function(texts).tolist() == predicted["text"]
