"""A notebook's tags and metadata as a pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest

from kaleyard.analysis.notebook_analysis import read
from kaleyard.config import Project
from kaleyard.errors import NotebookError
from kaleyard.pipeline import Pipeline, Secret
from kaleyard.rules.checker import load_pipeline
from notebook_builder import load, markdown, notebook


def test_a_notebook_without_steps_is_one_step_of_its_name(tmp_path: Path) -> None:
    path = notebook(
        tmp_path / "My Report.ipynb", ("N = 2", "parameters"), ("x = N", ""), ("import json", ""), ("x", "")
    )
    pipeline = load_pipeline(path, Project(tmp_path.resolve()))
    assert (pipeline.name, pipeline.names) == ("my-report", ("my_report",))
    assert [c.number for c in pipeline.steps[0].cells] == [2, 3, 4]
    assert (pipeline.steps[0].parameters, pipeline.steps[0].outputs) == (("N",), ("x",))


def test_cells_without_a_tag_continue_the_step_above_and_skipped_ones_do_not(tmp_path: Path) -> None:
    pipeline = load(
        tmp_path, ("a = 1", "step:a"), ("b = 2", ""), ("c = 3", "skip"), ("d = 4", "nbval-skip"), ("e = 5", "step:b")
    )
    assert [[c.number for c in s.cells] for s in pipeline.steps] == [[1, 2, 4], [5]]


def test_prose_goes_with_the_step_below_it(tmp_path: Path) -> None:
    pipeline = load(
        tmp_path, markdown("# A"), ("a = 1", "step:a"), markdown("# B"), ("b = 2", "step:b"), markdown("end")
    )
    assert [[c.source for c in s.cells] for s in pipeline.steps] == [["# A", "a = 1"], ["# B", "b = 2"]]


def test_the_last_bare_name_of_a_step_is_a_result(tmp_path: Path) -> None:
    pipeline = load(
        tmp_path,
        ("a = 1\na", "step:a"),
        ("b = 2\nb + 1", "step:b"),
        ("import json\njson", "step:c"),
        ("c = 3", "step:d"),
    )
    assert [s.outputs for s in pipeline.steps] == [("a",), (), (), ()]


def test_settings_of_tags_and_metadata_come_through(tmp_path: Path) -> None:
    tags = ["step:a", "image:python:3.12", "limit:memory:2Gi", "label:team:x", "cache:disabled", "secret:db:key:VAR"]
    metadata = {
        "kubeflow_notebook": {"pipeline_name": "prices", "experiment_name": "Homes", "pipeline_description": "d"}
    }
    path = notebook(tmp_path / "nb.ipynb", ("a = 1", tags), metadata=metadata)
    pipeline = load_pipeline(path, Project(tmp_path.resolve()))
    assert (pipeline.name, pipeline.experiment, pipeline.description) == ("prices", "Homes", "d")
    settings = pipeline.steps[0].settings
    assert (settings.image, settings.cache, settings.limits) == ("python:3.12", False, (("memory", "2Gi"),))
    assert (settings.labels, settings.secrets) == ((("team", "x"),), (Secret("db", "key", "VAR"),))


def test_a_notebook_with_nothing_to_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotebookError, match="the notebook has no steps"):
        load(tmp_path, markdown("only prose"))


def test_what_kale_refuses_is_an_error_of_the_notebook(tmp_path: Path) -> None:
    path = notebook(tmp_path / "nb.ipynb", ("a = 1", "step:a"), metadata={"kubeflow_notebook": {"nosuchkey": 1}})
    with pytest.raises(NotebookError, match="Kale rejects this notebook"):
        read(path, Project(tmp_path.resolve()))


def test_a_pipeline_is_the_same_each_time_and_comes_back_from_its_data(tmp_path: Path) -> None:
    cells = [
        ("import json, math", "imports"),
        ("K = 1", "parameters"),
        ("a = b = math.pi", "step:x"),
        ("a, b, K", "step:y"),
    ]
    one = load(tmp_path, *cells)
    assert one == load(tmp_path, *cells)
    assert Pipeline.from_dict(one.to_dict()) == one


def test_outputs_counts_and_other_tools_metadata_change_nothing(tmp_path: Path) -> None:
    plain = load(tmp_path, ("a = 1", "step:a"), ("print(a)", "step:b"))
    busy = load(tmp_path, ("a = 1", "step:a nbval-skip run:1"), ("print(a)", "step:b hide-input run:2"))
    assert plain == busy


def test_a_parameter_told_as_a_metric_belongs_to_the_last_step_that_uses_it(tmp_path: Path) -> None:
    pipeline = load(
        tmp_path,
        ("D = 5", "pipeline-parameters"),
        ("a = D", "step:one"),
        ("b = a + D", "step:two"),
        ("print(D)\nprint(b)", "pipeline-metrics"),
    )
    assert [s.metrics for s in pipeline.steps] == [(), ("D", "b")]
