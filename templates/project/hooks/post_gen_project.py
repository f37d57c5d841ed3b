"""Kaleyard itself into the new project, and a note of what the project was made from."""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ANSWERS = json.loads({{ cookiecutter | jsonify | tojson }})
PUBLIC = {name: answer for name, answer in ANSWERS.items() if not name.startswith("_")}


def git(*words):
    """What git says, or nothing."""
    try:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def package_folder(template):
    """The folder to import kaleyard from: the checkout's src, or where kaleyard is installed."""
    checkout = template.parents[1] / "src"
    return checkout if (checkout / "kaleyard").is_dir() else template.parents[2]


def add_wheel(template):
    """This Kaleyard's wheel into wheels/."""
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(package_folder(template)))
    from kaleyard.project_template.wheel import write_wheel

    write_wheel(Path("wheels"))


def note_origin(template):
    """`.cruft.json`, as cruft writes it: the repository and the commit of the template, and the answers."""
    inside = ["-C", str(template)]
    top = git(*inside, "rev-parse", "--show-toplevel")
    # Installed beside other things, in somebody else's repository: that one is not the template's.
    ours = bool(top) and Path(top) / "templates" / "project" == template
    origin = re.sub(r"^([a-z+]+://)[^/@]*@", r"\1", git(*inside, "remote", "get-url", "origin"))  # no password in files
    note = {
        "template": origin or top if ours else "",
        "commit": git(*inside, "rev-parse", "HEAD") if ours else "",
        "checkout": None,
        "context": {"cookiecutter": PUBLIC},
        "directory": "templates/project",
    }
    Path(".cruft.json").write_text(json.dumps(note, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if "_repo_dir" in ANSWERS:
    here = Path(ANSWERS["_repo_dir"]).resolve()
    add_wheel(here)
    note_origin(here)
else:  # cruft does not say where it keeps the template, and makes its note itself
    with tempfile.TemporaryDirectory() as folder:
        clone = ["clone", "--quiet", "--no-checkout", "--", ANSWERS["_template"], folder]
        subprocess.run(["git", *clone], check=True)
        subprocess.run(["git", "-C", folder, "checkout", "--quiet", ANSWERS["_commit"]], check=True)
        add_wheel(Path(folder).resolve() / "templates" / "project")
