"""JupyterLab in a real browser: Kale's panel with our steps, and `%kaleyard` as people see it.

`KALEYARD_SCREENSHOTS=1 pytest tests/jupyter/test_jupyterlab.py` also makes docs/jupyterlab.png anew.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from kaleyard.config import find_project
from lab import Lab, browser, lab, run_cell
from notebook_builder import notebook_bytes

pytestmark = pytest.mark.browser

_SCREENSHOTS = os.environ.get("KALEYARD_SCREENSHOTS")
_PATIENCE = 120_000.0  # milliseconds
_COMMANDS = ("%load_ext kaleyard\n%kaleyard check", "%kaleyard show", "%kaleyard run")
_KALE = "jupyterlab-kubeflow-kale/kubeflowDeployment"


@pytest.fixture(scope="module")
def root(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference project, with our commands below its first cell, and a notebook with a mistake far down."""
    root = tmp_path_factory.mktemp("reference")
    shutil.copytree(repository / "notebooks", root / "notebooks")
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(repository / name, root)
    housing = root / "notebooks" / "housing.ipynb"
    data = json.loads(housing.read_text())
    data["cells"][1:1] = with_ids(notebook_bytes(*((source, "skip") for source in _COMMANDS)))
    housing.write_text(json.dumps(data))
    cells = [(f"x{n} = {n}\nprint(x{n})", "step:" + "abcdefghijklmnop"[n]) for n in range(16)]
    wrong = json.loads(notebook_bytes((_COMMANDS[0], "skip"), *cells, ("print(missing)", "step:last")))
    wrong["metadata"] = data["metadata"] | {"kubeflow_notebook": {}}
    wrong["cells"] = with_ids(json.dumps(wrong).encode())
    (root / "notebooks" / "wrong.ipynb").write_text(json.dumps(wrong))
    return root


def with_ids(data: bytes) -> list[dict[str, object]]:
    return [cell | {"id": f"cell-{n}"} for n, cell in enumerate(json.loads(data)["cells"], 1)]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def server(root: Path, chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab(root, tmp_path_factory.mktemp("lab")) as started:
        yield started


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    with chromium.new_context(viewport={"width": 1440, "height": 900}) as context:
        context.set_default_timeout(_PATIENCE)
        expect.set_options(timeout=_PATIENCE)
        yield context.new_page()


def colour(page: Page, selector: str, name: str) -> list[int]:
    """A colour of the first such element, as red, green and blue."""
    script = "([selector, name]) => getComputedStyle(document.querySelector(selector))[name]"
    told = page.evaluate(script, [selector, name])
    return [int(n) for n in re.findall(r"\d+", told)[:3]]


def test_kales_panel_shows_our_pipeline_and_the_step_of_each_cell(server: Lab, page: Page) -> None:
    server.open(page, "notebooks/housing.ipynb")
    page.locator(f'[data-id="{_KALE}"]').click()
    panel = page.locator(f'[id="{_KALE}"]')
    expect(panel.get_by_label("Pipeline Name")).to_have_value("housing")
    chips = page.locator(".kale-inline-cell-metadata .kale-chip")
    for tag in ("imports", "functions", "skip"):
        expect(chips.filter(has_text=tag).first).to_be_attached()
    for step in ("preprocess", "train", "test", "deploy"):
        expect(chips.filter(has_text=re.compile(rf"^\W*(step: ?)?{step}$")).first).to_be_attached()


def test_the_magics_check_show_and_run_the_notebook_they_stand_in(server: Lab, root: Path, page: Page) -> None:
    server.open(page, "notebooks/housing.ipynb")
    expect(run_cell(page, 2).locator(".kyo")).to_have_text(re.compile("no findings"))
    graph = run_cell(page, 3).locator(".kyo svg")
    for step in ("preprocess", "train", "test", "deploy"):
        expect(graph.get_by_text(step, exact=True)).to_be_visible()
    cell = run_cell(page, 4)
    expect(cell.locator("td .state.running").first).to_be_visible()
    expect(cell.locator("td .state.done")).to_have_count(4)
    expect(cell).to_contain_text(re.compile(r"r2 = 0\.\d+, rmse = \d+"))
    assert cell.locator("td").first.evaluate("e => getComputedStyle(e).textAlign") == "left"
    if _SCREENSHOTS:
        page.locator(f'[data-id="{_KALE}"]').click()
        cell.locator(".jp-InputPrompt").first.scroll_into_view_if_needed()
        cell.evaluate("e => e.scrollIntoView({block: 'start'})")
        page.mouse.move(0, 0)
        page.screenshot(path=Path(__file__).parents[2] / "docs" / "jupyterlab.png")
    link = cell.get_by_role("link", name="index.html")
    link.click()
    report = page.frame_locator(".jp-HTMLViewer iframe")
    expect(report.get_by_role("heading", name="housing")).to_be_visible()
    assert list(find_project(root).runs_folder.glob("housing/*/index.html"))


def test_a_finding_leads_to_its_cell(server: Lab, page: Page) -> None:
    server.open(page, "notebooks/wrong.ipynb")
    cell = run_cell(page, 1)
    expect(cell.locator(".kyo")).to_contain_text("KY201")
    expect(cell).to_contain_text("error: there are findings")
    expect(cell).not_to_contain_text("Traceback")
    wrong = page.locator(".jp-Notebook .jp-Cell").nth(17)
    expect(wrong).not_to_be_in_viewport()
    cell.get_by_role("link", name="cell 18").click()
    expect(wrong).to_be_in_viewport()


def test_in_a_dark_theme_all_is_light_on_dark(root: Path, chromium: Browser, page: Page, tmp_path: Path) -> None:
    with lab(root, tmp_path, "JupyterLab Dark") as server:
        server.open(page, "notebooks/housing.ipynb")
        run_cell(page, 2)
        run_cell(page, 3).locator(".kyo svg").wait_for()
        for selector, name in ((".kyo", "color"), (".kyo svg .name", "fill")):
            assert min(colour(page, selector, name)) > 150, selector
        assert max(colour(page, ".kyo svg .back", "fill")) < 60
