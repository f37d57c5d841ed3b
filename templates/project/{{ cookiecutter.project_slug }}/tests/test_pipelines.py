"""Every notebook of the project as a pipeline: it reads without a finding, and runs to its end."""

from pathlib import Path

import kaleyard
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_rules_have_nothing_to_say(notebook: Path) -> None:
    assert kaleyard.check(notebook) == []


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_pipeline_runs_to_its_end(notebook: Path) -> None:
    run = kaleyard.run(notebook)
    assert run.state == "done"
    assert run.metrics
