"""The lock of new projects: out of this repository's, what the template's pyproject.toml and Kaleyard itself need.

python templates/project_lock.py [--check]
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from kaleyard.compiler.lockfile import Lock
from kaleyard.installed_packages import normal_name

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parent
PROJECT = _HERE / "project" / "{{ cookiecutter.project_slug }}"


def wanted() -> set[str]:
    """The distributions that a new project asks for, itself or through Kaleyard."""
    text = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    asked = re.findall(r"^(?:dependencies|dev) = \[(.*?)\]", text, re.DOTALL | re.MULTILINE)
    own = [name for group in asked for name in tomllib.loads(f"names = [{group}]")["names"]]
    kaleyard = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    return {normal_name(Requirement(line).name) for line in own + kaleyard} - {"kaleyard"}


def project_lock() -> str:
    """The text of the new project's requirements.lock: entries and hashes as in this repository's, byte for byte."""
    path = _ROOT / "requirements.lock"
    kept = {entry.name for entry in Lock.read(path).closure(wanted())}
    blocks = re.split(r"^(?=[a-z0-9])", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    named = ((normal_name(re.split(r"[=\[ ;]", block, maxsplit=1)[0]), block) for block in blocks if block)
    return "".join(_only(block, kept) for name, block in named if name in kept)


def _only(block: str, kept: set[str]) -> str:
    """An entry with those of its `# via` names that are in the new lock."""
    entry, _, via = block.partition("    # via")
    names = (name.strip(" #") for name in via.splitlines())
    parents = [name.replace(" (pyproject.toml)", "") for name in names if name]
    parents = [name for name in parents if normal_name(name) in {*kept, "kaleyard"}]
    if len(parents) == 1:
        return f"{entry}    # via {parents[0]}\n"
    return entry + "    # via\n" + "".join(f"    #   {name}\n" for name in parents)


if __name__ == "__main__":
    target = PROJECT / "requirements.lock"
    fresh = project_lock()
    if "--check" in sys.argv[1:]:
        sys.exit(target.read_text(encoding="utf-8") != fresh)
    target.write_text(fresh, encoding="utf-8")
