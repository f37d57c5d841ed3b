"""An executed notebook as a page: everything the user made, nothing that runs, nothing from elsewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from bs4 import BeautifulSoup
from nbclient.exceptions import DeadKernelError

from kaleyard.runtime.notebook_page import write_page

Soup = Any


def code(source: str = "1", *outputs: Any, role: str = "user", cell: int | None = None, **metadata: Any) -> Any:
    ours = {"role": role, **({"cell": cell} if cell else {})}
    made = nbformat.v4.new_code_cell(source, metadata={"kaleyard": ours, **metadata})
    made.outputs = list(outputs)
    return made


def stream(text: str, name: str = "stdout") -> Any:
    return nbformat.v4.new_output("stream", name=name, text=text)


def shown(**data: str) -> Any:
    return nbformat.v4.new_output("display_data", data={k.replace("_", "/"): v for k, v in data.items()})


def raised(ename: str = "ValueError", evalue: str = "no rows") -> Any:
    return nbformat.v4.new_output(
        "error", ename=ename, evalue=evalue, traceback=[f"\x1b[0;31m{ename}\x1b[0m: {evalue}"]
    )


def page_of(folder: Path, *cells: Any, **metadata: Any) -> Soup:
    source, target = folder / "step.ipynb", folder / "page.html"
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells), metadata=metadata), source)
    write_page(source, target, "pipeline · step")
    return BeautifulSoup(target.read_text("utf-8"), "html.parser")


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A notebook that papermill really ran, up to a cell that raises."""
    folder = tmp_path_factory.mktemp("executed")
    cells = [
        code("rows = 3", role="parameters", cell=2, tags=["parameters"]),
        code("import pandas as pd\n%matplotlib inline\nimport matplotlib.pyplot as plt", role="setup", cell=1),
        code("frame = pd.DataFrame({'bill': range(rows)})\nframe", cell=4),
        code("plt.plot(frame.bill); plt.show()", cell=5),
        code("def check(frame):\n    raise ValueError('<b>no rows</b>')\ncheck(frame)", cell=6),
        code("'never'", cell=7),
    ]
    book = nbformat.v4.new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    nbformat.write(book, folder / "in.ipynb")
    with pytest.raises(papermill.PapermillExecutionError):
        papermill.execute_notebook(
            str(folder / "in.ipynb"), str(folder / "out.ipynb"), parameters={"rows": 5}, progress_bar=False
        )
    return folder / "out.ipynb"


def test_a_failed_notebook_leads_from_its_banner_to_the_cell(executed: Path, tmp_path: Path) -> None:
    write_page(executed, tmp_path / "page.html", "penguins · train")
    page: Soup = BeautifulSoup((tmp_path / "page.html").read_text("utf-8"), "html.parser")
    banner = page.find("aside")
    assert banner.get_text().startswith("Cell 6 raised ValueError. <b>no rows</b>")
    cell = page.find(id=banner.a["href"][1:])
    assert "failed" in cell["class"]
    assert "def check" in cell.get_text()
    assert cell.select(".raised .ansi-red-fg, .raised [style]")
    assert page.find(id="cell-7")["class"][-1] == "unrun"
    # Papermill's own marks are gone.
    assert "An Exception was encountered" not in page.get_text()
    assert not page.find(id="papermill-error-cell")


def test_a_page_shows_tables_pictures_and_the_parameters_of_the_run(executed: Path, tmp_path: Path) -> None:
    write_page(executed, tmp_path / "page.html", "penguins · train")
    page: Soup = BeautifulSoup((tmp_path / "page.html").read_text("utf-8"), "html.parser")
    assert page.h1.string == "penguins · train"
    assert len(page.find(id="cell-4").select("table.dataframe tbody tr")) == 5
    assert page.find(id="cell-5").img["src"].startswith("data:image/png;base64,iVBOR")
    labels = [label.find(string=True) for label in page.select(".label")]
    assert labels[:3] == ["Parameters", "Parameters of this run", "Cell 4"]
    assert "rows = 5" in page.get_text()


def test_cells_around_the_users_are_folded_unless_they_failed(tmp_path: Path) -> None:
    cells = [
        code("import a", role="setup", cell=1),
        code("load()", raised(), role="load"),
        code("mine", cell=3),
        code(role="save"),
    ]
    page = page_of(tmp_path, *cells)
    folded = page.find_all("details")
    assert [f.summary.b.string for f in folded] == ["Setup", "Load inputs", "Save outputs"]
    assert [f.has_attr("open") for f in folded] == [False, True, False]
    assert page.find("aside").strong.string == "Load inputs raised ValueError."
    assert page.find(id=page.find("aside").a["href"][1:]) == folded[1]


