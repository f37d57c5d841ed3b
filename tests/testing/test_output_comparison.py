"""What of a notebook's outputs does not count when they are compared, and what beside it still does."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from test_verb import stored, verb

from kaleyard.testing import output_comparison as comparing
from kaleyard.testing.output_comparison import align, by_kind, quiet, sanitizers

ROOT = Path("/srv/project")
U1, U2 = "3f2b8c1e-9d4a-4c6b-8e2f-0a1b2c3d4e5f", "a1b2c3d4-e5f6-4789-9abc-def012345678"
TQDM = (
    "{0}/tqdm/auto.py:21: TqdmWarning: IProgress not found. Please update jupyter and ipywidgets. See "
    "https://ipywidgets.readthedocs.io/en/stable/user_install.html\n  from .autonotebook import tqdm as notebook_tqdm\n"
)
STATSMODELS = "Dep. Variable: {2}   R-squared: 0.9\nDate:   {0}   Prob (F-statistic): 1e-5\nTime:   {1}   AIC: 3\n"

# Each: an output, the same in another run, and one with a difference beside it that counts.
CASES = {
    "address": ("<__main__.Foo object at 0x7f05a0106840>", "<__main__.Foo object at 0x7f9bc2001d10>", None),
    "address in HTML": (
        "<td>&lt;matplotlib.axes._axes.Axes at 0x7f05a0106840&gt;</td>",
        "<td>&lt;matplotlib.axes._axes.Axes at 0x7f9bc2001d10&gt;</td>",
        "<td>&lt;matplotlib.axes._axes.Axis at 0x7f9bc2001d10&gt;</td>",
    ),
    "address cut in the middle": (
        "<td>&lt;__main__.A o...x7f05a0106840&gt;</td>",
        "<td>&lt;__main__.A o...x7f9bc2001d10&gt;</td>",
        "<td>&lt;__main__.B o...x7f05a0106840&gt;</td>",
    ),
    "class cut in the middle": ("<class 'mat...Added'>", "<class 'mat...Added'>", "<class 'mat...Faded'>"),
    "address cut short": (
        "0  <pandas.core.groupby.DataFrameGroupBy at 0x7f0...",
        "0  <pandas.core.groupby.DataFrameGroupBy at 0x7f9...",
        "1  <pandas.core.groupby.DataFrameGroupBy at 0x7f9...",
    ),
    "thread": (
        "<Thread(load, started daemon 140212698917760)>",
        "<Thread(load, started daemon 139912698917761)>",
        "<Thread(save, started daemon 140212698917760)>",
    ),
    "Ray's worker": (
        "\x1b[36m(train pid=1234)\x1b[0m loss 0.5",
        "\x1b[36m(train pid=98765)\x1b[0m loss 0.5",
        "\x1b[36m(train pid=1234)\x1b[0m loss 0.6",
    ),
    "a patient's number": ("Patient(pid=3)", "Patient(pid=3)", "Patient(pid=4)"),
    "glog": (
        "W0000 00:00:1701110701.123456   1234 gpu_device.cc:2344] no GPU",
        "W0000 00:00:1701110799.654321   4321 gpu_device.cc:2344] no GPU",
        "W0000 00:00:1701110701.123456   1234 gpu_device.cc:2344] one GPU",
    ),
    "ls -l": (
        "-rw-r--r-- 1 root root  1234 Nov 27 18:45 file.csv",
        "-rw-r--r-- 1 root root  1234 Dec  3 09:01 file.csv",
        "-rw-r--r-- 1 root root  1235 Nov 27 18:45 file.csv",
    ),
    "ls -l: another name": (
        "total 8\r\ndrwxr-xr-x 2 root root 4.0K Nov 27  2023 Nov 27",
        "total 8\r\ndrwxr-xr-x 2 root root 4.0K Jan  1 00:00 Nov 27",
        "total 8\r\ndrwxr-xr-x 2 root root 4.0K Nov 27  2023 Nov 28",
    ),
    "ls -l: a device, and rights": (
        "crw-rw-rw-@ 1 me  staff  1, 3 27 Nov 18:45 null",
        "crw-rw-rw-@ 1 me  staff  1, 3 28 Nov 18:45 null",
        "crw-rw-r--@ 1 me  staff  1, 3 27 Nov 18:45 null",
    ),
    "a month elsewhere": ("sold 1234 Nov 27 2023 x", "sold 1234 Nov 27 2023 x", "sold 1234 Nov 28 2023 x"),
    "date": (
        "Mon Nov 27 06:45:01 PM UTC 2023 host",
        "Tue Nov 28 07:45:01 AM UTC 2024 host",
        "Mon Nov 27 06:45:01 PM UTC 2023 ghost",
    ),
    "HTTP's date": (
        "Mon, 27 Nov 2023 18:45:01 GMT 200",
        "Tue, 28 Nov 2023 18:45:01 GMT 200",
        "Mon, 27 Nov 2023 18:45:01 GMT 404",
    ),
    "statsmodels": (
        STATSMODELS.format("Mon, 27 Nov 2023", "18:45:01", "y"),
        STATSMODELS.format("Tue, 28 Nov 2023", "09:01:22", "y"),
        STATSMODELS.format("Mon, 27 Nov 2023", "18:45:01", "z"),
    ),
    "statsmodels in HTML": (
        "<th>Date:</th>             <td>Mon, 27 Nov 2023</td> <th>  F-statistic:</th> <td>3</td>",
        "<th>Date:</th>             <td>Tue, 28 Nov 2023</td> <th>  F-statistic:</th> <td>3</td>",
        "<th>Date:</th>             <td>Mon, 27 Nov 2023</td> <th>  F-statistic:</th> <td>4</td>",
    ),
    "time of a log": (
        "2023-11-27 18:45:01,123 INFO a",
        "2024-01-02T03:04:05Z INFO a",
        "2023-11-27 18:45:01,123 INFO b",
    ),
    "time of day": ("[18:45:01] WARNING: a", "[19:45:01] WARNING: a", "[18:45:01] WARNING: b"),
    "%time": ("Wall time: 1.2 s\n3", "Wall time: 987 ms\n3", "Wall time: 1.2 s\n4"),
    "%time's compiler": ("Compiler : 123 ms\n3\n", "3\n", "Compiler : gcc\n3\n"),
    "%timeit": (
        "25.6 µs ± 1.2 µs per loop (mean ± std. dev. of 7 runs, 10,000 loops each)\nx",
        "1min 3s ± 1.2 s per loop (mean ± std. dev. of 7 runs, 1 loop each)\nx",
        "25.6 µs ± 1.2 µs per loop (mean ± std. dev. of 7 runs, 10,000 loops each)\ny",
    ),
    "%timeit as it was": (
        "The slowest run took 5.30 times longer than the fastest. It may\n10 loops, best of 3: 2 µs per loop\nx",
        "100 loops, best of 3: 25.6 ms per loop\nx",
        "100 loops, best of 3: 25.6 ms per loop\ny",
    ),
    "%memit": (
        "peak memory: 123.45 MiB, increment: 0.01 MiB\nx",
        "peak memory: 99.00 MiB, increment: -0.50 MiB\nx",
        "peak memory: 123.45 MiB, increment: 0.01 MiB\ny",
    ),
    "Keras": (
        "5/5 [=====] - 12s 2ms/step - loss: 0.25",
        "5/5 [=====] - 0s 345us/step - loss: 0.25",
        "5/5 [=====] - 12s 2ms/step - loss: 0.26",
    ),
    "Keras in colours": (
        "\x1b[1m5/5\x1b[0m \x1b[1m0s\x1b[0m 44ms/step - loss: 0.25",
        "\x1b[1m5/5\x1b[0m \x1b[1m1s\x1b[0m 52ms/step - loss: 0.25",
        "\x1b[1m4/5\x1b[0m \x1b[1m0s\x1b[0m 44ms/step - loss: 0.25",
    ),
    "progress": (" 10%|#    | 1/10 [00:00<00:01, 7.1it/s]\nx", "x", " 10%|#    | 1/10 [00:00<00:01, 7.1it/s]\ny"),
    "font cache": ("Matplotlib is building the font cache; this may take a moment.\nx", "x", "y"),
    "IProgress": (
        TQDM.format("/home/me/.venv/lib/python3.11/site-packages") + "UserWarning: x\n",
        TQDM.format("C:\\Users\\me\\lib\\site-packages").replace(".auto", "tqdm.auto") + "UserWarning: x\n",
        TQDM.format("/home/me/.venv/lib/python3.11/site-packages") + "UserWarning: y\n",
    ),
    "IProgress, not there": (TQDM.format("/opt") + "  from . import a\n", "  from . import a\n", "  from . import b\n"),
    "scikit-learn": (
        '<style>#sk-container-id-3 div.sk-item {color: red;}</style><div id="sk-container-id-3">A</div>',
        '<style>#sk-container-id-14 div.sk-item {color: red;}</style><div id="sk-container-id-14">A</div>',
        '<style>#sk-container-id-3 div.sk-item {color: red;}</style><div id="sk-container-id-3">B</div>',
    ),
    "scikit-learn as it was": (
        f'<style>#sk-{U1} pre{{}}</style><div id="sk-{U1}"><input id="{U1}"><label for="{U1}">A</label>',
        f'<style>#sk-{U2} pre{{}}</style><div id="sk-{U2}"><input id="{U2}"><label for="{U2}">A</label>',
        f'<style>#sk-{U1} pre{{}}</style><div id="sk-{U1}"><input id="{U1}"><label for="{U1}">B</label>',
    ),
    "plotly": (
        f'<div id="{U1}" class="plotly-graph-div"></div>getElementById("{U1}") Plotly.newPlot(\n "{U1}", [1])',
        f'<div id="{U2}" class="plotly-graph-div"></div>getElementById("{U2}") Plotly.newPlot(\n "{U2}", [1])',
        f'<div id="{U1}" class="plotly-graph-div"></div>getElementById("{U1}") Plotly.newPlot(\n "{U1}", [2])',
    ),
    "a UUID of the data": (f"['{U1}']", f"['{U1}']", f"['{U2}']"),
    "altair": (f'<div id="altair-viz-{"a1" * 16}"></div>', f'<div id="altair-viz-{"b2" * 16}"></div>', "<div></div>"),
    "pandas' styles": (
        '#T_d0b69_row0_col0 {color: red;}<table id="T_d0b69"><th id="T_d0b69_level0_col0" >a</th>',
        '#T_12345_row0_col0 {color: red;}<table id="T_12345"><th id="T_12345_level0_col0" >a</th>',
        '#T_d0b69_row0_col1 {color: red;}<table id="T_d0b69"><th id="T_d0b69_level0_col0" >a</th>',
    ),
    "a name as of pandas' styles": ("T_d0b69 1", "T_d0b69 1", "T_d0b68 1"),
    "SVG": (
        '<clipPath id="pac4add62cd"><use href="#mf399128367" style="fill: #1f77b4"/>',
        '<clipPath id="p0c4add62c0"><use href="#m0399128360" style="fill: #1f77b4"/>',
        '<clipPath id="pac4add62cd"><use href="#mf399128367" style="fill: #ff7f0e"/>',
    ),
    "a warning's path": (
        "/home/me/.venv/lib/python3.11/site-packages/sklearn/base.py:432: UserWarning: x",
        "C:\\conda\\lib\\site-packages/sklearn/base.py:432: UserWarning: x",
        "/home/me/.venv/lib/python3.11/site-packages/sklearn/base.py:432: FutureWarning: x",
    ),
    "a module's path": (
        "<module 'json' from '/usr/lib/python3.11/json/__init__.py'>",
        "<module 'json' from '/opt/python/lib/python3.12/json/__init__.py'>",
        "<module 'json' from '/usr/lib/python3.11/ujson/__init__.py'>",
    ),
    "pip": (
        "Requirement already satisfied: numpy in /a/lib/python3.11/site-packages (2.1)",
        "Requirement already satisfied: numpy in /b/lib/python3.12/site-packages (2.1)",
        "Requirement already satisfied: numpy in /a/lib/python3.11/site-packages (2.2)",
    ),
    "a cell's warning": (
        "ipykernel_1234/567.py:1: DeprecationWarning: x",
        "ipykernel_99/567.py:1: DeprecationWarning: x",
        "ipykernel_1234/567.py:1: DeprecationWarning: y",
    ),
    "temporary": ("/tmp/tmpa1b2/x.csv: 3 rows", "/tmp/tmpz9y8/x.csv: 3 rows", "/tmp/tmpa1b2/x.csv: 4 rows"),
}


def html(text: str) -> list[Any]:
    return [{"output_type": "display_data", "metadata": {}, "data": {"text/html": text}}]


def stream(text: str, name: str = "stderr") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


def same(one: str, other: str, patterns: dict[str, str]) -> bool:
    return all(
        by_kind(quiet(make(one), patterns)) == by_kind(quiet(make(other), patterns))
        for make in (html, lambda text: [stream(text)])
    )


@pytest.mark.parametrize("case", CASES)
def test_what_is_another_each_time_does_not_count_and_what_is_beside_it_does(case: str) -> None:
    one, again, other = CASES[case]
    patterns = sanitizers(ROOT, [])
    assert same(one, again, patterns)
    assert other is None or not same(one, other, patterns)


@pytest.mark.parametrize("number", range(len(comparing._ALWAYS)))
def test_every_pattern_has_a_case_that_needs_it(number: int) -> None:
    patterns = sanitizers(ROOT, [])
    del patterns[comparing._ALWAYS[number][0]]
    assert not all(same(one, again, patterns) for one, again, _ in CASES.values())


def test_a_stream_of_nothing_that_counts_is_as_none() -> None:
    patterns = sanitizers(ROOT, [])
    warning, printed = stream(TQDM.format("/opt/lib")), stream("3\n", "stdout")
    assert by_kind(quiet([warning, printed], patterns)) == by_kind(quiet([printed], patterns)) == {"stdout": ["3\n"]}


def test_pictures_and_widgets_are_not_compared_and_the_rest_of_data_is() -> None:
    view = "application/vnd.jupyter.widget-view+json"
    data = {"image/png": "aaaa", view: {"model_id": "a"}, "text/plain": "x", "application/json": {"metadata": 1}}
    output = {"output_type": "display_data", "metadata": {"a": 1}, "data": data}
    assert by_kind(quiet([output], {})) == {"text/plain": ["x"], "application/json": [{"metadata": 1}]}
    assert output["data"] is data


def test_numbers_are_close_beside_what_does_not_count() -> None:
    patterns = sanitizers(ROOT, [])
    one, other = (quiet(html(f"A at 0x7f05a010684{n}: 1.000000{n}"), patterns) for n in (1, 2))
    assert by_kind(align(other, one, 1e-3)) == by_kind(one)


def test_a_long_text_without_spaces_takes_no_time() -> None:
    text = "data:image/png;base64," + "iVBOR/w0KGgo+AAA" * 60_000
    assert by_kind(quiet(html(text), sanitizers(ROOT, []))) == {"text/html": [text]}


def test_what_is_installed_writes_what_the_patterns_say(tmp_path: Path) -> None:
    import io

    import pandas as pd
    from matplotlib.figure import Figure
    from sklearn.linear_model import LogisticRegression

    def drawn() -> str:
        figure, picture = Figure(), io.StringIO()
        axes = figure.subplots()
        axes.plot([1, 2], marker="o")
        axes.imshow([[1, 2], [2, 3]])
        axes.bar([1], [2], hatch="/")
        axes.scatter([1, 2], [2, 3], c=[1, 2])
        figure.savefig(picture, format="svg")
        return picture.getvalue()

    def listed(time: float) -> str:
        os.utime(tmp_path / "a.csv", (time, time))
        os.utime(tmp_path, (time, time))
        return subprocess.run(["ls", "-l"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    (tmp_path / "a.csv").write_text("a")
    kept = [object(), object()]
    pairs = [
        (drawn(), drawn()),
        (listed(1e9), listed(1.7e9)),
        tuple(pd.DataFrame({"a": [1]}).style.highlight_max().to_html() for _ in kept),
        tuple(LogisticRegression(random_state=one)._repr_html_() for one in kept),
        tuple(pd.DataFrame({"a": [one]}).to_html() for one in kept),
    ]
    patterns = sanitizers(ROOT, [])
    for one, other in pairs:
        assert one != other
        assert same(one, other, patterns)


def test_the_test_verb_compares_so(project: Path) -> None:
    line = "-rw-r--r-- 1 root root  1234 {0} {1}"
    path = stored(
        project / "notebooks/a.ipynb",
        (f"print({line.format('Nov 27  2023', 'a.csv')!r})", line.format("Nov 27 18:45", "a.csv") + "\n"),
        (f"print({line.format('Nov 27  2023', 'a.csv')!r})", line.format("Nov 27 18:45", "b.csv") + "\n"),
        ("x = 1", ""),
        ("print(1)", "1\n"),
    )
    whole = json.loads(path.read_text())
    for number in (2, 3):
        whole["cells"][number]["outputs"] += [stream(TQDM.format("/usr/lib/python3/dist-packages"))]
    path.write_text(json.dumps(whole, indent=1))
    told = json.loads(verb(project, "--json").stdout)
    failed = [one["cell"] for one in told["cells"] if one["outcome"] == "failed"]
    assert failed == ["cell 2"], told
