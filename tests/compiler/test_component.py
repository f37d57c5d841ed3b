from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kaleyard.compiler.component import component_yaml, describe, kfp_name, make_component
from kaleyard.errors import ParameterError
from kaleyard.pipeline import Cell, Input, Parameter, Pipeline, Step
from kaleyard.runtime.contract import artifact_name

ODD_NAMES = ["größe", "_x", "__x", "X", "x", "import_", "id", "name", "type", "self", "kwargs", "变量", "x_", "_f6_"]
IMAGE = "registry/train@sha256:0123"

ALPHA = Parameter("alpha", "float", 0.5, 2)
PARAMETERS = (
    ALPHA,
    Parameter("flag", "bool", True, 2),
    Parameter("count", "int", 3, 2),
    Parameter("label", "str", "a: b", 2),
    Parameter("sizes", "list", [1, 2.5, "x", [True]], 2),
    Parameter("options", "dict", {"depth": 3, "names": ["a"]}, 2),
)
LOAD = Step("load", (), outputs=("df",))
TRAIN = Step(
    "train_model",
    (Cell(4, "code", "1"), Cell(5, "markdown", "\n## Train the *best* model\n\nMore.")),
    parameters=tuple(p.name for p in PARAMETERS),
    inputs=(Input("df", "load"),),
    outputs=("model",),
    metrics=("accuracy",),
)
PIPELINE = Pipeline("demo", "notebooks/demo.ipynb", (LOAD, TRAIN), PARAMETERS)


def component(step: Step, *earlier: Step, parameters: tuple[Parameter, ...] = ()) -> dict[str, Any]:
    pipeline = Pipeline("demo", "notebooks/demo.ipynb", (*earlier, step), parameters)
    spec: dict[str, Any] = yaml.safe_load(component_yaml(pipeline, step, IMAGE))
    return spec


def kinds(definitions: dict[str, Any]) -> dict[str, str]:
    return {name: told["artifactType"]["schemaTitle"] for name, told in definitions.get("artifacts", {}).items()}


def test_a_component_takes_and_gives_what_the_step_does() -> None:
    found = yaml.safe_load(component_yaml(PIPELINE, TRAIN, IMAGE))["components"]["comp-train-model"]
    assert kinds(found["inputDefinitions"]) == {"df": "system.Artifact"}
    assert kinds(found["outputDefinitions"]) == {
        "model": "system.Artifact",
        "kaleyard_notebook": "system.Artifact",
        "kaleyard_page": "system.HTML",
        "kaleyard_files": "system.Artifact",
        "kaleyard_metrics": "system.Metrics",
    }
    assert {n: (p["parameterType"], p["defaultValue"]) for n, p in found["inputDefinitions"]["parameters"].items()} == {
        "alpha": ("NUMBER_DOUBLE", 0.5),
        "flag": ("BOOLEAN", True),
        "count": ("NUMBER_INTEGER", 3),
        "label": ("STRING", "a: b"),
        "sizes": ("LIST", [1, 2.5, "x", [True]]),
        "options": ("STRUCT", {"depth": 3, "names": ["a"]}),
    }


def test_a_step_without_metrics_gives_no_metrics() -> None:
    outputs = component(LOAD)["root"]["outputDefinitions"]
    assert kinds(outputs) == {
        "df": "system.Artifact",
        "kaleyard_notebook": "system.Artifact",
        "kaleyard_page": "system.HTML",
        "kaleyard_files": "system.Artifact",
    }


def test_a_component_starts_the_step_runner_in_its_image() -> None:
    container = yaml.safe_load(component_yaml(PIPELINE, TRAIN, IMAGE))["deploymentSpec"]["executors"]
    assert container == {
        "exec-train-model": {
            "container": {
                "image": IMAGE,
                "command": ["python", "-m", "kaleyard.runtime"],
                "args": ["--executor-input", "{{$}}", "--step", "/opt/step"],
                "env": [{"name": "KALEYARD_CELLS", "value": "4,5"}],
            }
        }
    }


