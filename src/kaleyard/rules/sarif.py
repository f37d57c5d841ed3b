"""Findings in SARIF 2.1.0, the format that code hosts display.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kaleyard.rules.checker import RULES
from kaleyard.rules.findings import Finding

__all__ = ["sarif"]

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(findings: Iterable[Finding]) -> dict[str, Any]:
    """A SARIF document with all rules and these findings; the same findings give the same document.

    The lines of a notebook file are not those of its cells, so a location is the notebook, the cell and the step;
    the line within the cell is in the result's properties.
    """
    index = {code: number for number, code in enumerate(RULES)}
    rules = [
        {
            "id": code,
            "name": rule.__name__,
            "shortDescription": {"text": rule.title},
            "help": {"text": rule.advice()},
            "defaultConfiguration": {"level": rule.severity},
        }
        for code, rule in RULES.items()
    ]
    driver = {"name": "kaleyard", "rules": rules}
    results = [_result(f, index[f.code]) for f in findings]
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _result(finding: Finding, index: int) -> dict[str, Any]:
    place = finding.place
    logical = []
    if place.step:
        logical.append({"name": place.step, "kind": "function", "fullyQualifiedName": f"step:{place.step}"})
    if place.cell:
        logical.append({"name": f"cell {place.cell}", "kind": "module", "fullyQualifiedName": f"cell:{place.cell}"})
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": _uri(place.notebook or "")}}}
    location |= {"logicalLocations": logical} if logical else {}
    properties = {k: v for k, v in (("cell", place.cell), ("line", finding.line), ("step", place.step)) if v}
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": finding.severity,
        "message": {"text": f"{_where(finding)}{finding.what}. {finding.advice}"},
        "locations": [location],
        "properties": properties,
    }
    if finding.disabled:
        kind = "inSource" if "cell" in finding.disabled else "external"
        result["suppressions"] = [{"kind": kind, "justification": f"disabled by {finding.disabled}"}]
    return result


def _where(finding: Finding) -> str:
    parts = [f"cell {finding.place.cell}"] if finding.place.cell else []
    parts += [f"step {finding.place.step}"] if finding.place.step else []
    return f"{', '.join(parts)}: " if parts else ""


def _uri(path: str) -> str:
    from urllib.parse import quote

    return quote(path, safe="/")
