"""Whether the answers make a project: cookiecutter runs this before it writes a file, and writes none if it fails."""

import json
import re
import sys

ANSWERS = json.loads({{ cookiecutter | jsonify | tojson }})
# Beside names no distribution may have: what the project installs under the same name could not be told from it.
TAKEN = {"kaleyard", "jupyterlab", "matplotlib", "numpy", "pandas", "pyarrow", "scikit-learn", "skops", "pre-commit", "ruff", "uv"}
LINES = ("project_name", "description", "author")


def refusals():
    """What is wrong with the answers, a line each."""
    if not 3 <= sys.version_info.major or not (3, 11) <= sys.version_info[:2]:
        yield "this Python is {}.{}; run cookiecutter with Python 3.11 or newer".format(*sys.version_info)
    slug = ANSWERS["project_slug"]
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug) or len(slug) > 60:
        yield f"project_slug {slug!r}: give it 1 to 60 small letters, digits and single -, such as house-prices"
    elif slug in TAKEN:
        yield f"project_slug {slug!r} is the name of a package that the project installs; choose another"
    for question in LINES:
        answer = ANSWERS[question]
        if not answer.strip() or not answer.isprintable() or len(answer) > 200:
            yield f"{question} {answer!r}: give it one line of at most 200 printable characters"
    registry = ANSWERS["registry"]
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*", registry):
        yield f"registry {registry!r}: give it HOST, HOST:PORT or HOST/FOLDER, without a scheme, such as docker.io/me"


found = list(refusals())
for one in found:
    print(f"error: {one}", file=sys.stderr)
sys.exit(2 if found else 0)
