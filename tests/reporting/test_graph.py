"""A pipeline drawn: complete, readable, escaped, the same every time."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
import unicodedata
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from kaleyard.pipeline import Cell, Input, Parameter, Pipeline, Step
from kaleyard.reporting.graph import StepLook, as_html, as_json, as_svg, as_text

SVG = "{http://www.w3.org/2000/svg}"


def step(name: str, *takes: tuple[str, str], gives: str = "", told: str = "", after: tuple[str, ...] = ()) -> Step:
    inputs = tuple(Input(value, other) for value, other in takes)
    cells = (Cell(1, "code", "pass"),)
    return Step(name, cells, parameters=tuple(told.split()), inputs=inputs, outputs=tuple(gives.split()), after=after)


def chain() -> Pipeline:
    return Pipeline(
        "penguins",
        "notebooks/penguins.ipynb",
        (
            step("preprocess", gives="features labels", told="rows"),
            step("train", ("features", "preprocess"), ("labels", "preprocess"), gives="model", told="depth"),
            step("test", ("features", "preprocess"), ("model", "train"), gives="accuracy"),
            step("deploy", ("model", "train"), after=("test",)),
        ),
        (Parameter("rows", "int", 1000, 2), Parameter("depth", "int", 4, 2)),
    )


def fan(width: int) -> Pipeline:
    names = [f"fit-{n}" for n in range(width)]
    fits = [step(name, ("parts", "split"), gives=f"model_{n}") for n, name in enumerate(names)]
    join = step("compare", *((f"model_{n}", name) for n, name in enumerate(names)))
    return Pipeline(f"fan-{width}", "n.ipynb", (step("split", gives="parts"), *fits, join))


def large() -> Pipeline:
    chance, steps, before = random.Random(1), list[Step](), list[str]()
    for layer, width in enumerate((20, 40) * 5):
        names = [f"s{layer}_{n}" for n in range(width)]
        steps += [
            step(n, *((f"v_{o}", o) for o in chance.sample(before, min(3, len(before)))), gives=f"v_{n}") for n in names
        ]
        before = names
    return Pipeline("large", "n.ipynb", tuple(steps))


def chain_of(length: int) -> Pipeline:
    later = (
        step(f"s{n}", *dict.fromkeys([("v0", "s0"), (f"v{n - 1}", f"s{n - 1}")]), gives=f"v{n}")
        for n in range(1, length)
    )
    return Pipeline("long", "n.ipynb", (step("s0", gives="v0"), *later))


def boxes(svg: str) -> dict[str, tuple[float, float, float, float]]:
    found = {}
    for group in ET.fromstring(svg).iter(f"{SVG}g"):
        if group.get("class", "").startswith("step"):
            rect, text = group.find(f"{SVG}rect"), group.find(f"{SVG}text")
            assert rect is not None
            assert text is not None
            x, y, width, height = (float(rect.get(a, "")) for a in ("x", "y", "width", "height"))
            found[str(text.text)] = (x, y, x + width, y + height)
    return found


def screen_width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def test_text_says_in_order_what_each_step_takes_gives_and_is_told() -> None:
    lines = as_text(chain()).splitlines()
    assert lines[0] == "penguins · 4 steps · notebooks/penguins.ipynb"
    rows = [line for line in lines if re.match(r"\d ─", line)]
    assert [row.split()[:3] for row in rows] == [
        ["1", "─", "preprocess"],
        ["2", "─", "train"],
        ["3", "─", "test"],
        ["4", "─", "deploy"],
    ]
    assert "features, labels ← preprocess" in rows[1]
    assert rows[0].split("preprocess")[1].split() == ["features,", "labels", "rows"]
    assert rows[1].endswith("depth")
    assert "model ← train, after test" in rows[3]
    assert lines[-2:] == ["rows   1000", "depth  4"]


def test_text_of_a_wide_fan_has_one_line_for_each_step_and_names_every_source() -> None:
    text = as_text(fan(40))
    fits = [line for line in text.splitlines() if "parts ← split" in line]
    assert [line[:3].strip() for line in fits] == ["2 ┬", *["├"] * 38, "└"]
    assert len(text.splitlines()) < 43 + 25
    together = " ".join(text.split())
    assert all(f"model_{n} ← fit-{n}" in together for n in range(40))


def test_text_keeps_its_columns_and_width_with_names_of_any_script() -> None:
    pipeline = Pipeline(
        "空",
        "n.ipynb",
        (step("größe", gives="数据"), step("次の", ("数据", "größe")), step("[b]x[/b]", after=("次の",))),
    )
    lines = as_text(pipeline).splitlines()
    starts = {
        screen_width(line[: line.index(word)])
        for line in lines
        for word in ("takes", "数据 ←", "after")
        if word in line
    }
    assert len(starts) == 1
    assert "[b]x[/b]" in lines[-1]
    for narrow in (60, 80, 100):
        assert max(map(screen_width, as_text(fan(8), narrow).splitlines())) <= narrow


@pytest.mark.parametrize("pipeline", [Pipeline("empty", "n.ipynb", ()), Pipeline("one", "n.ipynb", (step("only"),))])
def test_the_smallest_pipelines_can_be_drawn(pipeline: Pipeline) -> None:
    assert pipeline.name in as_text(pipeline)
    assert set(boxes(as_svg(pipeline))) == set(pipeline.names)
    assert pipeline.name in as_html(pipeline)


@pytest.mark.parametrize("down", [None, False, True])
@pytest.mark.parametrize("pipeline", [chain(), fan(8), fan(40), large(), chain_of(30)], ids=lambda p: p.name)
def test_no_box_lies_on_another_or_outside_the_picture(pipeline: Pipeline, down: bool | None) -> None:
    svg = as_svg(pipeline, down=down)
    root, found = ET.fromstring(svg), boxes(svg)
    assert set(found) == set(pipeline.names)
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    assert all(min(x, y) > 0 and right < width and bottom < height for x, y, right, bottom in found.values())
    for a, b in combinations(found.values(), 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_boxes_are_as_wide_as_their_names_in_any_script() -> None:
    def width(name: str) -> float:
        (x, _, right, _), *_ = boxes(as_svg(Pipeline("p", "n", (step(name),)))).values()
        return right - x

    assert width("ab") < 110 < 10 * 13.5 < width("データの前処理と学習") < 240
    assert 220 < width("x" * 200) <= 240


def test_every_edge_is_drawn_and_says_its_values() -> None:
    titles = [g.findtext(f"{SVG}title") for g in ET.fromstring(as_svg(chain())).iter(f"{SVG}g")]
    for one, other, names in chain().edges:
        assert f"{', '.join(names) or 'order only'}: {one} → {other}" in titles
    assert as_svg(chain()).count('class="edge order"') == 1


def test_arrows_go_forward_and_a_chain_is_straight() -> None:
    pipeline = chain_of(4)
    found = boxes(as_svg(pipeline, down=False))
    assert all(found[one][2] < found[other][0] for one, other, _ in pipeline.edges)
    middles = [(top + bottom) / 2 for _, top, _, bottom in found.values()]
    assert max(middles) - min(middles) < 3


def test_what_is_deep_runs_down_and_what_is_wide_runs_across() -> None:
    deep, wide = ET.fromstring(as_svg(chain_of(30))), ET.fromstring(as_svg(fan(40)))
    assert float(deep.get("width", "")) < 400
    assert float(wide.get("width", "")) < 1000


def test_three_hundred_steps_are_drawn_in_seconds() -> None:
    as_svg(chain())
    for pipeline in (large(), chain_of(300)):
        assert len(pipeline.steps) == 300
        times = []
        for _ in range(3):
            start = time.process_time()
            as_svg(pipeline)
            times.append(time.process_time() - start)
        assert min(times) < 3


def test_equal_pipelines_give_equal_bytes_in_every_process() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests/reporting'); import test_graph as t; import hashlib;"
        "print(hashlib.sha256(''.join(d(p) for d in (t.as_text, t.as_svg, t.as_html, t.as_json)"
        " for p in (t.chain(), t.fan(8), t.large())).encode()).hexdigest())"
    )
    root = Path(__file__).parents[2]
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            cwd=root,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1


def test_states_and_links_stand_at_their_steps() -> None:
    looks = {"train": StepLook("failed", "3.2 s"), "preprocess": StepLook("cached")}
    root = ET.fromstring(as_svg(chain(), looks, {"train": "steps/train/page.html"}))
    anchors = list(root.iter(f"{SVG}a"))
    assert [a.get("href") for a in anchors] == ["steps/train/page.html"]
    group = anchors[0].find(f"{SVG}g")
    assert group is not None
    assert group.get("class") == "step failed"
    assert [t.text for t in group.iter(f"{SVG}text")] == ["train", "depth", "failed 3.2 s"]
    # role=img would hide the links from those who hear the page.
    assert root.get("role") == "group"
    assert ET.fromstring(as_svg(chain())).get("role") == "img"


def test_pictures_and_pages_escape_names_and_values_and_stay_well_formed() -> None:
    evil = "<script>alert('x')</script>&\x1b\x00\ud800"
    pipeline = Pipeline(evil, evil, (step(evil, gives=evil),), (Parameter("p", "str", evil, 1),), description=evil)
    for drawn in (as_svg(pipeline, {evil: StepLook("done", evil)}, {evil: f'"{evil}'}), as_html(pipeline)):
        assert "<script" not in drawn
        assert not re.search("[\x00\x1b\ud800]", drawn)
        drawn.encode()
    ET.fromstring(as_svg(pipeline, {evil: StepLook("done", evil)}, {evil: f'"{evil}'}))
    as_text(pipeline).encode()


def test_the_page_needs_no_network_and_its_links_lead_somewhere() -> None:
    page = as_html(chain())
    assert set(re.findall(r"https?://[^\s\"']+", page)) == {"http://www.w3.org/2000/svg"}
    links = re.findall(r'href="#([^"]+)"', page)
    assert len(links) == 4
    assert all(f'id="{link}"' in page for link in links)
    assert "prefers-color-scheme" in page
    assert "default-src 'none'" in page


def test_json_holds_the_pipeline_and_its_edges() -> None:
    data = json.loads(as_json(chain()))
    assert {"from": "test", "to": "deploy", "values": []} in data["edges"]
    assert {"from": "preprocess", "to": "train", "values": ["features", "labels"]} in data["edges"]
    del data["edges"]
    assert Pipeline.from_dict(data) == chain()