def test_cells_nobody_gave_a_role_are_numbered_as_jupyter_does(tmp_path: Path) -> None:
    injected = nbformat.v4.new_code_cell("rows = 5", metadata={"tags": ["injected-parameters"]})
    cells = [nbformat.v4.new_markdown_cell("# Title"), injected, nbformat.v4.new_code_cell("2")]
    labels = [label.get_text() for label in page_of(tmp_path, *cells).select(".label")]
    assert labels == ["Cell 1", "Parameters of this run", "Cell 2"]


def test_an_error_the_notebook_expects_is_no_failure(tmp_path: Path) -> None:
    page = page_of(tmp_path, code("1 / 0", raised("ZeroDivisionError"), cell=2, tags=["raises-exception"]))
    assert not page.find("aside")
    assert "failed" not in page.article["class"]
    assert "ZeroDivisionError" in page.get_text()


def test_no_text_of_a_notebook_becomes_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    error = nbformat.v4.new_output("error", ename=evil, evalue=evil, traceback=[evil])
    cells = [
        code(evil, stream(evil), stream(evil, "stderr"), shown(text_plain=evil), shown(text_latex=evil), error, cell=1)
    ]
    cells += [nbformat.v4.new_raw_cell(evil)]
    page = page_of(tmp_path, *cells, papermill={"start_time": evil})
    assert not page.find("script")
    assert page.get_text().count(evil) == 9  # seven in the cells, two in the banner


def test_html_of_the_user_is_kept_without_what_runs_or_lies_elsewhere(tmp_path: Path) -> None:
    evil = (
        '<b>kept</b><script src="https://cdn.example/x.js"></script><link href="//cdn.example/x.css"></div></article>'
    )
    evil += '<img src="https://example.org/a.png" alt="far"><img src="data:image/gif;base64,AA">'
    evil += '<iframe src="//example.org"></iframe><i>'
    cells = [
        code("a", shown(text_html=evil), cell=1),
        nbformat.v4.new_markdown_cell(f"*x*\n\n{evil}"),
        code("b", cell=3),
    ]
    page = page_of(tmp_path, *cells)
    text = (tmp_path / "page.html").read_text("utf-8")
    assert len(page.find_all("b")) == 2
    assert not page.find_all(["script", "iframe"])
    assert [i["src"] for i in page.find_all("img")] == ["data:image/gif;base64,AA"] * 2
    assert page.get_text().count("[external picture omitted: far]") == 2
    assert not re.search(r"(?:https?:)?//\w+\.(?:org|example)", text)
    # Half-open elements end with their cell.
    assert page.find(id="cell-3").parent.name == "main"
    assert "default-src 'none'" in page.find("meta", attrs={"http-equiv": True})["content"]


def test_what_only_a_script_could_draw_is_said_to_be_missing(tmp_path: Path) -> None:
    figure = '<div id="f"></div><script>draw("f")</script>'
    page = page_of(
        tmp_path, code("a", shown(text_html=figure)), code("b", shown(text_html=figure, text_plain="Figure()"))
    )
    assert "[not shown here: text/html]" in page.get_text()
    assert "Figure()" in page.get_text()


def test_the_richest_form_without_scripts_is_shown(tmp_path: Path) -> None:
    page = page_of(tmp_path, code("a", shown(text_plain="plain", image_png="QUJD", text_latex="$x$")))
    assert page.img["src"] == "data:image/png;base64,QUJD"
    assert "plain" not in page.find("article").get_text()


def test_a_very_long_output_keeps_its_head_and_tail_and_says_so(tmp_path: Path) -> None:
    long = "HEAD\n" + "x" * 3_000_000 + "\nTAIL"
    table = "<table>" + "<tr><td>1</td></tr>" * 100_000 + "</table>"
    page = page_of(tmp_path, code("a", stream(long), shown(text_html=table, text_plain="the table")), code("#" + long))
    assert (tmp_path / "page.html").stat().st_size < 2_500_000
    text = page.find("article").get_text()
    assert "HEAD" in text
    assert "TAIL" in text
    assert "2,000,010 characters omitted" in text
    assert "the table" in text


def test_streams_are_joined_and_progress_bars_show_their_end(tmp_path: Path) -> None:
    pieces = [stream(f"{n} ") for n in range(500)]
    page = page_of(tmp_path, code("a", *pieces, stream("\r 10%\r 50%\r100%\ndone\r\n", "stderr"), stream("last")))
    outputs = page.select(".output")
    assert [o["class"][1] for o in outputs] == ["text", "stderr", "text"]
    assert outputs[0].get_text().split() == [str(n) for n in range(500)]
    assert outputs[1].get_text().split() == ["100%", "done"]


def test_colours_of_long_outputs_are_kept_line_by_line(tmp_path: Path) -> None:
    page = page_of(tmp_path, code("a", stream("".join(f"\x1b[32mline\x1b[0m {n}\n" for n in range(5000)))))
    assert len(page.select(".ansi-green-fg")) == 5000
    assert "line 4999" in page.get_text()


