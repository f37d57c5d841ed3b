from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from kaleyard.compiler.pipeline_package import package_yaml, task_names
from kaleyard.errors import NotebookError
from kaleyard.pipeline import Cell, Input, Parameter, Pipeline, Secret, Settings, Step, Volume

LOAD = Step(
    "load", (Cell(1, "markdown", "# Load: pip install nothing"),), parameters=("rows",), outputs=("df", "names")
)
CLEAN = Step("clean_up", (), inputs=(Input("df", "load"),), outputs=("df",), settings=Settings(cache=False))
TRAIN = Step(
    "train",
    (),
    parameters=("alpha",),
    inputs=(Input("df", "clean_up"), Input("names", "load")),
    outputs=("model",),
    metrics=("accuracy",),
    settings=Settings(
        limits=(("cpu", "500m"), ("memory", "4Gi"), ("amd.com/gpu", "2")),
        labels=(("team", "garden"),),
        annotations=(("example.org/note", "a: b"),),
        secrets=(Secret("store", "password", "STORE_PASSWORD"), Secret("store", "user", "STORE_USER")),
    ),
)
REPORT = Step("report", (), after=("train", "load"))
PARAMETERS = (
    Parameter("rows", "int", 100, 2),
    Parameter("alpha", "float", 0.5, 2),
    Parameter("unused", "str", "x\ny", 2),
)
PIPELINE = Pipeline("demo", "notebooks/demo.ipynb", (LOAD, CLEAN, TRAIN, REPORT), PARAMETERS, "A demo.\nIn two lines.")

Spec = dict[str, Any]


def package(pipeline: Pipeline) -> bytes:
    return package_yaml(pipeline, {name: f"registry/{name}@sha256:0123" for name in pipeline.names})


def specs(pipeline: Pipeline) -> tuple[Spec, Spec]:
    documents = list(yaml.safe_load_all(package(pipeline)))
    return documents[0], documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"] if documents[1:] else {}


def tasks(pipeline: Pipeline) -> Spec:
    found: Spec = specs(pipeline)[0]["root"]["dag"]["tasks"]
    return found


def one(settings: Settings) -> Pipeline:
    return Pipeline("demo", "notebooks/demo.ipynb", (Step("train", (), settings=settings),))


def test_steps_take_artifacts_from_the_steps_that_make_them() -> None:
    assert tasks(PIPELINE)["train"]["inputs"] == {
        "artifacts": {
            "df": {"taskOutputArtifact": {"outputArtifactKey": "df", "producerTask": "clean-up"}},
            "names": {"taskOutputArtifact": {"outputArtifactKey": "names", "producerTask": "load"}},
        },
        "parameters": {"alpha": {"componentInputParameter": "alpha"}},
    }
    assert tasks(PIPELINE)["train"]["dependentTasks"] == ["clean-up", "load"]


def test_an_edge_for_order_alone_carries_nothing() -> None:
    report = tasks(PIPELINE)["report"]
    assert report["dependentTasks"] == ["load", "train"]
    assert "inputs" not in report


def test_tasks_show_the_steps_own_names_and_run_in_their_images() -> None:
    spec = specs(PIPELINE)[0]
    assert {k: t["taskInfo"]["name"] for k, t in spec["root"]["dag"]["tasks"].items()} == {
        "load": "load",
        "clean-up": "clean_up",
        "train": "train",
        "report": "report",
    }
    executors = spec["deploymentSpec"]["executors"]
    assert {k: e["container"]["image"] for k, e in executors.items()} == {
        "exec-load": "registry/load@sha256:0123",
        "exec-clean-up": "registry/clean_up@sha256:0123",
        "exec-train": "registry/train@sha256:0123",
        "exec-report": "registry/report@sha256:0123",
    }


def test_the_pipeline_has_all_its_parameters_and_its_description() -> None:
    spec = specs(PIPELINE)[0]
    assert spec["pipelineInfo"] == {"name": "demo", "description": "A demo.\nIn two lines."}
    assert spec["root"]["inputDefinitions"]["parameters"] == {
        "rows": {"parameterType": "NUMBER_INTEGER", "defaultValue": 100, "isOptional": True},
        "alpha": {"parameterType": "NUMBER_DOUBLE", "defaultValue": 0.5, "isOptional": True},
        "unused": {"parameterType": "STRING", "defaultValue": "x\ny", "isOptional": True},
    }


