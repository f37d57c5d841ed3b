from __future__ import annotations

from pathlib import Path

from notebook_builder import reading


def test_the_packages_behind_a_value_go_back_through_the_steps(tmp_path: Path) -> None:
    read = reading(
        tmp_path,
        ("import json\nimport math\nfrom decimal import Decimal", "imports"),
        ("def up(x): return math.ceil(x)", "functions"),
        ("a = Decimal(1)\nother = json.dumps(1)", "step:a"),
        ("b = up(a)", "step:b"),
        ("c = b\nd = 1", "step:c"),
    )
    assert read.origins.modules("a", "a") == {"decimal"}
    assert read.origins.modules("c", "c") == {"decimal", "math"}
    assert read.origins.modules("c", "d") == set()
