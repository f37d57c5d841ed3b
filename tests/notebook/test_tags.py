from __future__ import annotations

from pathlib import Path

import pytest

from kaleyard.config import find_project
from kaleyard.notebook.tags import TAGS, is_ours, problem, step_name
from kaleyard.rules.checker import load_pipeline
from notebook_builder import notebook


@pytest.mark.parametrize("tag", [t.example for t in TAGS])
def test_the_example_of_a_tag_is_well_formed(tag: str) -> None:
    assert is_ours(tag)
    assert problem(tag) is None


@pytest.mark.parametrize(
    "tag",
    [
        *("parameters", "injected-parameters", "nbval-skip", "raises-exception", "remove-cell", "hide-input"),
        *("slideshow:slide", "todo", "report", "a:b", "", "wichtig", "papermill", "release"),
    ],
)
def test_tags_of_other_tools_are_let_through(tag: str) -> None:
    assert not is_ours(tag) or tag == "report"
    assert problem(tag) is None


@pytest.mark.parametrize(
    ("tag", "meant"),
    [
        ("Step:train", "step:train"),
        ("step: train", "step:train"),
        ("stpe:train", "step:train"),
        ("steps:train", "step:train"),
        ("step-train", "step:train"),
        ("step train", "step:train"),
        ("step:Train Model", "step:train_model"),
        ("step:2nd", "step:_2nd"),
        ("step", "step:train"),
        ("prev:train-model", "prev:train_model"),
        ("import", "imports"),
        ("Imports", "imports"),
        ("function", "functions"),
        ("pipeline_parameters", "pipeline-parameters"),
        ("pipeline-parameter", "pipeline-parameters"),
        ("pipeline-metric", "pipeline-metrics"),
        ("limits:memory:2Gi", "limit:memory:2Gi"),
        ("limit:memory", "limit:memory:2Gi"),
        ("cache:off", "cache:disabled"),
        ("skipp", "skip"),
    ],
)
def test_a_tag_that_is_nearly_ours_is_told_with_the_likely_word(tag: str, meant: str) -> None:
    found = problem(tag)
    assert found is not None
    assert found.meant == meant


@pytest.mark.parametrize(
    ("text", "name"), [("Train Model", "train_model"), ("2nd", "_2nd"), ("größe", "gr_e"), ("--", "step"), ("a", "a")]
)
def test_a_step_name_is_made_of_any_text(text: str, name: str) -> None:
    assert step_name(text) == name
    assert is_ours(f"step:{name}")


def test_kales_earlier_word_for_a_step_is_told() -> None:
    found = problem("block:train")
    assert found is not None
    assert found.meant == "step:train"


def test_a_step_tag_without_a_name_continues_the_step_above() -> None:
    assert problem("step:") is None


@pytest.mark.parametrize("tag", ["network:on", "label:kaleyard/network:on"])
def test_the_tag_network_is_a_label_of_the_pod_and_never_reaches_kale(tag: str, tmp_path: Path) -> None:
    path = notebook(tmp_path / "nb.ipynb", ("a = 1", f"step:one {tag}"), ("b = a", "step:two"))
    pipeline = load_pipeline(path, find_project(path))
    assert pipeline.step("one").settings.labels == (("kaleyard/network", "on"),)
    assert pipeline.step("two").settings.labels == ()


def test_network_is_one_word_of_two() -> None:
    assert not is_ours("network:host")
    told = problem("network:host")
    assert told is not None
    assert told.meant == "network:on"