@pytest.mark.parametrize("odd", ["\x0c", "\u2028", "\r", "\x85", "\x00", "\x1b"])
def test_a_description_cannot_break_out_of_its_comment(odd: str) -> None:
    spec, _ = specs(replace(PIPELINE, description=f"one{odd}two: [three"))
    assert spec["pipelineInfo"]["name"] == "demo"


def test_caching_is_as_the_step_says() -> None:
    cached = {name: task["cachingOptions"].get("enableCache", False) for name, task in tasks(PIPELINE).items()}
    assert cached == {"load": True, "clean-up": False, "train": True, "report": True}


def test_limits_become_resources_without_requests() -> None:
    resources = specs(PIPELINE)[0]["deploymentSpec"]["executors"]["exec-train"]["container"]["resources"]
    assert resources == {
        "cpuLimit": 0.5,
        "resourceCpuLimit": "500m",
        "memoryLimit": 4.294967296,
        "resourceMemoryLimit": "4Gi",
        "accelerator": {"type": "amd.com/gpu", "resourceType": "amd.com/gpu", "count": "2", "resourceCount": "2"},
    }


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        ((("cpu", "two"),), "the limit cpu is 'two'"),
        ((("memory", "1.5Gi"),), "the limit memory is '1.5Gi'"),
        ((("ephemeral-storage", "10Gi"),), "the limit ephemeral-storage is '10Gi'"),
        ((("nvidia.com/gpu", "1"), ("amd.com/gpu", "1")), "it asks for nvidia.com/gpu and for amd.com/gpu"),
    ],
)
def test_a_limit_kfp_cannot_express_is_an_error_that_names_the_step(limits: Any, what: str) -> None:
    with pytest.raises(NotebookError, match=f"demo.ipynb: step train: {what}"):
        package(one(Settings(limits=limits)))


def test_tags_reach_the_platform_document() -> None:
    found = specs(PIPELINE)[1]["exec-train"]
    assert found["podMetadata"] == {"labels": {"team": "garden"}, "annotations": {"example.org/note": "a: b"}}
    secrets = [(s["secretName"], pair) for s in found["secretAsEnv"] for pair in s["keyToEnv"]]
    assert secrets == [
        ("store", {"secretKey": "password", "envVar": "STORE_PASSWORD"}),
        ("store", {"secretKey": "user", "envVar": "STORE_USER"}),
    ]


def test_a_pipeline_without_such_tags_is_one_document() -> None:
    assert len(list(yaml.safe_load_all(package(one(Settings()))))) == 1


def test_kfp_loads_the_package_with_its_platform_document(tmp_path: Path) -> None:
    from kfp import compiler, components

    file, again = tmp_path / "pipeline.yaml", tmp_path / "again.yaml"
    # KFP's own writer spoils a file where a default has a line break: leave that one out.
    pipeline = replace(PIPELINE, parameters=PARAMETERS[:2])
    file.write_bytes(package(pipeline))
    loaded = components.load_component_from_file(str(file))
    assert set(loaded.component_spec.inputs) == {"rows", "alpha"}
    assert loaded.description == PIPELINE.description
    compiler.Compiler().compile(loaded, str(again))
    written, read = (list(yaml.safe_load_all(f.read_text())) for f in (file, again))
    assert written[1] == read[1]
    assert written[0]["root"] == read[0]["root"]


def test_every_step_mounts_an_existing_volume_and_knows_its_place() -> None:
    volume = Volume("shared", "/data", "pvc", variable="KALE_VOLUME_SHARED")
    spec, platform = specs(replace(PIPELINE, volumes=(volume,)))
    for name, executor in spec["deploymentSpec"]["executors"].items():
        told = [e for e in executor["container"]["env"] if e["name"] != "KALEYARD_CELLS"]
        assert told == [{"name": "KALE_VOLUME_SHARED", "value": "/data"}]
        assert [(m["constant"], m["mountPath"]) for m in platform[name]["pvcMount"]] == [("shared", "/data")]


