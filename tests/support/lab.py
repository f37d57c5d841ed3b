"""A real JupyterLab on loopback, and a real browser to see it with."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from everything import EVERYTHING
from waiting import until_it_answers

__all__ = ["Lab", "browser", "lab", "run_cell"]

# Nothing is fetched from anywhere, and no first-run page is in the way.
_FLAGS = (
    "--disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync"
).split()
_TRIES = 10
_SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "jupyterlab-kubeflow-kale/kale-settings": {"enableKaleByDefault": True},
}


class Lab:
    """A running JupyterLab: its address, and how to open a notebook of it."""

    def __init__(self, address: str, token: str) -> None:
        self.address, self._token = address, token

    def open(self, page: Page, notebook: str) -> None:
        """The notebook (a path below the server's root), its kernel ready, in an empty workspace."""
        # Kale's panel may tell in a dialog that no Kubeflow Pipelines answers; whoever clicks next closes it.
        page.add_locator_handler(page.locator(".jp-Dialog"), lambda dialog: dialog.locator("button").first.click())
        workspace = secrets.token_hex(4)
        page.goto(f"{self.address}/lab/workspaces/{workspace}/tree/{notebook}?token={self._token}")
        page.locator(".jp-Notebook .jp-Cell").first.wait_for()
        page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").first.wait_for()


@contextmanager
def lab(root: Path, home: Path, theme: str = "JupyterLab Light") -> Iterator[Lab]:
    """A JupyterLab that serves `root` in the colours of `theme`; what it keeps for itself lies in `home`."""
    for name, values in (_SETTINGS | {"@jupyterlab/apputils-extension/themes": {"theme": theme}}).items():
        path = home / "config" / "lab" / "user-settings" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    token = secrets.token_hex(16)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {k: v for k, v in os.environ.items() if not k.startswith(("KALEYARD_", "JUPYTER"))}
    folders = {f"JUPYTER_{kind.upper()}_DIR": str(home / kind) for kind in ("config", "data", "runtime")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}"]
    command += ["--allow-root", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={root}"]
    with (home / "lab.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=root, env=settings | folders | {"HOME": str(home)}, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        address = f"http://127.0.0.1:{port}"
        until_it_answers(f"{address}/api", lambda: process.poll() is None, (home / "lab.log").read_text)
        yield Lab(address, token)
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def browser() -> Iterator[Browser]:
    """A headless Chromium; where there is none the test is skipped; where every test must run it fails."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((found for found in map(shutil.which, names) if found), None)
    if program is None and EVERYTHING:
        pytest.fail("there is no Chromium: .ci/browser installs it", pytrace=False)
    if program is None:
        pytest.skip("there is no Chromium: install it (Debian: apt install chromium)")
    flags = [*_FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=flags)
        yield started
        started.close()


def run_cell(page: Page, number: int) -> Locator:
    """The cell of this number (from 1, all cells counted), as a person selects and runs it."""
    cell = page.locator(".jp-Notebook .jp-Cell").nth(number - 1)
    prompt = cell.locator(".jp-InputPrompt").first
    for _ in range(_TRIES):
        prompt.click()
        page.keyboard.press("Control+Enter")
        try:
            expect(prompt).not_to_have_text("[ ]:", timeout=5000)
        except AssertionError:
            continue  # a dialog took the key
        return cell
    raise AssertionError(f"cell {number} does not run")
