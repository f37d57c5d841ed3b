"""`python -m kaleyard`."""

from __future__ import annotations

from kaleyard.cli import main

if __name__ == "__main__":
    main()