def test_a_new_volume_is_made_before_and_deleted_after_all_steps() -> None:
    volumes = (
        Volume("fast", "/fast", "new_pvc", "5Gi", "rwo", "ssd"),
        Volume("wide", "/wide", "new_pvc", "1Ti"),
    )
    pipeline = replace(PIPELINE, volumes=volumes)
    found, platform = tasks(pipeline), specs(pipeline)[1]
    told = found["createpvc"]["inputs"]["parameters"]
    assert {name: value["runtimeValue"]["constant"] for name, value in told.items()} == {
        "pvc_name_suffix": "-fast",
        "size": "5Gi",
        "access_modes": ["ReadWriteOnce"],
        "storage_class_name": "ssd",
    }
    told = found["createpvc-2"]["inputs"]["parameters"]
    assert told["access_modes"]["runtimeValue"]["constant"] == ["ReadWriteMany"]
    assert "storage_class_name" not in told
    for name in task_names(pipeline).values():
        assert {"createpvc", "createpvc-2"} <= set(found[name]["dependentTasks"])
        mounts = platform[f"exec-{name}"]["pvcMount"]
        assert [m["taskOutputParameter"]["producerTask"] for m in mounts] == ["createpvc", "createpvc-2"]
    assert found["deletepvc"]["dependentTasks"] == ["createpvc", "report"]
    assert found["deletepvc-2"]["dependentTasks"] == ["createpvc-2", "report"]
    claims = ("createpvc", "createpvc-2", "deletepvc", "deletepvc-2")
    assert not any(found[name]["cachingOptions"] for name in claims)


def test_a_new_volume_without_a_size_is_an_error() -> None:
    with pytest.raises(NotebookError, match=r"demo.ipynb: the new volume data has no size"):
        package(replace(PIPELINE, volumes=(Volume("data", "/data", "new_pvc"),)))


def test_steps_whose_names_kfp_writes_alike_keep_their_own_components() -> None:
    steps = tuple(Step(name, (), outputs=(f"of{name}",)) for name in ("a_b", "a__b", "_a_b", "a_b_2"))
    pipeline = Pipeline("demo", "n.ipynb", steps)
    spec = specs(pipeline)[0]
    for step in steps:
        task = spec["root"]["dag"]["tasks"][task_names(pipeline)[step.name]]
        component = spec["components"][task["componentRef"]["name"]]
        image = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]["image"]
        assert task["taskInfo"]["name"] == step.name
        assert step.outputs[0] in component["outputDefinitions"]["artifacts"]
        assert image == f"registry/{step.name}@sha256:0123"


def test_kfp_loads_a_pipeline_that_is_called_like_one_of_its_steps() -> None:
    from kfp import components

    steps = (Step("load", (), outputs=("df",)), Step("train", (), inputs=(Input("df", "load"),)))
    text = package(Pipeline("train", "n.ipynb", steps, (Parameter("alpha", "float", 0.5, 1),))).decode()
    loaded = components.load_component_from_text(text).component_spec
    assert set(loaded.inputs) == {"alpha"}
    assert loaded.implementation.graph is not None


def test_names_that_kfp_refuses_are_wired_all_the_same() -> None:
    steps = (
        Step("load", (), parameters=("größe", "_y", "self"), outputs=("größe", "_x")),
        Step("use", (), inputs=(Input("größe", "load"), Input("_x", "load"))),
    )
    parameters = tuple(Parameter(name, "int", 1, 1) for name in ("größe", "_y", "self"))
    found = tasks(Pipeline("odd", "n.ipynb", steps, parameters))
    for name, told in found["use"]["inputs"]["artifacts"].items():
        assert told["taskOutputArtifact"] == {"producerTask": "load", "outputArtifactKey": name}
    assert {told["componentInputParameter"] for told in found["load"]["inputs"]["parameters"].values()} == {
        "kaleyard_x_gr_f6__df_e",
        "kaleyard_x___y",
        "kaleyard_x_self",
    }


def test_nothing_is_installed_when_a_step_starts() -> None:
    assert b"pip install" not in package(PIPELINE)


def test_compiling_again_gives_the_same_bytes_in_any_process() -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from test_pipeline_package import PIPELINE, Volume, package, replace;"
        "volumes = (Volume('v', '/v', 'new_pvc', '1Gi'), Volume('w', '/w', 'pvc'));"
        "sys.stdout.buffer.write(package(replace(PIPELINE, volumes=volumes)))"
    )
    command = [sys.executable, "-c", program, str(Path(__file__).parent)]
    runs = [
        subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, stdout=subprocess.PIPE, check=True).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert package(PIPELINE) == package(PIPELINE)
