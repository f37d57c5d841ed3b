"""The how-to pages: every command in them is tried.

A block says by its info string what it needs. `console`: nothing, so it is executed as it stands, with the real
kaleyard and kubectl. `console cluster`: a cluster; it is executed too, with stand-ins for what makes and speaks to one
(cluster_scripts/stand-ins/tool), so that what the page says to type is at least what the scripts take. `console cluster
live`: it would not end, or prove nothing there. `console install`: it changes the machine. Their form is checked.
"""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from cluster_tools import program
from kaleyard.cli import cli
from kaleyard.compatibility import compatibility, value

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "how-to").glob("cluster-*.md"))
STAND_INS = ROOT / "tests" / "cluster_scripts" / "stand-ins"
BLOCK = re.compile(r"^```console *([a-z ]*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    page: str
    kind: str
    commands: tuple[str, ...]


def blocks(page: Path) -> list[Block]:
    found = []
    for kind, body in BLOCK.findall(page.read_text()):
        lines = body.splitlines()
        assert all(line.startswith("$ ") for line in lines), f"{page.name}: {body}"
        found.append(Block(page.name, kind.strip(), tuple(line[2:] for line in lines)))
    return found


BLOCKS = [b for page in PAGES for b in blocks(page)]


def commands(*kinds: str) -> list[str]:
    return [c for b in BLOCKS if b.kind in kinds for c in b.commands]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place like a clone with its environment made; nothing that is typed there reaches a cluster."""
    place = tmp_path / "clone"
    place.mkdir()
    for name in ("templates", "notebooks", "pyproject.toml", "Makefile"):
        (place / name).symlink_to(ROOT / name)
    (place / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / "state").mkdir()
    monkeypatch.setenv("STATE", str(tmp_path / "state"))
    monkeypatch.setenv("REAL_KALEYARD", str(Path(sys.executable).with_name("kaleyard")))
    monkeypatch.setenv("KALEYARD_PAUSE", "0.1")
    monkeypatch.setenv("KALEYARD", str(STAND_INS / "kaleyard"))
    monkeypatch.setenv("PATH", f"{STAND_INS}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(place)
    return place


def test_there_is_a_page_for_each_way_and_every_block_is_of_a_known_kind() -> None:
    names = {p.stem.removeprefix("cluster-") for p in PAGES}
    assert names == {"kind", "minikube", "k3d", "microk8s", "cloud", "airgapped"}
    assert {b.kind for b in BLOCKS} == {"", "cluster", "cluster live", "install"}
    for page in PAGES:
        assert "console" in page.read_text()


@pytest.mark.parametrize("command", sorted(set(commands(""))))
def test_a_command_that_needs_no_cluster_does_what_it_says(
    command: str, bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if command.startswith("kubectl"):
        monkeypatch.setenv("REAL_KUBECTL", program("kubectl"))
    (bench / ".venv" / "bin" / "kaleyard").symlink_to(Path(sys.executable).with_name("kaleyard"))
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    # Whether this machine is large enough for a cluster is not what is tested.
    allowed = {0, 4} if "doctor --for" in command else {0}
    assert done.returncode in allowed, done.stdout + done.stderr
    assert done.stdout
    if "doctor --for" in command:
        assert f"needed for {command.rsplit(maxsplit=1)[-1]}:" in done.stdout
        assert " missing " not in done.stdout.partition("not needed")[0]


@pytest.mark.parametrize("page", sorted({b.page for b in BLOCKS}))
def test_a_page_from_top_to_bottom_is_what_the_scripts_take(page: str, bench: Path) -> None:
    (bench / ".venv" / "bin" / "kaleyard").symlink_to(STAND_INS / "kaleyard")
    # Rendering what others make needs the network: the stand-in for kubectl gives this instead.
    (Path(os.environ["STATE"]) / "rendered").write_text("image: mysql:8.4\n")
    lines = [c for b in BLOCKS if b.page == page and b.kind == "cluster" for c in b.commands]
    done = subprocess.run(["bash", "-euc", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", sorted(set(commands("cluster", "cluster live", "install", ""))))
def test_every_command_is_one_there_is(command: str) -> None:
    words = shlex.split(command)
    words = words[1:] if words[0] == "sudo" else words
    if words[0] == "make":
        assert re.search(rf"(?m)^{words[1]}:", (ROOT / "Makefile").read_text())
    elif words[0].startswith("templates/"):
        assert os.access(ROOT / words[0], os.X_OK)
    elif words[0].endswith("/kaleyard"):
        assert words[0] == ".venv/bin/kaleyard"
        found = cli.get_command(click.Context(cli), words[1])
        assert found is not None
        found.make_context(words[1], words[2:])
    else:
        known = "apt-get curl export install kubectl newgrp snap usermod"
        assert words[0] in known.split(), command


def test_versions_on_the_pages_are_those_of_the_matrix() -> None:
    text = "".join(p.read_text() for p in PAGES)
    assert set(re.findall(r"kind\.sigs\.k8s\.io/dl/v([0-9.]+)/", text)) == {value("tools.kind.minimum")}
    (kubectl,) = set(re.findall(r"dl\.k8s\.io/release/(v[0-9.]+)/", text))
    assert f"node:{kubectl}@" in value("ways.kind.image")
    size = compatibility()["machine"]["cluster"]["recommended"]
    told = re.search(r"(\d+) processors, (\d+) GiB of memory and (\d+) GiB of free disk", text)
    assert told
    assert [int(n) for n in told.groups()] == [size["cores"], size["memory"], size["disk"]]


def test_the_page_of_what_fits_is_what_the_matrix_says() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "compatibility.py"))["compatibility_page"]()
    assert (ROOT / "docs" / "how-to" / "what-fits.md").read_text() == page


def test_links_of_the_pages_lead_somewhere() -> None:
    pages = list((ROOT / "docs" / "how-to").glob("*.md"))
    anchors = {p.name: {_anchor(h) for h in re.findall(r"(?m)^#+ (.*)$", p.read_text())} for p in pages}
    for page in pages:
        for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
            if "://" in target:
                continue
            name = target or page.name
            assert (page.parent / name).exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors[Path(name).name], f"{page.name}: #{anchor}"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
