"""The folder an image is built from."""

from __future__ import annotations

import shutil
from pathlib import Path

from kaleyard.compiler.content_key import project_files, runner_files
from kaleyard.compiler.image_recipe import ImageRecipe
from kaleyard.config import Project
from kaleyard.errors import ExternalError

__all__ = ["write_context"]


def write_context(recipe: ImageRecipe, project: Project, folder: Path) -> None:
    """Write all that the Dockerfile copies into an empty `folder`; see the Dockerfile's first lines.

    Times do not matter: builders look at contents, and `layer.py` gives every file the same.
    """
    texts = {
        "Dockerfile": recipe.dockerfile,
        "layer.py": recipe.layer_script,
        "step.ipynb": recipe.notebook,
    } | {f"packages/{layer}.txt": text.encode() for layer, text in recipe.packages.items()}
    files = runner_files() | {f"project/{name}": project.root / name for name, _ in project_files(recipe.step, project)}
    try:
        (folder / "project").mkdir()
        for name, data in texts.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)
        for name, path in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / name)
    except OSError as error:
        raise ExternalError(
            f"{error.filename} cannot be copied for the build: {error.strerror}",
            place=recipe.place,
        ) from error