def test_a_notebook_whose_kernel_was_killed_says_where(tmp_path: Path) -> None:
    cells = [code("a", papermill={"status": "completed", "duration": 61.2}, cell=3)]
    cells += [code("b", papermill={"status": "running"}, cell=4), code("c", papermill={"status": "pending"}, cell=5)]
    page = page_of(tmp_path, *cells, papermill={"start_time": "2025-11-23T22:44:10+00:00", "duration": None})
    assert page.find("aside").strong.string == "Cell 4 did not end."
    assert page.find("aside").a["href"] == "#cell-4"
    assert "1 min 1 s" in page.find(id="cell-3").get_text()
    assert "2025-11-23 22:44 UTC" in page.header.get_text()


def test_a_killed_kernel_is_seen_though_papermill_calls_every_cell_completed(tmp_path: Path) -> None:
    kill = "import os, time\nprint('going', flush=True)\ntime.sleep(0.3)\nos.kill(os.getpid(), 9)"
    cells = [code("1", cell=1), code(kill, cell=2), code("3", cell=3)]
    python = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": python}), tmp_path / "in.ipynb")
    with pytest.raises(DeadKernelError):
        papermill.execute_notebook(str(tmp_path / "in.ipynb"), str(tmp_path / "out.ipynb"), progress_bar=False)
    write_page(tmp_path / "out.ipynb", tmp_path / "page.html", "t")
    page: Soup = BeautifulSoup((tmp_path / "page.html").read_text("utf-8"), "html.parser")
    assert page.find("aside").strong.string == "Cell 2 did not end."
    assert [article["class"][2:] for article in page.select("article")] == [[], ["stopped"], ["unrun"]]
    assert "going" in page.find(id="cell-2").get_text()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        '{"cells": [',
        "[]",
        "{}",
        '{"nbformat": 4, "nbformat_minor": 5}',
        json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}),
        json.dumps({"nbformat": 4, "nbformat_minor": 2, "metadata": {}, "cells": [{"cell_type": "code"}]}),
        json.dumps({"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": []}),
    ],
)
def test_what_is_no_notebook_or_an_empty_one_still_gives_a_page(tmp_path: Path, text: str) -> None:
    (tmp_path / "n.ipynb").write_text(text)
    write_page(tmp_path / "n.ipynb", tmp_path / "p.html", "a title")
    assert "<h1>a title</h1>" in (tmp_path / "p.html").read_text()


def test_odd_but_valid_cells_are_shown(tmp_path: Path) -> None:
    odd = [
        code("a", stream("\ud83d half an emoji \x00"), nbformat.v4.new_output("execute_result", data={}), tags=["x"]),
        nbformat.v4.new_code_cell("b", metadata={"kaleyard": "text", "papermill": [], "tags": []}),
        nbformat.v4.new_code_cell("c", metadata={"kaleyard": {"role": ["x"], "cell": "7"}}),
        nbformat.v4.new_markdown_cell("<" * 3000 + "[" * 500 + "<![x", metadata={"kaleyard": {"cell": 1}}),
        nbformat.v4.new_markdown_cell(""),
        code("", shown(application_json="x"), cell=1),
        code("d", shown(text_html="<div>" * 3000), shown(text_html="<![x"), shown(text_markdown="**m**"), cell=1),
    ]
    book = nbformat.v4.new_notebook(cells=odd)
    (tmp_path / "n.ipynb").write_text(json.dumps(book))
    write_page(tmp_path / "n.ipynb", tmp_path / "p.html", "odd")
    page: Soup = BeautifulSoup((tmp_path / "p.html").read_text("utf-8"), "html.parser")
    assert len(page.select("article")) == 7
    anchors = [a["id"] for a in page.select("article")]
    assert len(set(anchors)) == 7


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    page_of(tmp_path, code("first"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["page.html", "step.ipynb"]
    with pytest.raises(OSError, match=r"step\.ipynb"):
        write_page(tmp_path / "step.ipynb", tmp_path / "step.ipynb" / "page.html", "t")
    with pytest.raises(FileNotFoundError):
        write_page(tmp_path / "missing.ipynb", tmp_path / "page.html", "t")
    assert "first" in (tmp_path / "page.html").read_text()


def test_equal_notebooks_give_equal_pages_that_need_no_network(executed: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_page(executed, tmp_path / name, "t")
    text = (tmp_path / "a").read_text("utf-8")
    assert text == (tmp_path / "b").read_text("utf-8")
    assert not re.findall(r"https?://", text)
    assert "mathjax" not in text.lower()


def test_the_page_names_the_users_notebook(tmp_path: Path) -> None:
    book = {
        "cells": [],
        "metadata": {"kaleyard": {"notebook": "notebooks/mine.ipynb"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    source = tmp_path / "executed.ipynb"
    source.write_text(json.dumps(book))
    write_page(source, tmp_path / "page.html", "p")
    assert "notebooks/mine.ipynb" in (tmp_path / "page.html").read_text()
