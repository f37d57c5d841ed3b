"""Whether every test must run, as in `.ci/run`: one that cannot fails then, instead of being skipped."""

from __future__ import annotations

import os

__all__ = ["EVERYTHING"]

# As the caller set it: conftest.py takes it away from every test.
EVERYTHING = bool(os.environ.get("KALEYARD_TEST_EVERYTHING"))
