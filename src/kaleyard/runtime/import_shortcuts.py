"""Slow imports that Kaleyard skips."""

from __future__ import annotations

import sys

__all__ = ["skip_iri_grammar"]


def skip_iri_grammar() -> None:
    """Keep jsonschema, which nbformat imports, from building a grammar for IRIs, which takes most of a second.

    The grammar is installed with JupyterLab, not in a step's image; notebooks have no IRIs to check.
    """
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
