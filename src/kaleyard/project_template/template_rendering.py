"""The template with its questions answered: cookiecutter's own questions and rendering, and no trace outside."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kaleyard.errors import ProjectError, UsageError

__all__ = ["questions", "render"]

_Questions = dict[str, Any]


def questions(template: Path) -> _Questions:
    """The template's questions with their default answers; a list holds the possible answers, the default first.

    Raises ProjectError for a folder that is no template.
    """
    try:
        defaults: _Questions = json.loads((template / "cookiecutter.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ProjectError(f"{template} holds no project template: {error}") from error
    return {name: default for name, default in defaults.items() if not name.startswith("_")}


def render(template: Path, answers: Mapping[str, str], folder: Path, *, ask: bool = False, hooks: bool = True) -> Path:
    """A project in `folder`, in a folder of its own there; its path.

    `ask` asks each question on the terminal, with its answer in `answers` or else the template's as default. The
    template's `hooks` refuse answers that make no project (UsageError), and add Kaleyard's wheel.
    """
    from cookiecutter.exceptions import CookiecutterException
    from cookiecutter.generate import generate_context, generate_files
    from cookiecutter.prompt import prompt_for_config

    logging.getLogger("cookiecutter").addHandler(logging.NullHandler())  # it would print the traceback of a refusal
    _refuse_unknown(questions(template), answers)
    context = generate_context(str(template / "cookiecutter.json"), extra_context=dict(answers))
    context["cookiecutter"] = prompt_for_config(context, no_input=not ask)
    context["cookiecutter"] |= {"_template": str(template), "_repo_dir": str(template)}
    try:
        return Path(generate_files(str(template), context, str(folder), accept_hooks=hooks))
    except CookiecutterException as error:
        raise UsageError("these answers make no project", fix="Answer as the lines above say.") from error


def _refuse_unknown(known: _Questions, answers: Mapping[str, str]) -> None:
    for name, answer in answers.items():
        if name not in known:
            raise UsageError(f"the template does not ask for {name!r}", fix=f"It asks for {', '.join(known)}.")
        if isinstance(known[name], list) and answer not in known[name]:
            raise UsageError(f"{name} cannot be {answer!r}", fix=f"Choose one of {', '.join(known[name])}.")
