"""The work that every runner is given: steps of plain Python, the values between them, and one metric at the end."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

__all__ = ["LONG", "QUICK", "STANDARD", "Step", "Work", "workload"]

STANDARD = ("housing", "chain-10", "fan-8", "compile-10", "compile-100", "compile-300", "check")
QUICK = ("housing", "chain-10", "compile-10", "check")
LONG = "chain-1000"


@dataclass(frozen=True, slots=True)
class Step:
    """A step: its code, the names it takes from earlier steps, and the names it makes for later ones."""

    name: str
    source: str
    takes: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Work:
    """A workload. `metric` is printed by a step as `NAME VALUE`; `late` names the step that is edited, if one is."""

    name: str
    imports: str
    parameters: Mapping[str, float | int | str]
    functions: str
    steps: tuple[Step, ...]
    metric: str
    late: str = ""

    def upstream(self, step: Step) -> list[str]:
        """The steps that make what this one takes, in their order."""
        return [other.name for other in self.steps if set(other.makes) & set(step.takes)]

    def used(self, step: Step) -> dict[str, float | int | str]:
        """The parameters that occur in the step's code."""
        return {name: value for name, value in self.parameters.items() if re.search(rf"\b{name}\b", step.source)}

    def changed(self) -> Work:
        """The same work after an edit of its late step that changes no value."""
        edited = (replace(s, source=f"edited = 1\n{s.source}") if s.name == self.late else s for s in self.steps)
        return replace(self, steps=tuple(edited))


def workload(name: str) -> Work:
    """The workload of that name: housing, check, chain-N, fan-N or compile-N. Raises ValueError for any other."""
    kind, _, count = name.partition("-")
    if name in ("housing", "check"):
        return replace(_housing(), name=name)
    makers = {"chain": _chain, "fan": _fan, "compile": _chain}
    if kind not in makers or not count.isdecimal() or int(count) < 1:
        raise ValueError(f"there is no workload {name}: say housing, check, chain-N, fan-N or compile-N")
    return replace(makers[kind](int(count)), name=name)


def _housing() -> Work:
    """Four steps as in the reference notebook, on data that comes with scikit-learn, so that every peer can run it."""
    imports = """\
import numpy as np
import joblib
from sklearn.datasets import load_diabetes
from sklearn.linear_model import SGDRegressor
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler"""
    preprocess = """\
X, y = load_diabetes(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(X, y, test_size=TEST_SIZE, random_state=SEED)
scaler = StandardScaler().fit(x_train)
x_train = scaler.transform(x_train)
x_test = scaler.transform(x_test)"""
    train = "model = SGDRegressor(alpha=ALPHA, random_state=SEED)\nmodel.fit(x_train, y_train)"
    test = "err = rmse(y_test, model.predict(x_test))\nprint('err', err)"
    deploy = "joblib.dump({'model': model, 'rmse': err}, MODEL_FILE)"
    return Work(
        "housing",
        imports,
        MappingProxyType({"TEST_SIZE": 0.2, "ALPHA": 0.0001, "SEED": 42, "MODEL_FILE": "deployed.joblib"}),
        "def rmse(y, p):\n    return float(mean_squared_error(y, p) ** 0.5)",
        (
            Step("preprocess", preprocess, (), ("x_train", "x_test", "y_train", "y_test")),
            Step("train", train, ("x_train", "y_train"), ("model",)),
            Step("test", test, ("model", "x_test", "y_test"), ("err",)),
            Step("deploy", deploy, ("model", "err")),
        ),
        metric="err",
        late="test",
    )


def _chain(count: int) -> Work:
    """Steps in a row, each adding 1 to 1,000 numbers that it gets from the one before."""
    steps = [Step("s1", "x1 = np.arange(1000.0) * SCALE", (), ("x1",))]
    steps += [Step(f"s{n}", f"x{n} = x{n - 1} + 1.0", (f"x{n - 1}",), (f"x{n}",)) for n in range(2, count + 1)]
    end = f"\nend = float(x{count}.sum())\nprint('end', end)"
    steps[-1] = replace(steps[-1], source=steps[-1].source + end, makes=())
    return _small("import numpy as np", steps)


def _fan(count: int) -> Work:
    """A source, steps beside each other that sleep for a second, and a step that takes from them all."""
    made = tuple(f"y{n}" for n in range(1, count + 1))
    branches = [Step(f"b{n}", f"time.sleep(1)\ny{n} = x0 * {n}", ("x0",), (f"y{n}",)) for n in range(1, count + 1)]
    source = Step("source", "x0 = np.arange(1000.0) * SCALE", (), ("x0",))
    join = Step("join", f"end = float(({' + '.join(made)}).sum())\nprint('end', end)", made)
    return _small("import time\nimport numpy as np", [source, *branches, join])


def _small(imports: str, steps: list[Step]) -> Work:
    return Work("", imports, MappingProxyType({"SCALE": 1.0}), "def same(v):\n    return v", tuple(steps), "end")
