"""What is not worth importing."""

from __future__ import annotations

import sys

__all__ = ["skip_iri_grammar"]


def skip_iri_grammar() -> None:
    """Keep jsonschema, which nbformat imports, from building a grammar for IRIs: it takes most of a second.

    The grammar is there where JupyterLab is, and not in a step's image; no notebook has an IRI to check.
    """
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