def test_kfp_loads_the_component(tmp_path: Path) -> None:
    from kfp import components

    file = tmp_path / "component.yaml"
    file.write_bytes(component_yaml(PIPELINE, TRAIN, IMAGE))
    loaded = components.load_component_from_file(str(file))
    assert loaded.name == "train-model"
    assert loaded.description == "Train the best model"
    assert set(loaded.component_spec.inputs) == {"df", *TRAIN.parameters}
    assert {n for n, told in loaded.component_spec.inputs.items() if told.optional} == set(TRAIN.parameters)


def test_the_component_is_what_kfps_own_decorator_makes() -> None:
    import inspect

    from kfp import dsl

    def train_model(*_: object) -> dsl.ContainerSpec:
        return dsl.ContainerSpec(
            image=IMAGE,
            command=["python", "-m", "kaleyard.runtime"],
            args=["--executor-input", "{{$}}", "--step", "/opt/step"],
        )

    def argument(name: str, annotation: object, default: object = inspect.Parameter.empty) -> inspect.Parameter:
        return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=annotation, default=default)

    signature = inspect.Signature(
        [
            argument("df", dsl.Input[dsl.Artifact]),
            argument("model", dsl.Output[dsl.Artifact]),
            argument("kaleyard_notebook", dsl.Output[dsl.Artifact]),
            argument("kaleyard_page", dsl.Output[dsl.HTML]),
            argument("kaleyard_files", dsl.Output[dsl.Artifact]),
            argument("kaleyard_metrics", dsl.Output[dsl.Metrics]),
            argument("alpha", float, 0.5),
            argument("flag", bool, True),
            argument("count", int, 3),
            argument("label", str, "a: b"),
            argument("sizes", list, [1, 2.5, "x", [True]]),
            argument("options", dict, {"depth": 3, "names": ["a"]}),
        ]
    )
    train_model.__signature__ = signature  # type: ignore[attr-defined]
    expected = dsl.container_component(train_model).pipeline_spec
    container = expected.deployment_spec["executors"]["exec-train-model"]["container"]
    # The decorator cannot set a variable; ours tells the numbers of the step's cells.
    container["env"] = [{"name": "KALEYARD_CELLS", "value": "4,5"}]
    assert expected == make_component(PIPELINE, TRAIN, IMAGE).pipeline_spec


def test_a_step_watches_the_inputs_that_later_steps_also_take() -> None:
    taker = Step("other", (), inputs=(Input("df", "load"),))
    pipeline = Pipeline("demo", "notebooks/demo.ipynb", (LOAD, TRAIN, taker), PARAMETERS)
    for step, guards in ((TRAIN, ["--guard=df"]), (taker, [])):
        (executor,) = yaml.safe_load(component_yaml(pipeline, step, IMAGE))["deploymentSpec"]["executors"].values()
        assert executor["container"]["args"][4:] == guards


def test_a_step_may_take_and_give_the_same_name() -> None:
    from kfp import components

    clean = Step("clean", (), inputs=(Input("df", "load"),), outputs=("df",))
    text = component_yaml(Pipeline("demo", "n.ipynb", (LOAD, clean)), clean, IMAGE).decode()
    loaded = components.load_component_from_text(text).component_spec
    assert "df" in loaded.inputs
    assert "df" in loaded.outputs


@pytest.mark.parametrize("name", ["x", "X", "id", "name", "type", "import_", "x_1", "DF"])
def test_plain_names_stay_as_they_are(name: str) -> None:
    assert artifact_name(name) == name


def test_names_that_kfp_refuses_are_spelled_out() -> None:
    assert artifact_name("größe") == "kaleyard_x_gr_f6__df_e"
    assert artifact_name("_x") == "kaleyard_x___x"
    assert artifact_name("self") == "kaleyard_x_self"


@given(
    st.text("_xf6é变" + string.ascii_letters[:2], min_size=1), st.text("_xf6é变" + string.ascii_letters[:2], min_size=1)
)
def test_no_two_names_become_one(one: str, other: str) -> None:
    assert (artifact_name(one) == artifact_name(other)) == (one == other)


def test_names_that_python_takes_for_one_are_one() -> None:
    assert artifact_name("ﬁt") == artifact_name("fit") == "fit"


@pytest.mark.parametrize("name", ODD_NAMES)
def test_kfp_takes_any_name_as_parameter_input_and_output(name: str) -> None:
    from kfp import components

    makes = Step("makes", (), outputs=(name,))
    takes = Step("takes", (), inputs=(Input(name, "makes"),), outputs=("done",))
    knows = Step("knows", (), parameters=(name,))
    pipeline = Pipeline("odd", "n.ipynb", (makes, takes, knows), (Parameter(name, "int", 1, 1),))
    for step, side in ((makes, "outputs"), (takes, "inputs"), (knows, "inputs")):
        loaded = components.load_component_from_text(component_yaml(pipeline, step, IMAGE).decode())
        assert artifact_name(name) in getattr(loaded.component_spec, side)


@pytest.mark.parametrize(
    "default", [2**53 + 1, float("nan"), float("inf"), {"deep": [float("nan")]}, [None], {1: "a"}, [(1, 2)]]
)
def test_a_default_that_kfp_would_change_is_refused_with_its_cell(default: object) -> None:
    parameter = Parameter("seed", "int", default, 7)
    with pytest.raises(ParameterError, match=r"demo.ipynb: cell 7: parameter seed defaults to"):
        component(Step("train", (), parameters=("seed",)), parameters=(parameter,))


def test_the_largest_number_kfp_holds_is_kept_exactly() -> None:
    parameter = Parameter("seed", "int", 2**53, 7)
    found = component(Step("train", (), parameters=("seed",)), parameters=(parameter,))
    assert found["root"]["inputDefinitions"]["parameters"]["seed"]["defaultValue"] == 2**53


@pytest.mark.parametrize("default", ["", "a\nb: [", "'; --- \n---\n", "\u2028x\u0085", "# Description: no", "größe 🌱"])
def test_any_text_is_a_default(default: str) -> None:
    from kfp import components

    step = Step("train", (), parameters=("text",))
    pipeline = Pipeline("demo", "n.ipynb", (step,), (Parameter("text", "str", default, 1),))
    loaded = components.load_component_from_text(component_yaml(pipeline, step, IMAGE).decode())
    assert loaded.component_spec.inputs["text"].default == default


@given(st.text(), st.floats(allow_nan=False, allow_infinity=False))
def test_the_c_and_the_python_yaml_writer_write_the_same(text: str, number: float) -> None:
    data = {"a": {"text": text, "more": [text + " x" * 60, number]}}
    fast, slow = (yaml.dump(data, Dumper=d, width=2**31 - 1) for d in (yaml.CSafeDumper, yaml.SafeDumper))
    assert fast == slow


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("# Train", "Train"),
        ("Fit a model. Then save it.", "Fit a model."),
        ("\n\n---\n* see [the docs](http://x), `now`\n", "see the docs, now"),
        ("<!-- x -->\n![](a.png)\n", ""),
        ("", ""),
    ],
)
def test_a_description_is_the_first_heading_or_sentence(source: str, line: str) -> None:
    assert describe(Step("s", (Cell(1, "code", "# no"), Cell(2, "markdown", source)))) == line


def test_the_yaml_is_the_same_where_pyyaml_has_no_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step("train", (), parameters=("text",))
    parameter = Parameter("text", "str", "many words " * 50 + "größe\n: #", 1)
    pipeline = Pipeline("demo", "n.ipynb", (step,), (parameter,))
    fast = component_yaml(pipeline, step, IMAGE)
    monkeypatch.delattr(yaml, "CSafeDumper")
    assert component_yaml(pipeline, step, IMAGE) == fast


@pytest.mark.parametrize(
    ("name", "kfp"), [("train_model", "train-model"), ("_x", "x"), ("__", "step"), ("a" * 200, "a" * 128)]
)
def test_step_names_become_names_that_kfp_allows(name: str, kfp: str) -> None:
    assert kfp_name(name) == kfp
    assert component(Step(name, ()))["pipelineInfo"]["name"] == kfp
